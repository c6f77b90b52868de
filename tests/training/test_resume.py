"""A training that is interrupted and goes on ends like one that was not: to the bit, wherever it is stopped."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interruptible import result, same, train

from poolbench.errors import Stopped
from poolbench.training import Checkpoints, Fitted

KEY = {"run_id": "cell-0", "code": "a"}
NEVER = 1e9


def checkpoints(folder: Path, every_s: float = 0.0, **changes: Any) -> Checkpoints:
    return Checkpoints(
        folder, **({"every_s": every_s, "key": KEY, "place": {"machine_id": "m", "threads": 1}} | changes)
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def after(steps: int) -> Callable[[], str | None]:
    """Ask to stop when that many steps, those of validation included, are over."""
    count = itertools.count(1)
    return lambda: "SIGTERM" if next(count) >= steps else None


def interrupted(
    folder: Path, steps: int, pool: str = "StochasticPool2d", every_s: float = 0.0, **arguments: Any
) -> Fitted:
    """Train in pieces of so many steps, each in a fresh network, until it is over."""
    for _ in range(100):
        try:
            return train(pool, checkpoints=checkpoints(folder, every_s), should_stop=after(steps), **arguments)
        except Stopped:
            continue
    raise AssertionError("it never ends")


# Three steps of training and two of validation make an epoch; the last piece may be over before it is stopped.
@pytest.mark.parametrize("every_s", [0.0, NEVER])
@pytest.mark.parametrize("stop", range(1, 25))
def test_stopped_once_at_any_step(tmp_path: Path, stop: int, every_s: float) -> None:
    whole = result(train())
    with pytest.raises(Stopped, match="SIGTERM"):
        train(checkpoints=checkpoints(tmp_path, every_s), should_stop=after(stop))
    epoch = (stop - 1) // 6
    assert (checkpoints(tmp_path).newest_epoch(), any(tmp_path.glob("checkpoint*.pt"))) == (epoch, epoch > 0)
    resumed = train(checkpoints=checkpoints(tmp_path, every_s))
    assert same(result(resumed), whole)
    assert resumed.resumed_epochs == ([epoch] if epoch else [])
