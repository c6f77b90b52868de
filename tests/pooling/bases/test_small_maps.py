"""What is spared on a small map: decisions of the call before, and autograd's steps for a learned number."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pooling.cases import CHANNELS, Case, each
from torch import Tensor, nn

from poolbench.pooling import AdaPool2d, LehmerPool2d, MixedPool2d, PowerMeanPool2d
from poolbench.pooling.bases.tap import TapPool2d


class TestWhatIsDecidedOnce:
    """A call is decided as the one before it only where all that decided that one is the same."""

    @staticmethod
    def changes() -> dict[str, Callable[[MixedPool2d], object]]:
        return {
            "stride": lambda pool: setattr(pool, "stride", (1, 1)),
            "padding": lambda pool: setattr(pool, "padding", (1, 1)),
            "ceil_mode": lambda pool: setattr(pool, "ceil_mode", True),
            "implementation": lambda pool: setattr(pool, "implementation", "torch"),
            "parameter": lambda pool: setattr(pool, "logit", nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))),
            "dtype": lambda pool: pool.double(),
        }

    @pytest.mark.quick(1)
    @pytest.mark.parametrize("change", changes())
    def test_it_is_decided_anew(self, change: str) -> None:
        x = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        known, fresh = MixedPool2d(3, 2), MixedPool2d(3, 2)
        known(x)
        for pool in (known, fresh):
            self.changes()[change](pool)
        for images in (x, x.contiguous(memory_format=torch.channels_last), x.double(), x[..., :5], x[:1]):
            given, asked = (images.clone().requires_grad_() for _ in range(2))
            pooled, expected = known(given), fresh(asked)
            torch.testing.assert_close(pooled, expected)
            found = torch.autograd.grad(pooled.sum(), [given, known.logit])
            torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), [asked, fresh.logit]))

    def test_a_copy_and_a_file_decide_for_themselves(self) -> None:
        x = torch.rand(1, 2, 4, 4)
        pool = MixedPool2d(2)
        expected = pool(x)
        for other in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
            torch.testing.assert_close(other(x), expected)


@pytest.mark.quick(4)
@pytest.mark.parametrize("kind", [MixedPool2d, AdaPool2d, PowerMeanPool2d, LehmerPool2d])
@pytest.mark.parametrize("own", [{}, {"per": "channel", "channels": 3}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_parameter_within_the_step_of_the_kernel(
    kind: type[TapPool2d], own: dict[str, Any], dtype: torch.dtype
) -> None:
    """Its derivative is that of the way through autograd, the second one, too."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(2, 3, 6, 6, generator=generator) + 0.5).requires_grad_()
    fast, plain = kind(2, **own).to(dtype), kind(2, implementation="torch", **own).to(dtype)
    weight = torch.randn(2, 3, 3, 3, generator=generator)
    first, second = [], []
    for pool in (fast, plain):
        learned = pool.learned_number()
        with torch.no_grad():
            learned.add_(torch.linspace(0, 0.5, learned.numel()).to(dtype))
        found = torch.autograd.grad((pool(x) * weight).sum(), [x, learned], create_graph=True)
        assert found[1].dtype == dtype
        first.append(found)
        second.append(torch.autograd.grad(found[0].square().sum() + found[1].float().square().sum(), [x, learned]))
    close = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(first[0], first[1], **close)
    torch.testing.assert_close(second[0], second[1], **close)


def test_a_subclass_with_parameters_of_its_own_keeps_them() -> None:
    class Quarter(MixedPool2d):
        def params(self) -> Tensor:
            return torch.full((1, 1), -math.log(3))

    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert Quarter(2)(x).item() == pytest.approx(0.25 * 6 + 0.75 * 3)


@each(lambda case: case.implementation == "fast")
def test_the_first_call_keeps_as_much_as_the_next(case: Case) -> None:
    """A checkpointed pass is repeated when all is decided, and must then keep what it kept before."""
    operator = case.operator()
    x = case.images(2, CHANNELS, 9, 8).requires_grad_()
    counts = []
    for _ in range(2):
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor, kept=kept: kept.append(tensor), lambda _: None):
            operator(x)
        counts.append(len(kept))
    assert counts[0] == counts[1]
