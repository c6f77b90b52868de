"""What LIP pooling promises beyond the conformance suite."""

import pytest
import torch
import torch.nn.functional as F
from pooling.references.lip import lip
from torch import Tensor, nn

from poolbench.pooling.windows.avg import AvgPool1d, AvgPool2d
from poolbench.pooling.windows.lip import LIPPool1d, LIPPool2d
from poolbench.pooling.windows.max import MaxPool2d

FORMS = [{"logit_size": 1}, {"logit_size": 3}, {"logit": "bottleneck", "width": 8}]
each_form = pytest.mark.parametrize("form", FORMS, ids=str)


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64).float()


@each_form
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_starts_as_average_pooling(form: dict[str, object], ceil_mode: bool) -> None:
    x = images(2, 3, 8, 7)
    operator = LIPPool2d(3, 2, 1, ceil_mode, channels=3, **form)  # type: ignore[arg-type]
    torch.testing.assert_close(operator(x), AvgPool2d(3, 2, 1, ceil_mode)(x))
    flat = LIPPool1d(2, channels=3, **form)  # type: ignore[arg-type]
    torch.testing.assert_close(flat(x[:, :, 0]), AvgPool1d(2)(x[:, :, 0]))


@each_form
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_equals_its_formula(form: dict[str, object], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    operator = LIPPool2d(3, 2, 1, channels=3, coefficient=3.0, **form).double()  # type: ignore[arg-type]
    for parameter in operator.parameters():
        nn.init.normal_(parameter)
    x = images(2, 3, 6, 5).double().contiguous(memory_format=layout)
    with torch.no_grad():
        torch.testing.assert_close(operator(x), lip(operator, x))


@pytest.mark.slow
@each_form
def test_learns_to_take_what_another_channel_points_at(form: dict[str, object]) -> None:
    """Which value matters, only the second channel says: no fixed pooling of the first one can know."""
    x = images(32, 2, 8, 8)
    where = F.max_pool2d(x[:, 1:], 2, return_indices=True)[1]
    target = x[:, :1].flatten(2).gather(2, where.flatten(2)).view(32, 1, 4, 4)
    torch.manual_seed(0)
    operator = LIPPool2d(2, channels=2, **form)  # type: ignore[arg-type]
    start = [parameter.detach().clone() for parameter in operator.parameters()]
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.01)
    for _ in range(250):
        optimizer.zero_grad()
        F.mse_loss(operator(x)[:, :1], target).backward()
        optimizer.step()
    assert all((now - then).abs().max() > 0.01 for now, then in zip(operator.parameters(), start, strict=True))
    fixed = min(F.mse_loss(pool(x)[:, :1], target).item() for pool in (MaxPool2d(2), AvgPool2d(2)))
    assert F.mse_loss(operator(x)[:, :1], target).item() < fixed / 5


def test_a_value_weighs_at_most_e_to_the_coefficient_times_another() -> None:
    operator = LIPPool2d(2, channels=1, logit_size=1, coefficient=2.0)
    nn.init.constant_(operator.logit[0].conv.weight, 1.0)  # type: ignore[union-attr, arg-type]
    nn.init.constant_(operator.logit[0].scale, 1e3)  # type: ignore[arg-type]
    x = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    importance = operator.importance(x)
    torch.testing.assert_close(importance, 2 * x)
    high = torch.tensor(2.0).exp()
    torch.testing.assert_close(operator(x), (3 * high / (1 + 3 * high)).view(1, 1, 1, 1))


@pytest.mark.parametrize("coefficient", [0.5, 12.0, 20.0])
@each_form
def test_stays_in_the_window_and_finite(form: dict[str, object], coefficient: float) -> None:
    operator = LIPPool2d(3, 2, 1, channels=3, coefficient=coefficient, **form)  # type: ignore[arg-type]
    for parameter in operator.parameters():
        nn.init.normal_(parameter, std=20.0)
    for scale in (1e-25, 1.0, 1e30):
        x = (images(2, 3, 8, 8) * scale).requires_grad_()
        pooled = operator(x)
        (gradient,) = torch.autograd.grad(pooled.sum(), x)
        assert gradient.isfinite().all()
        highest, lowest = F.max_pool2d(x, 3, 2, 1), -F.max_pool2d(-x, 3, 2, 1)
        assert (pooled <= highest + 1e-5 * scale).all()
        assert (pooled >= lowest - 1e-5 * scale).all()


@each_form
def test_equal_values_keep_their_value(form: dict[str, object]) -> None:
    operator = LIPPool2d(3, 2, 1, channels=3, **form)  # type: ignore[arg-type]
    for parameter in operator.parameters():
        nn.init.normal_(parameter)
    for value in (0.0, -3.0, 1e30):
        x = torch.full((2, 3, 8, 8), value, requires_grad=True)
        pooled = operator(x)
        torch.testing.assert_close(pooled, torch.full_like(pooled, value))
        (gradient,) = torch.autograd.grad(pooled.sum(), x)
        assert gradient.isfinite().all()


@each_form
def test_a_map_of_one_place(form: dict[str, object]) -> None:
    x = images(2, 3, 1, 1)
    torch.testing.assert_close(LIPPool2d(1, channels=3, **form)(x), x)  # type: ignore[arg-type]


def test_parameters_are_counted() -> None:
    def count(operator: nn.Module) -> int:
        return sum(parameter.numel() for parameter in operator.parameters())

    assert count(LIPPool2d(2, channels=16)) == 9 * 16 * 16 + 2 * 16
    assert count(LIPPool2d(2, channels=16, logit_size=1)) == 16 * 16 + 2 * 16
    bottleneck = 16 * 128 + 9 * 128 * 128 + 128 * 16 + 2 * (128 + 128 + 16)
    assert count(LIPPool2d(2, channels=16, logit="bottleneck")) == bottleneck
    assert count(LIPPool1d(2, channels=16)) == 3 * 16 * 16 + 2 * 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "`channels` must be a whole number of at least 1, got 0"),
        ({"logit": "linear"}, "`logit` must be 'projection' or 'bottleneck', got 'linear'"),
        ({"logit_size": 2}, "`logit_size` must be odd, got 2"),
        ({"logit_size": 0}, "`logit_size` must be a whole number of at least 1, got 0"),
        ({"width": 1.5}, "`width` must be a whole number of at least 1, got 1.5"),
        ({"coefficient": 0}, "`coefficient` must be a number above 0 and at most 20.0, got 0"),
        ({"coefficient": 21}, "`coefficient` must be a number above 0 and at most 20.0, got 21"),
    ],
    ids=str,
)
def test_arguments_have_rules(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LIPPool2d(2, **({"channels": 3} | arguments))  # type: ignore[arg-type]


def test_shows_its_form() -> None:
    assert "logit='projection', coefficient=12.0" in repr(LIPPool2d(2, channels=1))
