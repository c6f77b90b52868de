"""Learned parameters of every window operator that has some: trained towards the operator with other parameters."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pooling.cases import CASES, CHANNELS, OTHERS, Case, as_configured
from torch import Tensor, nn

from poolbench.pooling import AvgPool2d, MaxPool2d, MinPool2d
from poolbench.spec import build

# Numbers that the files have for the layer for each channel as well, and the other way round.
EITHER = {name: case for name, case in OTHERS.items() if case.name.endswith(("[channel]", "[layer]"))}
LEARNED = {
    name: case
    for name, case in (CASES | EITHER).items()
    if as_configured(case) and any(parameter.requires_grad for parameter in case.operator().parameters())
}
# Arguments that are others here, and why.
INSTEAD: dict[str, dict[str, Any]] = {
    # Noise is drawn anew in each forward pass: with equal parameters results would still differ. A low temperature
    # makes more of the scores, which lie close together.
    "lps": {"draw": "softmax", "temperature": 0.1},
    # Weights of up to e¹² choose one value of each window, and the slope is next to nothing elsewhere.
    "lip": {"coefficient": 3.0},
    "lip_bottleneck": {"width": 8},  # 128 channels for a map of 3 take long
}
# What learns as it evaluates, because noise would be left in training however equal the parameters are; and what has no
# part in evaluation, whose learning tests/pooling/windows/test_gaussian.py shows.
EVALUATED: dict[str, tuple[str, ...]] = {"gaussian": ("sigma.linear.weight", "sigma.norm.weight", "sigma.norm.bias")}
STEPS, RATE = 100, 0.02


def trained(student: nn.Module, x: Tensor, target: Tensor) -> list[float]:
    """Return the loss before every step, and after the last one."""
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.mse_loss(student(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        return [*losses, F.mse_loss(student(x), target).item()]


def test_what_learns_is_seen() -> None:
    assert {"mixed-fast", "strided_conv-torch", "mixed[channel]-fast"} <= LEARNED.keys()


@pytest.mark.quick(3)
@pytest.mark.parametrize("case", LEARNED.values(), ids=LEARNED)
def test_learns_what_no_fixed_pooling_can(case: Case) -> None:
    """From its start, as a network builds it, to the same operator with every parameter moved."""
    case = dataclasses.replace(case, spec=case.spec | INSTEAD.get(case.name, {}))
    x = case.images(8, CHANNELS, 7, 6)
    with torch.no_grad():
        target = case.operator().train(case.name not in EVALUATED)(x)
    torch.manual_seed(0)
    context = {"ceil_mode": False, "channels": CHANNELS} | case.usual
    student = build(case.spec, context, where="pooling.downsample").train(case.name not in EVALUATED)
    named = {name: value for name, value in student.named_parameters() if name not in EVALUATED.get(case.name, ())}
    start = [parameter.detach().clone() for parameter in named.values()]
    losses = trained(student, x, target)
    for before, after in zip(start, named.values(), strict=True):
        assert (after != before).all()
        assert (after - before).abs().max() > 0.05
    fixed = min(F.mse_loss(kind(**case.usual)(x), target).item() for kind in (MaxPool2d, AvgPool2d, MinPool2d))
    assert losses[-1] < min(losses[0], fixed) / 4
