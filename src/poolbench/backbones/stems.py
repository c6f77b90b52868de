"""Stems for small images: what the field puts before a network that was made for 224x224."""

import fnmatch
import re

from torch import nn

from poolbench.errors import ConfigurationError, unknown_name

PUBLISHED, SMALL = "published", "small"
# By model, of torchvision's and of timm's names: the convolution that begins it, and the pooling behind it that goes.
# For images of 32x32 the first convolution is 3x3 at stride 1 and nothing is pooled before the first block, as in He et
# al. (2016), section 4.2, in Huang et al. (2017) and in what is customary for the others.
STEMS = (
    ("resnet*d", "conv1.0", "maxpool"),
    ("resnet*", "conv1", "maxpool"), ("resnext*", "conv1", "maxpool"), ("wide_resnet*", "conv1", "maxpool"),
    ("seresnet*", "conv1", "maxpool"), ("seresnext*", "conv1", "maxpool"),
    ("densenet*", "features.conv0", "features.pool0"),
    ("googlenet", "conv1.conv", "maxpool1"),
    ("mobilenet_v*", "features.0.0", None), ("mobilenetv*", "conv_stem", None),
    ("efficientnet_*", "features.0.0", None), ("efficientnet_*", "conv_stem", None),
    ("mnasnet*", "layers.0", None), ("mnasnet*", "conv_stem", None), ("shufflenet_v2*", "conv1.0", "maxpool"),
    ("regnet_*", "stem.0", None), ("regnet[xyz]_*", "stem.conv", None),
)  # fmt: skip


def put_stem(network: nn.Module, model: str, stem: str) -> None:
    """Give a network the stem that is asked for: its own (`"published"`) or one for small images (`"small"`).

    A convolution that is exchanged starts by He's rule from its outputs, as in those networks.

    Raises:
        ConfigurationError: there is no such stem, or none is customary for this model.
    """
    if stem not in (PUBLISHED, SMALL):
        raise unknown_name("`backbone.stem`", str(stem), (PUBLISHED, SMALL))
    if stem == PUBLISHED:
        return
    modules = dict(network.named_modules())
    alike = [(first, pool) for pattern, first, pool in STEMS if fnmatch.fnmatch(model, pattern)]
    first, pool = next((parts for parts in alike if isinstance(modules.get(parts[0]), nn.Conv2d)), ("", None))
    if not first and alike:
        raise ConfigurationError(
            f"`backbone.stem`: {model} has none of the convolutions that the stem for small images of such networks "
            f"exchanges ({', '.join(first for first, _ in alike)}); leave it {PUBLISHED}"
        )
    if not first:
        families = ", ".join(dict.fromkeys(re.split(r"[_*[]", pattern)[0] for pattern, _, _ in STEMS))
        raise ConfigurationError(
            f"`backbone.stem`: no stem for small images is customary for {model}, only for {families}; "
            f"leave it {PUBLISHED}"
        )
    replace_convolution(network, first, kernel_size=3, stride=1, padding=1)
    if pool is not None:
        network.set_submodule(pool, nn.Identity())


def replace_convolution(
    network: nn.Module,
    name: str,
    *,
    in_channels: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
) -> None:
    """Put a new convolution in the place of `name`, as the old one but for what is given."""
    old = network.get_submodule(name)
    if not isinstance(old, nn.Conv2d):
        raise ConfigurationError(f"`backbone`: {name!r} must be a convolution, got {type(old).__name__}")
    new = nn.Conv2d(
        old.in_channels if in_channels is None else in_channels,
        old.out_channels,
        (old.kernel_size[0], old.kernel_size[1]) if kernel_size is None else kernel_size,
        (old.stride[0], old.stride[1]) if stride is None else stride,
        old.padding if padding is None else padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    network.set_submodule(name, new)
