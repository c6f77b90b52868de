"""Under FakeTensorMode, as those who plan memory or count work run a network: shapes, dtypes, layouts, nothing else."""

import pytest
import torch
from pooling.cases import CHANNELS, Case, each
from pooling.head_cases import CONTEXT, SPECS, head_for, images_for
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from poolbench.pooling.shared.draws import draws_state
from poolbench.spec import build

# Of each kind one: by a formula, with a learned number, random in three ways, of several steps.
FEW = ("max", "mixed", "stochastic", "s3pool", "fractional_max", "lps", "max_blur")
FEW_HEADS = ("head-gap", "gamp[k=3]", "global_gem[channel]", "head-simpool")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def seen(y: Tensor) -> tuple[object, ...]:
    return y.shape, y.dtype, y.stride()


def check_fake(operator: nn.Module, x: Tensor) -> None:
    """Real parameters and a fake map; the operator is then what it was, and draws what it would have drawn."""
    expected = operator(x)
    state = {name: value.clone() for name, value in operator.state_dict().items()}
    known = draws_state(operator)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = operator(mode.from_tensor(x))
    assert isinstance(fake, FakeTensor)
    assert seen(fake) == seen(expected)
    assert not any(isinstance(value, FakeTensor) for value in (*operator.state_dict().values(), *operator.buffers()))
    assert all(torch.equal(value, state[name]) for name, value in operator.state_dict().items())
    assert {name: seed for name, (seed, _) in draws_state(operator).items()} == {n: s for n, (s, _) in known.items()}
    assert seen(operator(x)) == seen(expected)


def as_configured(case: Case) -> bool:
    return case.implementation == "fast" or case.operator().implementation == "torch"


def check_window_operator(case: Case) -> None:
    for geometry in ({"kernel_size": 2, "stride": 2}, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}):
        for layout in LAYOUTS:
            x = case.images(2, CHANNELS, 9, 10).contiguous(memory_format=layout)
            for training in (False, True) if case.kind.is_random else (False,):
                check_fake(case.operator(**geometry).train(training), x)


@pytest.mark.quick(6)
@each(lambda case: case.name in FEW and as_configured(case))
def test_some_window_operators(case: Case) -> None:
    check_window_operator(case)


@pytest.mark.slow
@each(lambda case: case.name not in FEW and as_configured(case))
def test_other_window_operators(case: Case) -> None:
    check_window_operator(case)


def check_head(name: str) -> None:
    head = head_for(SPECS[name])
    for layout in LAYOUTS:
        check_fake(head, images_for(head, 2, 4, 8, 8).contiguous(memory_format=layout))


@pytest.mark.parametrize("name", FEW_HEADS)
def test_some_heads(name: str) -> None:
    check_head(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SPECS if name not in FEW_HEADS])
def test_other_heads(name: str) -> None:
    check_head(name)


@pytest.mark.slow
@each(as_configured)
def test_a_window_operator_built_there(case: Case) -> None:
    with FakeTensorMode():
        operator = build(case.spec, {"channels": CHANNELS, "in_channels": CHANNELS, **case.usual}, where="pooling")
        y = operator(torch.rand(2, CHANNELS, 9, 10))
    assert y.shape == nn.MaxPool2d(**case.usual)(torch.rand(2, CHANNELS, 9, 10)).shape


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_a_head_built_there(name: str) -> None:
    with FakeTensorMode():
        head = build(SPECS[name], CONTEXT, where="head")
        assert head(torch.rand(2, 4, 8, 8)).shape[0] == 2
