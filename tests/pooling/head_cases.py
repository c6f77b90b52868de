"""What the conformance suite tries of heads: every head that a YAML names, how it is built, and maps for it."""

from typing import Any

import torch
import yaml
from torch import Tensor, nn

from poolbench.paths import conf_dir
from poolbench.spec import build

YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "head").glob("*.yaml"))}
VARIANTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}
FILES: dict[str, dict[str, Any]] = {
    f"head-{name}": {key: value for key, value in spec.items() if key != "name"} for name, spec in YAMLS.items()
} | {f"pooling-{name}": variant["head"] for name, variant in VARIANTS.items() if variant.get("head")}


def also(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"poolbench.pooling.{target}", **arguments}


# What the files' arguments leave out.
SPECS: dict[str, dict[str, Any]] = {
    "attention[heads=2]": also("AttentionPool2d", heads=2),
    "bilinear[plain]": also("BilinearPool2d", signed_sqrt=False, l2=False),
    "compact_bilinear[few]": also("CompactBilinearPool2d", features=5, signed_sqrt=False, l2=False),
    "gamp[k=3]": also("GAMPPool2d", k=3),
    "global_autopool[layer]": also("GlobalAutoPool2d", per="layer"),
    "global_gem[channel]": also("GlobalGeMPool2d", p=1.7, per="channel"),
    "global_gem[group]": also("GlobalGeMPool2d", p=1.7, per="group", groups=3),
    "global_log_sum_exp[learned]": also("GlobalLogSumExp2d", beta=4.0, learned=True, per="channel"),
    "second_order[covariance]": also("SecondOrderPool2d", iterations=0),
    "simpool[mean]": also("SimPool2d", heads=2, gamma=None),
    "attentive_statistics[hidden=5]": also("StatisticsPool2d", attentive=True, hidden=5),
    "spatial_pyramid[avg]": also("SpatialPyramidPool2d", levels=[3, 1], mode="avg"),
}
for name, spec in FILES.items():
    if spec not in SPECS.values():  # most heads have one file in either folder
        SPECS[name] = spec
CONTEXT = {"channels": 4, "num_classes": 3}


def head_for(spec: dict[str, Any]) -> nn.Module:
    """Build a head, its parameters a little beside their start: a start at 0 hides what they do."""
    torch.manual_seed(0)
    head: nn.Module = build(spec, CONTEXT, where="head")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    return head.eval()


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def images_for(head: nn.Module, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Make images of values that the head's formula is for."""
    x = images(*size, dtype=dtype)
    return {"real": x, "nonnegative": x.relu(), "positive": x.abs() + 0.01}[getattr(head, "domain", "real")]
