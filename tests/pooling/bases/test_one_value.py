"""Windows of one value: every operator takes them, however it is computed."""

import pytest
import torch
from pooling.cases import CASES, CHANNELS, Case
from torch import func

ONE = {name: case for name, case in CASES.items() if case.kind.geometries is None}


@pytest.mark.quick(7)
@pytest.mark.parametrize("case", ONE.values(), ids=ONE)
def test_a_window_of_one_value(case: Case) -> None:
    own = {"k": 1} if "k" in case.spec else {}
    size = {"kernel_size": 1, "stride": 1, "padding": 0}
    operator = Case(case.name, case.spec | own, case.implementation).operator(**size)
    x = case.images(2, CHANNELS, 3, 4)
    for dtype in (torch.float32, torch.float16):
        leaf = x.to(dtype).requires_grad_()
        y = operator.to(dtype)(leaf)
        assert y.shape == x.shape
        assert y.dtype is dtype
        (expected,) = torch.autograd.grad(y.sum(), leaf)
        gradient = func.grad(lambda x: operator(x).sum())(leaf.detach())
        torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-2)
