"""Every argument in a YAML of an operator or a head: another value is another operator, or it is refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from poolbench.errors import ConfigurationError
from poolbench.paths import conf_dir
from poolbench.spec import build
from poolbench.streams import drawing, stream

CHANNELS = 4
# How it is computed, not what: `tests/pooling/bases/test_implementations.py` compares the two.
MEANS = ("_target_", "implementation")
WORDS: dict[str, tuple[Any, ...]] = {
    "per": ("channel", "layer"),
    "padding_mode": ("zeros", "reflect", "replicate"),
    "activation": (None, "gelu"),
    "sequence": ("pseudorandom", "regular"),
    "logit": ("bottleneck", "projection"),
    "draw": ("softmax",),
    "rule": ("all",),
    "neighbours": (1, 5),
    "aggregation": ("algebraic",),
    "functions": (["mean", "max"], ["sugeno"]),
    "coefficients": ("gated",),
    "form": ("asymmetric", "symmetric"),
    "groups": (2,),
    "softmax": ("all", "group"),
    "wavelet": ("haar", "db2"),
    "extension": ("periodic",),
    "mode": ("avg",),
    "hidden": (7,),
    "output_ratio": (0.6,),
    "grid_size": (1, 4),
    "norm": (1.0, "inf"),
    "width": (64,),
    "logit_size": (5,),
}


def of_yaml() -> Iterator[Any]:
    """Yield each argument that a YAML names: which slot, the specification, the path to the argument in it."""
    for path in sorted((conf_dir() / "pooling").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        for slot in ("downsample", "head"):
            for at in _paths(content.get(slot) or {}):
                yield pytest.param(slot, content[slot], at, id=f"{path.stem}.{'.'.join(at)}")


def _paths(spec: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*before, key))
        elif key not in MEANS:
            yield (*before, key)


def others(key: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (not value,)
    if key in WORDS:
        return tuple(word for word in WORDS[key] if word != value)
    if isinstance(value, list):
        return ([*value[:-1]],)
    return (value + 1, value - 1, value * 2) if isinstance(value, int) else (value * 2, value / 2, value * 1e5)


def changed(spec: Mapping[str, Any], at: tuple[str, ...], value: Any) -> dict[str, Any]:
    inner = value if len(at) == 1 else changed(spec[at[0]], at[1:], value)
    return {**spec, at[0]: inner}


def built(slot: str, spec: Mapping[str, Any], geometry: dict[str, int]) -> nn.Module:
    context = {"in_channels": CHANNELS, "channels": CHANNELS, "num_classes": CHANNELS, "image_size": (13, 13)}
    with drawing(0, "argument"):
        return build(spec, context | (geometry if slot == "downsample" else {}), where="pooling")


GEOMETRIES = ({"kernel_size": 2, "stride": 2, "padding": 0}, {"kernel_size": 3, "stride": 2, "padding": 1})
# The second on another scale, for what acts where values are large.
MAPS = [
    scale * torch.randn(8, CHANNELS, size, size, generator=stream(0, "map", size)) for size, scale in ((8, 1), (13, 3))
]


def seen(slot: str, spec: Mapping[str, Any], geometry: dict[str, int]) -> list[Tensor]:
    """Return all that an operator shows: its parameters, its results in training and evaluation."""
    module = built(slot, spec, geometry)
    found = [parameter.detach().clone() for parameter in module.parameters()]
    for mode in (True, False):
        for images in MAPS:
            for sign in (images, images.abs() * 1e-4):
                with torch.no_grad():
                    found.append(module.train(mode)(sign))
    return found


def differ(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) != len(other) or any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.quick(7)
@pytest.mark.parametrize(("slot", "spec", "at"), list(of_yaml()))
def test_it_acts_or_is_refused(slot: str, spec: dict[str, Any], at: tuple[str, ...]) -> None:
    value = spec
    for key in at:
        value = value[key]
    refused = silent = 0
    told: list[str] = []
    for other in others(at[-1], value):
        for geometry in GEOMETRIES if slot == "downsample" else GEOMETRIES[:1]:
            try:
                before = seen(slot, spec, geometry)
            except ConfigurationError:  # not this operator with this kernel
                continue
            try:
                after = seen(slot, changed(spec, at, other), geometry)
            except ConfigurationError as error:
                refused += 1
                told.append(str(error))
                continue
            if differ(before, after):
                return
            silent += 1
    assert refused + silent, "no value to try"
    assert all(f"`{at[-1]}" in words for words in told)
    assert not silent, f"{'.'.join(at)} does nothing beside {spec}"


def test_the_yamls_are_all_there() -> None:
    assert len(list(of_yaml())) > 50
    assert Path(conf_dir() / "pooling" / "lip.yaml").is_file()
