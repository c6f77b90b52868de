"""Memory that compiled code is given: what torch's own operations refuse is an error here, and nothing else ends."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import yaml
from pooling.cases import CASES, CHANNELS, Case, each
from torch import Tensor, nn

from poolbench.kernels.memory import address
from poolbench.paths import conf_dir
from poolbench.pooling import (
    AvgTopKPool2d,
    GatedPool2d,
    MaxPool2d,
    MixedPool2d,
    SoftPool2d,
    StochasticPool2d,
    TapPool2d,
)
from poolbench.spec import build

CPU = torch.device("cpu")
# Formulas with learned numbers; what has a convolution has torch's, which says nothing of a weight without memory.
LEARNED = {
    name: case
    for name, case in CASES.items()
    if case.implementation == "fast" and issubclass(case.kind, TapPool2d) and list(case.operator().parameters())
}
each_learned = pytest.mark.parametrize("case", LEARNED.values(), ids=LEARNED)


# The operators' own errors, and torch's where parameters are put together before they reach a kernel.
OTHER_SIZE = (
    r"^`channels` must be the map's 3, got (7|7, 7|1, 1, 1, 1, 7)$|needs \d+ learned numbers, `params` gives [17]: "
    r"|^stack expects each tensor to be equal size, but got |^Tensors must have same number of dimensions: got "
)


@pytest.fixture
def default_device_meta() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def results(operator: nn.Module, x: Tensor) -> list[Tensor | None]:
    """Return the result, and the gradients of the map and of all parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = operator(x)
    return [y, *torch.autograd.grad(y, [x, *operator.parameters()], torch.ones_like(y), allow_unused=True)]


# ---- another device ----


@pytest.mark.quick(3)
@each_learned
def test_parameters_on_another_device_are_an_error(case: Case) -> None:
    x = case.images(2, CHANNELS, 8, 8)
    with pytest.raises(RuntimeError, match=r"(?i)same device|not on the expected device|on device meta"):
        case.operator().to("meta")(x)
    with pytest.raises(RuntimeError, match=r"(?i)same device|not on the expected device|on device meta"):
        case.operator()(x.to("meta"))


def test_the_error_says_which_devices_differ() -> None:
    with pytest.raises(RuntimeError, match="same device, but found at least two devices, cpu and meta! The parameters"):
        MixedPool2d(2).to("meta")(torch.rand(2, 4, 8, 8))


def test_a_head_by_kernels_refuses_another_device() -> None:
    found = 0
    for path in sorted((conf_dir() / "head").glob("*.yaml")):
        spec = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "name"}
        head = build(spec, {"channels": 64, "map_size": (16, 16), "num_classes": 3}, where="head")
        x = torch.rand(64, 64, 16, 16).contiguous(memory_format=torch.channels_last)
        if getattr(head, "implementation_for", lambda x: ("",))(x)[0] != "fast" or not list(head.parameters()):
            continue
        found += 1
        with pytest.raises(RuntimeError, match=r"same device|on device meta"):
            copy.deepcopy(head).to("meta")(x)
    assert found > 0


@pytest.mark.quick(4)
@each(lambda case: case.implementation == "fast")
def test_the_default_device_does_not_matter(case: Case, request: pytest.FixtureRequest) -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        operator = case.operator().train(not case.kind.is_random)
        x = case.images(2, CHANNELS, 9, 8).contiguous(memory_format=layout)
        expected = results(operator, x)
        torch.set_default_device("meta")
        try:
            found = results(operator, x)
        finally:
            torch.set_default_device(None)
        for one, other in zip(found, expected, strict=True):
            assert one is other if other is None else torch.equal(one, other)  # type: ignore[arg-type]


@pytest.mark.usefixtures("default_device_meta")
def test_a_random_operator_draws_whatever_the_default_device() -> None:
    pool = StochasticPool2d(2).to_empty(device="cpu")
    pool.draws.reseed(1)
    y = pool(torch.ones(1, 2, 4, 4, device="cpu"))
    assert y.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]] * 2]


# ---- parameters that were replaced ----


@each_learned
def test_parameters_of_another_dtype_or_memory_layout_are_taken_as_they_are(case: Case) -> None:
    x = case.images(2, CHANNELS, 8, 8)
    expected = results(case.operator(), x)
    for kind in ("double", "strided"):
        operator = case.operator()
        for part in operator.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                value = parameter.detach()
                value = value.double() if kind == "double" else torch.stack([value, value + 9.0], -1)[..., 0]
                setattr(part, name, nn.Parameter(value))
        for one, other in zip(results(operator, x), expected, strict=True):
            torch.testing.assert_close(one, other, check_dtype=False, rtol=1e-5, atol=1e-5)


@pytest.mark.quick(8)
@each_learned
@pytest.mark.parametrize("shape", [(7,), (7, 7), (1, 1, 1, 1, 7)], ids=str)
def test_parameters_of_another_size_are_an_error(case: Case, shape: tuple[int, ...]) -> None:
    for name, _ in case.operator().named_parameters():
        operator = case.operator()
        owner, _, own = name.rpartition(".")
        setattr(operator.get_submodule(owner), own, nn.Parameter(torch.zeros(shape)))
        with pytest.raises((ValueError, RuntimeError), match=OTHER_SIZE):
            operator(case.images(2, CHANNELS, 8, 8))


def test_the_error_says_what_a_formula_needs() -> None:
    gated, mixed = GatedPool2d(2), MixedPool2d(2)
    gated.weight, mixed.logit = nn.Parameter(torch.zeros(3, 1)), nn.Parameter(torch.zeros(5))
    with pytest.raises(ValueError, match="GatedPool2d needs 4 learned numbers, `params` gives 3"):
        gated(torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="`channels` must be the map's 2, got 5"):
        mixed(torch.zeros(1, 2, 4, 4))


# ---- maps ----


@pytest.mark.quick(3)
@pytest.mark.parametrize("pool", [MaxPool2d(2), SoftPool2d(3, 2, 1), AvgTopKPool2d(2, k=2)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_map_whose_sign_torch_keeps_apart(pool: nn.Module, layout: torch.memory_format) -> None:
    x = torch.view_as_complex(torch.randn(2, 3, 6, 6, 2, generator=torch.Generator().manual_seed(1))).conj().imag
    assert x.is_neg()
    plain = x.resolve_neg()
    torch.testing.assert_close(pool(x.contiguous(memory_format=layout)), pool(plain))
    above = -torch.ones_like(pool(plain))
    leaf = plain.clone().requires_grad_()
    (expected,) = torch.autograd.grad(pool(leaf), leaf, above)
    (found,) = torch.autograd.grad(pool(leaf), leaf, torch._neg_view(-above))
    torch.testing.assert_close(found, expected)


def test_a_map_whose_memory_was_released_is_an_error() -> None:
    x = torch.rand(1, 2, 8, 8)
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="Expected the map to have memory of its own"):
        MaxPool2d(2)(x)


def test_the_operators_check_what_they_are_given() -> None:
    pool, x = MixedPool2d(2), torch.rand(2, 3, 4, 4)
    program, params = pool.program, torch.rand(1, 3)
    place = [2, 2, 2, 2, 0, 0, 1, 1, 2, 2]
    window, window_gradient = torch.ops.poolbench.window, torch.ops.poolbench.window_gradient
    above, last = torch.rand(2, 3, 2, 2), (program.digest, place, [2, 3, 4, 4], False)
    assert window(x, params, None, program.digest, place).shape == (2, 3, 2, 2)
    assert window_gradient(above, x, params, None, *last)[0].shape == x.shape
    wrong: list[tuple[str, Any]] = [
        ("Expected the parameters, of shape", lambda: window(x, None, None, program.digest, place)),
        ("parameters to have shape", lambda: window(x, params[:, :2], None, program.digest, place)),
        ("gradient to have shape", lambda: window_gradient(above[:1], x, params, None, *last)),
        ("the map to be torch.float32", lambda: window_gradient(above, x.double(), params, None, *last)),
        ("the map to have shape", lambda: window_gradient(above, x[:, :, :3], params, None, *last)),
        ("Expected the map, of shape", lambda: window_gradient(above, None, params, None, *last)),
        ("must have 4 values", lambda: window(x, params, None, program.digest, [3, 3, *place[2:]])),
    ]
    for message, call in wrong:
        with pytest.raises((RuntimeError, ValueError), match=message):
            call()


def test_layout_and_size_are_checked() -> None:
    x = torch.rand(2, 3, 4, 4)
    expected: dict[str, Any] = {"device": CPU, "dtype": torch.float32, "shape": (2, 3, 4, 4)}
    assert address("it", x, **expected) == x.data_ptr()
    with pytest.raises(RuntimeError, match=r"it to lie in memory as torch\.channels_last"):
        address("it", x, **expected, layout=torch.channels_last)
    with pytest.raises(RuntimeError, match=r"Expected it to be torch\.float64, got torch\.float32"):
        address("it", x, **expected | {"dtype": torch.float64})
