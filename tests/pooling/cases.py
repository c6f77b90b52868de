"""What the conformance suite tries: every window operator that a YAML names, how it is built, and maps for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

import poolbench.pooling
from poolbench.paths import conf_dir
from poolbench.pooling import WindowPool2d
from poolbench.spec import accepts, build, locate

CHANNELS = 3
YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}
SPECS: dict[str, dict[str, Any]] = {name: y["downsample"] for name, y in YAMLS.items() if y.get("downsample")}


def with_arguments(name: str, **arguments: Any) -> dict[str, Any]:
    return SPECS[name] | arguments


# What the files' arguments leave out.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "adapool[channel]": with_arguments("adapool", per="channel"),
    "aps[norm=1]": with_arguments("aps", norm=1.0, maximum=False, padding_mode="replicate"),
    "aps[norm=inf]": with_arguments("aps", norm=float("inf")),
    "autopool[layer]": with_arguments("autopool", per="layer"),
    "avg_topk[k=1]": with_arguments("avg_topk", k=1),
    "avg_topk[k=3]": with_arguments("avg_topk", k=3),
    "blur[blur_size=2]": with_arguments("blur", blur_size=2),
    "blur[blur_size=5]": with_arguments("blur", blur_size=5),
    "blurred_strided_conv[plain]": with_arguments("blurred_strided_conv", blur_size=4, activation=None),
    "comb[every function]": with_arguments(
        "comb", functions=["min", "max", "mean", "median", "sum", "sugeno", "sugeno_sum"], per="layer"
    ),
    "comb[gated]": with_arguments("comb", functions=["mean", "max"], coefficients="gated"),
    "conv_max[plain]": with_arguments("conv_max", activation=None),
    "dpp[channel]": with_arguments("dpp", per="channel"),
    "dpp_asymmetric[channel]": with_arguments("dpp_asymmetric", per="channel"),
    "fractional_max[disjoint]": with_arguments("fractional_max", sequence="pseudorandom", overlapping=False),
    "fuzzy[r_max=1]": with_arguments("fuzzy", r_max=1.0),
    "fuzzy[algebraic]": with_arguments("fuzzy", r_max=2.0, aggregation="algebraic"),
    "gated[channel]": with_arguments("gated", per="channel"),
    "lehmer[channel]": with_arguments("lehmer", per="channel"),
    "lehmer[p=-2.5]": with_arguments("lehmer", p=-2.5),
    "lehmer[p=4]": with_arguments("lehmer", p=4.0),
    "lip[place]": with_arguments("lip", logit_size=1, coefficient=3.0),
    "lip_bottleneck[narrow]": with_arguments("lip_bottleneck", width=4),
    "log_sum_exp[beta=0.3]": with_arguments("log_sum_exp", beta=0.3),
    "log_sum_exp[beta=5]": with_arguments("log_sum_exp", beta=5.0),
    "lp[p=0.5]": with_arguments("lp", p=0.5),
    "lp[p=1]": with_arguments("lp", p=1.0),
    "lp[p=2.5]": with_arguments("lp", p=2.5),
    "lp[p=3]": with_arguments("lp", p=3.0),
    "lps[softmax]": with_arguments("lps", draw="softmax", hidden=2, maximum=False, temperature=0.5),
    "max_blur[blur_size=4]": with_arguments("max_blur", blur_size=4),
    "max_blur[blur_size=5]": with_arguments("max_blur", blur_size=5),
    "mixed[channel]": with_arguments("mixed", per="channel"),
    "ordinal[layer]": with_arguments("ordinal", per="layer"),
    "pasa[groups=2]": with_arguments("pasa", groups=2),
    "pasa_all[groups=2]": with_arguments("pasa_all", groups=2),
    "power_mean[channel]": with_arguments("power_mean", per="channel"),
    "power_mean[p=-2.5]": with_arguments("power_mean", p=-2.5, eps=0.01),
    "power_mean[p=8]": with_arguments("power_mean", p=8.0),
    "rank_stochastic[alpha=0.2]": with_arguments("rank_stochastic", alpha=0.2),
    "rank_weighted[alpha=0.8]": with_arguments("rank_weighted", alpha=0.8),
    "rank_weighted[normalize]": with_arguments("rank_weighted", alpha=0.3, normalize=True),
    # Of any stride that is tried it is a multiple.
    "regularized[neighbours=5]": with_arguments("regularized", neighbours=5),
    "s3pool[grid_size=12]": with_arguments("s3pool", grid_size=12),
    "softpool[beta=0.3]": with_arguments("softpool", beta=0.3),
    "softpool[beta=5]": with_arguments("softpool", beta=5.0),
    "space_to_depth[plain]": with_arguments("space_to_depth", size=5, activation=None),
    "strided_conv[plain]": with_arguments("strided_conv", activation=None),
    "t_max_avg[all]": with_arguments("t_max_avg", k=3, threshold=-0.2, rule="all"),
    "t_max_avg[max]": with_arguments("t_max_avg", k=3, threshold=1.2),
    "tips[replicate]": with_arguments("tips", padding_mode="replicate"),
    "tree2[channel]": with_arguments("tree2", per="channel"),
    "tree3[channel]": with_arguments("tree3", per="channel"),
    "wavelet[normalise]": with_arguments("wavelet", normalise=True),
    "wavelet_db2[periodic]": with_arguments("wavelet_db2", extension="periodic", normalise=False),
    "wavelet[db3]": with_arguments("wavelet", wavelet="db3"),
}

few = settings(max_examples=6, deadline=None, derandomize=True)
many = settings(max_examples=150, deadline=None, derandomize=True)


def one_dimensional(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what names the operator for sequences; None for one that is for maps alone."""
    package, _, name = spec["_target_"].rpartition(".")
    name = name.removesuffix("2d") + "1d"
    return dict(spec) | {"_target_": f"{package}.{name}"} if name in poolbench.pooling.__all__ else None


@dataclass(frozen=True)
class Case:
    """One operator, as its YAML names it, computed in one way.

    Args:
        name: of the YAML.
        spec: of the operator.
        implementation: `"fast"` or `"torch"`.
    """

    name: str
    spec: dict[str, Any]
    implementation: str

    @property
    def kind(self) -> Any:
        return locate(self.spec["_target_"])

    @property
    def usual(self) -> dict[str, Any]:
        """The geometry that tests take where any will do."""
        return geometries_of(self.kind)[0]

    @property
    def has_kernels(self) -> bool:
        """Whether compiled kernels compute something of a map in float32: the operator, or one that it is made of."""
        x = torch.zeros(1, CHANNELS, 8, 8)
        parts = [part for part in self.operator().modules() if isinstance(part, WindowPool2d)]
        return any(part.implementation_for(x)[0] == "fast" for part in parts)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which maps `kinds_of_images` makes."""
        return ("random", "equal") if self.kind.domain == "positive" else ("random", "equal", "zeros")

    def operator(self, **geometry: Any) -> Any:
        """Build as a network does, with parameters that are not their starting values; in evaluation."""
        torch.manual_seed(0)
        context = {"ceil_mode": False, "channels": CHANNELS} | (geometry if "kernel_size" in geometry else self.usual)
        operator = build(self.spec, context | geometry, where="pooling.downsample")
        with torch.no_grad():
            for parameter in operator.parameters():
                parameter.add_(torch.randn_like(parameter) / 2)
        return operator.eval()

    def images(self, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Make a map of values that the formula is for, away from where it has no derivative."""
        x = images(*size)
        return (x if self.kind.domain == "real" else x.abs() + 0.1).to(dtype)

    def kinds_of_images(self, *size: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Make maps with and without equal values, all of them values that the formula is for."""
        found = {"random": self.images(*size), "equal": tied(*size), "zeros": images(*size).relu()}
        return {name: found[name].to(dtype) for name in self.kinds}


def images(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def tied(*size: int) -> Tensor:
    """Make a map of three different values, so that every window has equal ones; they are for every formula."""
    levels = torch.tensor([0.31, 1.13, 2.91], dtype=torch.float64)
    return levels[torch.randint(3, size, generator=torch.Generator().manual_seed(1))]


def geometries_of(kind: Any) -> list[dict[str, Any]]:
    """Return some geometries that an operator serves, the usual one first."""
    if kind.geometries is None:
        found: list[dict[str, Any]] = [
            {"kernel_size": 3, "stride": 2, "padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel_size": 2, "stride": 2, "padding": 0},
        ]
        if accepts(kind, "dilation"):
            found.append({"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0), "dilation": (2, 1)})
        else:
            found.append({"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0)})
    else:
        found = [dict(geometry) for geometry in kind.geometries]
    return [flat(geometry) for geometry in found] if kind.spatial == 1 else found


def flat(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the geometry of the rows alone, for sequences."""
    return {name: value[1] if isinstance(value, tuple) else value for name, value in geometry.items()}


def maximum(x: Tensor, **geometry: Any) -> Tensor:
    """Pool by torch's own max pooling, of the geometry in two dimensions or one."""
    return (nn.MaxPool2d if x.ndim == 4 else nn.MaxPool1d)(**geometry)(x)


@st.composite
def places(draw: st.DrawFn, kind: Any) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Draw a geometry that an operator serves, with a window that has room for what the YAMLs ask for, and a size."""
    if kind.geometries is not None:
        geometry = dict(draw(st.sampled_from(geometries_of(kind))))
    else:
        kernel = draw(st.sampled_from([(2, 2), (3, 3), (3, 2), (1, 3), (2, 4)]))
        geometry = {
            "kernel_size": kernel,
            "stride": draw(st.none() | st.integers(1, 4) | st.tuples(st.integers(1, 4), st.integers(1, 4))),
            "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        }
        if accepts(kind, "dilation"):
            geometry["dilation"] = draw(st.sampled_from([1, 1, 2, (1, 3), (2, 1)]))
    geometry.setdefault("ceil_mode", draw(st.booleans()))
    if kind.spatial == 1:
        geometry = flat(geometry)
    sizes = []
    for axis in range(2)[-kind.spatial :]:
        k, pad, step = (
            value[axis] if isinstance(value, tuple) else value
            for value in (geometry["kernel_size"], geometry.get("padding", 0), geometry.get("dilation", 1))
        )
        # Smaller ones than the step may have windows without any value, which is an error.
        least = max(step, (k - 1) * step + 1 - 2 * pad)
        sizes.append(draw(st.integers(least, least + 6)))
    return geometry, tuple(sizes)


def cases(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Case]:
    """Return each operator, twice where it has compiled kernels: computed by them, and by torch."""
    found = {}
    for name, spec in specs.items():
        case = Case(name, dict(spec), "fast")
        if case.has_kernels:
            found[f"{name}-fast"] = case
        found[f"{name}-torch"] = Case(name, dict(spec) | {"implementation": "torch"}, "torch")
    return found


CASES = cases(SPECS)
OTHERS = cases(ARGUMENTS)
# Named apart from the maps, so that both can be tried together.
SEQUENCES = cases({f"{name}_1d": found for name, spec in SPECS.items() if (found := one_dimensional(spec))})


def as_configured(case: Case) -> bool:
    """Whether a case is what its YAML gives: computed by kernels wherever there are some."""
    return case.implementation == "fast" or f"{case.name}-fast" not in CASES | OTHERS | SEQUENCES


def each(condition: Callable[[Case], bool] = lambda case: True, *, specs: Mapping[str, Case] = CASES) -> Any:
    """Run a test for every case of which something holds."""
    chosen = {name: case for name, case in specs.items() if condition(case)}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


def each_geometry(condition: Callable[[Case], bool] = lambda case: True, *, specs: Mapping[str, Case] = CASES) -> Any:
    """Run a test for every case, in each geometry of `geometries_of`: the quick tests in the first and the last.

    The first overlaps and hangs over the border, the last has a dilation and unequal sides.
    """
    found = []
    for name, case in specs.items():
        geometries = geometries_of(case.kind) if condition(case) else []
        for number, geometry in enumerate(geometries):
            marks = () if number in (0, len(geometries) - 1) else pytest.mark.slow
            found.append(pytest.param(case, geometry, id=f"{name}-{number}", marks=marks))
    return pytest.mark.parametrize(("case", "geometry"), found)


halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
# Each dtype in a layout of its own; the other two pairs are among the slow tests.
halves_in_layouts = pytest.mark.parametrize(
    ("dtype", "layout"),
    [
        pytest.param(dtype, layout, id=f"{dtype}-{layout}", marks=() if quick else pytest.mark.slow)
        for dtype, layout, quick in (
            (torch.bfloat16, torch.channels_last, True),
            (torch.float16, torch.contiguous_format, True),
            (torch.bfloat16, torch.contiguous_format, False),
            (torch.float16, torch.channels_last, False),
        )
    ],
)
