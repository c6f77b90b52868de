"""Conformance of every head that a YAML of conf/head, or a variant of conf/pooling, names: the folders are the list."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from poolbench.errors import ConfigurationError
from poolbench.paths import conf_dir
from poolbench.pooling import (
    AdaptiveAvgPool2dFlatten,
    AdaptiveMaxPool2dFlatten,
    AvgMaxConcat2d,
    ClassMaps,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
)
from poolbench.spec import bind, build

YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "head").glob("*.yaml"))}
VARIANTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}
SPECS: dict[str, dict[str, Any]] = {
    f"head-{name}": {key: value for key, value in spec.items() if key != "name"} for name, spec in YAMLS.items()
} | {f"pooling-{name}": variant["head"] for name, variant in VARIANTS.items() if variant.get("head")}
CONTEXT = {"channels": 4, "num_classes": 3}

each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def head_for(spec: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    head: nn.Module = build(spec, CONTEXT, where="head")
    return head.eval()


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def over_cells(number: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Cells from floor(i·n/m) to ceil((i+1)·n/m), so that they overlap where the size does not divide."""

    def bounds(size: int, cells: int) -> list[slice]:
        return [slice(i * size // cells, math.ceil((i + 1) * size / cells)) for i in range(cells)]

    def reference(head: Any, x: Tensor) -> Tensor:
        rows, columns = (bounds(n, m) for n, m in zip(x.shape[-2:], head.output_size, strict=True))
        return torch.stack([number(x[..., r, c].flatten(2)) for r in rows for c in columns], dim=-1).flatten(1)

    return reference


def class_maps(head: ClassMaps, x: Tensor) -> Tensor:
    assert head.conv.bias is not None
    maps = torch.einsum("bchw,nc->bnhw", x, head.conv.weight[:, :, 0, 0]) + head.conv.bias.view(1, -1, 1, 1)
    return reference_for(head.pool)(head.pool, maps)


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    GlobalAvgPool2d: lambda head, x: x.flatten(2).sum(-1) / x[0, 0].numel(),
    GlobalMaxPool2d: lambda head, x: x.flatten(2).sort(-1).values[..., -1],
    AvgMaxConcat2d: lambda head, x: torch.cat([x.flatten(2).mean(-1), x.flatten(2).sort(-1).values[..., -1]], dim=1),
    AdaptiveAvgPool2dFlatten: over_cells(lambda cell: cell.mean(-1)),
    AdaptiveMaxPool2dFlatten: over_cells(lambda cell: cell.sort(-1).values[..., -1]),
    ClassMaps: class_maps,
    nn.Flatten: lambda head, x: x.reshape(len(x), -1),
}


def reference_for(head: nn.Module) -> Callable[[Any, Tensor], Tensor]:
    if type(head) not in REFERENCES:
        pytest.fail(f"add a slow reference for {type(head).__name__}, from its formula, to REFERENCES in {__file__}")
    return REFERENCES[type(head)]


def test_the_folder_is_seen() -> None:
    assert {"head-gap", "pooling-gap"} <= SPECS.keys()


@pytest.mark.parametrize("name", YAMLS)
def test_a_file_names_itself(name: str) -> None:
    assert YAMLS[name]["name"] == name


@each
def test_binds_to_its_signature(spec: dict[str, Any]) -> None:
    bind(spec, CONTEXT, where="head")


@each
@pytest.mark.parametrize("size", [(4, 4), (5, 3), (7, 2)], ids=str)
def test_equals_its_formula(spec: dict[str, Any], size: tuple[int, int]) -> None:
    head, x = head_for(spec).double(), images(2, 4, *size, dtype=torch.float64)
    features = head(x)
    assert features.ndim == 2
    assert len(features) == 2
    if getattr(head, "gives_logits", False):
        assert features.shape == (2, CONTEXT["num_classes"])
    torch.testing.assert_close(features, reference_for(head)(head, x))


@each
def test_gradient(spec: dict[str, Any]) -> None:
    x = images(2, 4, 3, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(head_for(spec).double(), x)


@each
def test_channels_last_changes_nothing(spec: dict[str, Any]) -> None:
    head, x = head_for(spec), images(2, 4, 6, 5)
    torch.testing.assert_close(head(x.contiguous(memory_format=torch.channels_last)), head(x))


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_close_and_stays(spec: dict[str, Any], dtype: torch.dtype) -> None:
    head, x = head_for(spec).to(dtype), images(2, 4, 16, 16, dtype=dtype)
    exact, features = copy.deepcopy(head).double()(x.double()), head(x)
    assert features.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(features.double(), exact, rtol=2 * eps, atol=2 * eps)


@each
def test_nan_is_not_swallowed(spec: dict[str, Any]) -> None:
    x = images(2, 4, 4, 4)
    x[1, 2, 1, 1] = math.nan
    features = head_for(spec)(x)
    assert features[1].isnan().any()
    assert features[0].isfinite().all()


@each
def test_state_copies_and_determinism(spec: dict[str, Any]) -> None:
    head, x = head_for(spec), images(2, 4, 4, 4)
    other = head_for(spec)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(head.state_dict())
    for same in (head, other, copy.deepcopy(head)):
        assert torch.equal(same(x), head(x))


@each
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_equals_eager(spec: dict[str, Any], backend: str) -> None:
    torch._dynamo.reset()
    head, x = head_for(spec), images(2, 4, 5, 6)
    torch.testing.assert_close(torch.compile(head, backend=backend, fullgraph=True)(x), head(x))


def test_means_come_before_largest_values() -> None:
    x = torch.tensor([[[[0.0, 4.0]], [[1.0, 7.0]]]])
    assert AvgMaxConcat2d()(x).tolist() == [[2.0, 4.0, 4.0, 7.0]]


@pytest.mark.parametrize("kind", [GlobalMaxPool2d, AvgMaxConcat2d, AdaptiveMaxPool2dFlatten])
def test_equal_values_keep_the_whole_gradient(kind: type[nn.Module]) -> None:
    x = torch.zeros(2, 4, 4, 4, requires_grad=True)
    features = kind()(x)
    features.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.sum(), torch.tensor(float(features.numel())))


@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_cells_overlap_where_the_size_does_not_divide(kind: type[AdaptiveAvgPool2dFlatten]) -> None:
    x = torch.tensor([[[[1.0, 2.0, 9.0]]]])
    expected = [[1.5, 5.5]] if kind is AdaptiveAvgPool2dFlatten else [[2.0, 9.0]]
    assert kind(output_size=(1, 2))(x).tolist() == expected
    assert kind(output_size=(1, 2)).extra_repr() == "output_size=(1, 2)"


@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_a_grid_finer_than_the_map_is_an_error(kind: type[AdaptiveAvgPool2dFlatten]) -> None:
    with pytest.raises(ValueError, match=r"`output_size` must be at most the map's size 1x4, got \(2, 2\)"):
        kind()(torch.zeros(1, 1, 1, 4))
    with pytest.raises(ValueError, match="`output_size` must be one or two whole numbers of at least 1, got 0"):
        kind(output_size=0)


def test_class_maps_arguments() -> None:
    with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 0"):
        ClassMaps(0, 3, GlobalAvgPool2d())
    with pytest.raises(ValueError, match="`num_classes` must be a whole number of at least 1, got None"):
        ClassMaps(4, None, GlobalAvgPool2d())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`pool` must be a module or a specification of one, got 'gap'"):
        ClassMaps(4, 3, "gap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`pool` must keep the width, 3 class maps to as many logits, got \(6,\)"):
        ClassMaps(4, 3, AvgMaxConcat2d())(torch.zeros(2, 4, 5, 5))


def test_a_misspelt_argument_of_a_nested_head_is_found() -> None:
    spec = {
        "_target_": "poolbench.pooling.ClassMaps",
        "pool": {"_target_": "poolbench.pooling.AdaptiveAvgPool2dFlatten", "output": 1},
    }
    with pytest.raises(ConfigurationError, match="output"):
        build(spec, CONTEXT, where="head")
