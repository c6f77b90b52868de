"""A training that is interrupted and goes on ends like one that was not: to the bit, wherever it is stopped."""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from interruptible import POOLS, SGD, Stripes, checkpoints, network, protocol, result, same, train
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from poolbench.errors import Stopped, TimeLimitError
from poolbench.loggers import Mirrors
from poolbench.training import Protocol, newest_epoch
from poolbench.training.fit import fit
from poolbench.training.history import Fitted
from poolbench.training.protocol import LIGHTNING_PRECISION

NEVER = 1e9
# Three steps of training and three of validation.
STEPS = 6


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return result(train())


def after(steps: int) -> Callable[[], str | None]:
    """Ask to stop when that many steps, those of validation included, are over."""
    count = itertools.count(1)
    return lambda: "SIGTERM" if next(count) >= steps else None


def in_pieces(folder: Path, steps: int, every_s: float = 0.0, **arguments: Any) -> Fitted:
    """Train in pieces of so many steps, each with a fresh network, until it is over."""
    for _ in range(50):
        try:
            return train(checkpoints=checkpoints(folder, every_s), should_stop=after(steps), **arguments)
        except Stopped:
            continue
    raise AssertionError("it never ends")


@pytest.mark.quick(2)
@pytest.mark.parametrize("stop", range(1, 4 * STEPS + 1))
def test_stopped_at_any_step(tmp_path: Path, whole: dict[str, Any], stop: int) -> None:
    with pytest.raises(Stopped, match="SIGTERM"):
        train(checkpoints=checkpoints(tmp_path), should_stop=after(stop))
    epoch = (stop - 1) // STEPS
    assert newest_epoch(tmp_path) == epoch
    resumed = train(checkpoints=checkpoints(tmp_path))
    assert same(result(resumed), whole)
    assert resumed.resumed_epochs == ([epoch] if epoch else [])


@pytest.mark.parametrize("epoch", range(1, 4))
def test_a_stop_writes_the_checkpoint_that_was_not_due(tmp_path: Path, whole: dict[str, Any], epoch: int) -> None:
    with pytest.raises(Stopped):
        train(checkpoints=checkpoints(tmp_path, NEVER), should_stop=after(epoch * STEPS + 2))
    # Copies are made seldom where epochs are as short as this, but one is always there after the first.
    assert 1 <= newest_epoch(tmp_path) <= epoch
    assert same(result(train(checkpoints=checkpoints(tmp_path, NEVER))), whole)


@pytest.mark.quick(2)
@pytest.mark.parametrize("pool", POOLS)
def test_every_random_pooling(tmp_path: Path, pool: str) -> None:
    assert same(result(in_pieces(tmp_path, STEPS + 3, pool=pool)), result(train(pool=pool)))


SCHEDULERS = "torch.optim.lr_scheduler"
RECIPES: dict[str, dict[str, Any]] = {
    "last": {"select": "last"},
    "momentum cycled": SGD,
    "bfloat16": {"precision": "bfloat16", "memory_format": "channels_last"},
    "channels last": {"memory_format": "channels_last", **SGD},
    "constant rate": {"schedule": None},
    "cosine": {"schedule": {"_target_": f"{SCHEDULERS}.CosineAnnealingLR"}},
    "milestones": {"schedule": {"_target_": f"{SCHEDULERS}.MultiStepLR", "milestones": [2, 7], "gamma": 0.5}},
    "cyclic": {"schedule": {"_target_": f"{SCHEDULERS}.CyclicLR", "base_lr": 0.001, "max_lr": 0.1, "step_size_up": 4}},
    "fused": {"optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.02, "fused": True, "amsgrad": True}},
    "not deterministic": {"deterministic": False},
}
RECIPES["cyclic"]["optimizer"] = SGD["optimizer"]


@pytest.mark.quick(3)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe(tmp_path: Path, recipe: dict[str, Any]) -> None:
    pieces = in_pieces(tmp_path, STEPS + 2, recipe=recipe)
    assert same(result(pieces), result(train(recipe=recipe)))
    assert pieces.resumed_epochs == [1, 2, 3]


@pytest.mark.slow
def test_a_compiled_network(tmp_path: Path) -> None:
    recipe = {"compile": True}
    assert same(result(in_pieces(tmp_path, STEPS + 2, recipe=recipe)), result(train(recipe=recipe)))


@pytest.mark.parametrize(
    "arguments",
    [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}, {"limit_train_batches": 2}],
    ids=str,
)
def test_arguments_of_lightning(tmp_path: Path, arguments: dict[str, Any]) -> None:
    trainer = {"accelerator": "cpu", **arguments}
    assert same(result(in_pieces(tmp_path, STEPS + 1, trainer=trainer)), result(train(trainer=trainer)))


def test_float16_keeps_the_scale_of_its_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lightning has no float16 on a CPU by itself; torch has.
    monkeypatch.setitem(LIGHTNING_PRECISION, "float16", None)
    monkeypatch.setattr(Protocol, "check_device", lambda *_: None)
    module = sys.modules["poolbench.training.fit"]
    plugins = module._plugins
    monkeypatch.setattr(module, "_plugins", lambda memory: [*plugins(memory), scaling()])
    scales: list[float] = []

    class Scale(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            scales.append(trainer.precision_plugin.scaler.get_scale())  # type: ignore[union-attr]

    def scaling() -> MixedPrecision:
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
        return MixedPrecision("16-mixed", "cpu", scaler=scaler)

    arguments: dict[str, Any] = {"recipe": {"precision": "float16"}, "callbacks": [Scale()]}
    whole = result(train(**arguments))
    grown = scales.copy()
    assert grown == sorted(set(grown))
    scales.clear()
    with pytest.raises(Stopped):
        train(checkpoints=checkpoints(tmp_path), should_stop=after(2 * STEPS + 1), **arguments)
    assert same(result(train(checkpoints=checkpoints(tmp_path), **arguments)), whole)
    assert scales == grown


def test_what_comes_behind_the_last_epoch_may_be_interrupted_too(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert same(result(train(checkpoints=checkpoints(tmp_path))), whole)
    again = train(checkpoints=checkpoints(tmp_path), callbacks=[Failing(RuntimeError("trained again"), epoch=3)])
    assert same(result(again), whole)
    assert again.resumed_epochs == [4]


def test_callbacks_keep_their_state(tmp_path: Path) -> None:
    def early() -> EarlyStopping:
        return EarlyStopping("val_loss", patience=2, min_delta=10.0)

    recipe = {"epochs": 8}
    stopped = result(train(recipe=recipe, callbacks=[early()]))
    assert len(stopped["history"]) == 3
    for _ in range(9):
        try:
            pieces = train(
                recipe=recipe, callbacks=[early()], checkpoints=checkpoints(tmp_path), should_stop=after(STEPS + 2)
            )
        except Stopped:
            continue
        assert same(result(pieces), stopped)
        return
    raise AssertionError("it never ends")


class Counting(nn.Module):
    """A layer whose buffer changes in training, and is in no state dict."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + 1
        return x * (1 + 0.01 * self.seen.sin())


def test_buffers_that_are_in_no_state_dict(tmp_path: Path) -> None:
    def run(**arguments: Any) -> Fitted:
        net = nn.Sequential(Counting(), *network())
        return fit(
            net, Stripes(), Stripes(seed=1), protocol=protocol(), trainer={"accelerator": "cpu"}, seed=0, **arguments
        )

    with pytest.raises(Stopped):
        run(checkpoints=checkpoints(tmp_path), should_stop=after(2 * STEPS + 1))
    assert same(result(run(checkpoints=checkpoints(tmp_path))), result(run()))


class Failing(L.Callback):
    def __init__(self, error: BaseException, epoch: int = 2) -> None:
        self.error, self.epoch = error, epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:  # type: ignore[override]
        if trainer.current_epoch == self.epoch:
            raise self.error


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), KeyboardInterrupt(), Stopped("SIGINT"), SystemExit(3)], ids=repr
)
def test_whatever_ends_it_leaves_a_checkpoint_and_the_history(
    tmp_path: Path, whole: dict[str, Any], error: BaseException
) -> None:
    fitted = Fitted(network())
    with pytest.raises(type(error)) as raised:
        train(checkpoints=checkpoints(tmp_path), callbacks=[Failing(error)], fitted=fitted)
    assert isinstance(error, KeyboardInterrupt) or raised.value is error
    assert repr(fitted.history) == repr(whole["history"][:2])
    resumed = train(checkpoints=checkpoints(tmp_path))
    assert resumed.resumed_epochs == [2]
    assert same(result(resumed), whole)


def test_sigterm_without_a_handler_is_a_wish_to_stop(tmp_path: Path, whole: dict[str, Any]) -> None:
    class Terminate(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        train(checkpoints=checkpoints(tmp_path), callbacks=[Terminate()])
    assert same(result(train(checkpoints=checkpoints(tmp_path))), whole)


def test_a_job_of_slurm_changes_nothing(whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several tasks in a job, its command, and what another project left: Lightning would refuse one device, warn,
    # requeue the job by itself, and go on from a file that is not ours.
    for name, value in {"NTASKS": "3", "JOB_ID": "7", "JOB_NAME": "cells", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    command = tmp_path / "srun"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another project")
    monkeypatch.chdir(tmp_path)
    assert same(result(train()), whole)
    for name in ("NTASKS", "JOB_ID", "JOB_NAME", "PROCID"):
        monkeypatch.delenv(f"SLURM_{name}")
    assert same(result(train()), whole)


@pytest.mark.parametrize("poison", [(0, 1), (2, 0), (3, 2)])
def test_a_loss_that_is_no_number_ends_the_epoch_there(tmp_path: Path, poison: tuple[int, int]) -> None:
    epoch, step = poison
    batches: list[int] = []

    class Count(L.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:  # type: ignore[override]
            batches.append(batch_idx)

    diverged = train(train=Stripes(poison=poison), callbacks=[Count()])
    assert diverged.diverged == f"the training loss was nan in epoch {epoch + 1}, step {step + 1} of 3"
    assert [row["epoch"] for row in diverged.history] == list(range(epoch + 1))
    assert len(batches) == 3 * epoch + step + 1
    pieces = in_pieces(tmp_path, STEPS + 1, train=Stripes(poison=poison))
    assert same(result(pieces), result(diverged))


@pytest.mark.slow
def test_the_limit_of_time_is_looked_at_in_each_step() -> None:
    with pytest.raises(TimeLimitError, match=r"`protocol.time_limit` \(1e-06 s\) in step 1 of 3 of epoch 1"):
        train(recipe={"time_limit": 1e-6})


def test_time_before_an_interruption_counts(tmp_path: Path, whole: dict[str, Any]) -> None:
    fitted = Fitted(network())
    with pytest.raises(Stopped):
        train(checkpoints=checkpoints(tmp_path), should_stop=after(3 * STEPS + 1), fitted=fitted)
    with pytest.raises(TimeLimitError, match="in step 1 of 3 of epoch 4"):
        train(checkpoints=checkpoints(tmp_path), recipe={"time_limit": fitted.spent_s / 10})
    assert same(result(train(checkpoints=checkpoints(tmp_path), recipe={"time_limit": 1e6})), whole)


def test_another_machine_is_noted(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(checkpoints=checkpoints(tmp_path), should_stop=after(STEPS + 1))
    elsewhere = checkpoints(tmp_path, place={"machine_id": "other", "threads": 8})
    with pytest.raises(Stopped):
        train(checkpoints=elsewhere, should_stop=after(STEPS + 1))
    assert train(checkpoints=checkpoints(tmp_path)).places == [
        {"epoch": 0, "machine_id": "m", "threads": 1},
        {"epoch": 1, "machine_id": "other", "threads": 8},
        {"epoch": 2, "machine_id": "m", "threads": 1},
    ]


def test_a_mirror_holds_every_epoch_after_an_interruption(tmp_path: Path) -> None:
    spec = {"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "", "version": "csv"}
    for stop in (2 * STEPS + 1, 1000):
        mirror = Mirrors({"csv": spec}, folder=tmp_path, run_id="run-1", experiment="test")
        try:
            train(checkpoints=checkpoints(tmp_path), should_stop=after(stop), mirrors=mirror)
        except Stopped:
            pass
        finally:
            mirror.close()
    assert len((tmp_path / "csv" / "metrics.csv").read_text().splitlines()) == 5


class Odd(L.Callback):
    """A callback whose state is no plain value."""

    def state_dict(self) -> dict[str, Any]:
        return {"odd": Fitted}


def test_a_state_that_cannot_be_kept_costs_the_checkpoints_and_nothing_else(
    tmp_path: Path, whole: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert same(result(train(checkpoints=checkpoints(tmp_path), callbacks=[Odd()])), whole)
    assert not list(tmp_path.glob("checkpoint*"))
    assert len([record for record in caplog.records if "no checkpoints of this cell" in record.message]) == 1


def test_no_copy_and_no_file_in_a_short_training(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    train(checkpoints=checkpoints(folder, protocol().checkpoint_every_s))
    assert not folder.exists()


def test_where_it_goes_on_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Stopped):
        train(checkpoints=checkpoints(tmp_path), should_stop=after(STEPS + 1))
    with caplog.at_level(logging.INFO, logger="poolbench"):
        train(checkpoints=checkpoints(tmp_path))
    assert f"continues after 1 of 4 epochs, from {tmp_path / 'checkpoint-000001.pt'}" in caplog.text


def killed(trials: int, seed: int) -> dict[str, Any]:
    """Kill trainings with −9 at random moments, in processes forked from one that has all imported."""
    script = Path(__file__).parents[1] / "interruptible.py"
    done = subprocess.run(
        [sys.executable, str(script), str(trials), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_at_random_moments() -> None:
    trials = 12
    found = killed(trials, seed=1)
    assert found["trials"] == trials
    assert found["equal"] == trials, found
    # One that is over before its time is not killed.
    assert found["kills"] >= 2 * trials, found
    assert found["resumed"] >= trials, found
