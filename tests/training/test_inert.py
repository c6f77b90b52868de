"""Settings of optimiser and schedule: those that change nothing are found by trying."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from training.recipes import RECIPE

from poolbench.errors import ConfigurationError
from poolbench.training import Protocol
from poolbench.training.inert import inert_settings, require_acting


def of(schedule: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"torch.optim.lr_scheduler.{schedule}", **arguments}


ONE_CYCLE = of("OneCycleLR", max_lr=0.05)
SGD: dict[str, Any] = {"_target_": "torch.optim.SGD", "lr": 0.05}


def recipe(optimizer: dict[str, Any], schedule: dict[str, Any] | None) -> Protocol:
    return Protocol.of(RECIPE | {"optimizer": optimizer, "schedule": schedule})


def adam(**changes: Any) -> dict[str, Any]:
    return {"_target_": "torch.optim.AdamW", "lr": 0.05} | changes


@pytest.mark.parametrize("schedule", [None, ONE_CYCLE])
def test_an_optimizer_that_cannot_step_is_refused_before_any_training(schedule: dict[str, Any] | None) -> None:
    with pytest.raises(ConfigurationError, match=r"`protocol\.optimizer` \(torch\.optim\.SparseAdam\) cannot step"):
        recipe({"_target_": "torch.optim.SparseAdam", "lr": 0.1}, schedule)


class AsksForLoss(torch.optim.SGD):
    """An optimiser that cannot step without a closure."""

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        loss = closure()
        super().step()
        return loss


def test_an_optimizer_that_asks_for_a_closure_gets_one() -> None:
    mine = {"_target_": "training.test_inert.AsksForLoss", "lr": 0.1, "dampening": 0.5}
    assert list(inert_settings(recipe(mine, None))) == ["optimizer.dampening"]


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("optimizer", "schedule", "inert"),
    [
        (adam(betas=[0.8, 0.99], eps=1e-7, weight_decay=0.1, amsgrad=True, maximize=True), None, []),
        (adam(betas=[0.8, 0.99], weight_decay=0.0), ONE_CYCLE, ["optimizer.lr", "optimizer.betas.0"]),
        (adam(betas=[0.8, 0.99]), ONE_CYCLE | {"cycle_momentum": False}, ["optimizer.lr"]),
        (
            adam(),
            ONE_CYCLE | {"cycle_momentum": False, "base_momentum": 0.5, "max_momentum": 0.9},
            ["optimizer.lr", "schedule.base_momentum", "schedule.max_momentum"],
        ),
        (
            adam(),
            ONE_CYCLE | {"pct_start": 0.2, "div_factor": 9.0, "final_div_factor": 50.0, "three_phase": True},
            ["optimizer.lr"],
        ),
        (
            adam(),
            ONE_CYCLE | {"epochs": 3, "steps_per_epoch": 9},
            ["optimizer.lr", "schedule.epochs", "schedule.steps_per_epoch"],
        ),
        (SGD | {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}, None, []),
        (SGD | {"momentum": 0.0, "dampening": 0.1}, None, ["optimizer.dampening"]),
        (SGD | {"momentum": 0.9, "nesterov": True, "fused": True}, of("StepLR", step_size=100, gamma=0.5), []),
        (SGD, of("CosineAnnealingLR", eta_min=0.001), []),
        (
            SGD | {"momentum": 0.9},
            of("CyclicLR", base_lr=0.1, max_lr=1.0),
            ["optimizer.lr", "optimizer.momentum"],
        ),
    ],
)
def test_what_no_step_depends_on_is_found(optimizer: dict, schedule: dict | None, inert: list[str]) -> None:
    assert list(inert_settings(recipe(optimizer, schedule))) == inert


IMAGE = (3, 8, 8)
WRITTEN = {"optimizer": adam(lr=0.003, weight_decay=0.01), "schedule": ONE_CYCLE | {"max_lr": 0.003}}


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("optimizer", "schedule", "says"),
    [
        ({"lr": 1.0}, {}, r"`protocol.optimizer.lr=1.0` does nothing: OneCycleLR sets the rate itself; use "
         r"protocol.schedule.max_lr, or protocol.schedule=null"),
        ({"lr": 0.1}, {"max_lr": 0.2}, "protocol.optimizer.lr=0.1"),
        ({"betas": [0.5, 0.99]}, {}, r"`protocol.optimizer.betas.0=0.5` does nothing.*max_momentum"),
        ({}, {"epochs": 3, "steps_per_epoch": 100}, "`protocol.schedule.epochs=3` does nothing.*use protocol.epochs"),
    ],
)  # fmt: skip
def test_what_was_given_and_does_nothing_is_refused(optimizer: dict, schedule: dict, says: str) -> None:
    changed = recipe(WRITTEN["optimizer"] | optimizer, WRITTEN["schedule"] | schedule)
    with pytest.raises(ConfigurationError, match=says):
        require_acting(changed, WRITTEN, IMAGE)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ({}, {}),
        ({}, {"max_lr": 0.002}),  # the optimiser's rate is as its file has it: nobody asked for it
        ({"lr": 0.01}, {"max_lr": 0.01}),  # both say the same, which is true
        ({"betas": [0.95, 0.99]}, {}),  # what the schedule makes of it
        ({"weight_decay": 0.5, "eps": 1e-6}, {"pct_start": 0.1}),
    ],
)
def test_what_acts_or_says_the_truth_stays(optimizer: dict, schedule: dict) -> None:
    require_acting(recipe(WRITTEN["optimizer"] | optimizer, WRITTEN["schedule"] | schedule), WRITTEN, IMAGE)


def test_a_constant_rate_is_the_optimisers() -> None:
    require_acting(recipe(WRITTEN["optimizer"] | {"lr": 1.0}, None), WRITTEN, IMAGE)


def test_sequences_have_one_memory_format() -> None:
    asked = replace(recipe(WRITTEN["optimizer"], WRITTEN["schedule"]), memory_format="channels_last")
    written = WRITTEN | {"memory_format": "contiguous"}
    require_acting(asked, written, IMAGE)
    require_acting(asked, WRITTEN | {"memory_format": "channels_last"}, (4, 60))
    with pytest.raises(ConfigurationError, match=r"`protocol.memory_format=channels_last` does nothing: sequences"):
        require_acting(asked, written, (4, 60))
