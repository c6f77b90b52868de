"""Operators and heads as configured, on a GPU and on the CPU: the same results and gradients."""

import copy
from typing import Any

import pytest
import torch
from pooling.bases.test_implementations import computed
from pooling.cases import CHANNELS, Case, each
from pooling.heads.test_heads import head_for, images_for
from pooling.heads.test_heads_by_kernels import computed as computed_by_head
from pooling.heads.test_heads_by_kernels import each as each_head
from torch import Tensor

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def close(here: list[Tensor], there: list[Tensor]) -> None:
    for one, other in zip(here, there, strict=True):
        if one is None or other is None:
            assert one is other
            continue
        assert other.is_cuda
        # Sums in another order.
        torch.testing.assert_close(one, other.cpu(), rtol=1e-4, atol=1e-4 * max(1.0, one.abs().max().item()))


@each()
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_window_operators(case: Case, training: bool) -> None:
    operator = case.operator().train(training)
    for layout in LAYOUTS:
        x = case.images(2, CHANNELS, 9, 8).contiguous(memory_format=layout)
        with torch.backends.cudnn.flags(allow_tf32=False):
            close(computed(copy.deepcopy(operator), x), computed(copy.deepcopy(operator).cuda(), x.cuda()))


@each()
def test_torchs_operations_run_unless_kernels_are_asked_for(case: Case) -> None:
    ran, reason = case.operator().cuda().implementation_for(case.images(2, CHANNELS, 9, 8).cuda())
    assert ran == "torch"
    assert reason


@each_head
@pytest.mark.parametrize("size", [(2, 4, 9, 8), (8, 4, 64, 64)], ids=str)
def test_heads(spec: dict[str, Any], size: tuple[int, ...]) -> None:
    head = head_for(spec)
    x = images_for(head, *size)
    above = torch.ones_like(head(x))
    with torch.backends.cudnn.flags(allow_tf32=False):
        here = computed_by_head(copy.deepcopy(head), x, above)
        close(here, computed_by_head(copy.deepcopy(head).cuda(), x.cuda(), above.cuda()))
