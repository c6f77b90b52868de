"""Training on batches made here: selection, repeatability, divergence, interruption, progress, mirrors."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from poolbench.errors import ConfigurationError, Stopped
from poolbench.streams import drawing, stream
from poolbench.training import Mirrors, Protocol, fit, predict, resolve_device, seen_again, trainer_arguments

CPU = torch.device("cpu")
TRAINER = {"accelerator": "cpu"}
RECIPE: dict[str, Any] = {
    "name": "test",
    "epochs": 3,
    "batch_size": 8,
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.05, "weight_decay": 0.1},
    "schedule": {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.05},
    "label_smoothing": 0.0,
    "precision": "float32",
    "memory_format": "contiguous",
    "select": "best",
    "deterministic": False,
    "compile": False,
    "eval_batch_size": 16,
}


def protocol(**changes: Any) -> Protocol:
    return Protocol.of(RECIPE | changes)


class Blobs:
    """Two classes whose mean brightness differs; the order of each epoch is drawn from its own stream."""

    def __init__(self, batches: int = 4, seed: int = 0, poison_epoch: int | None = None) -> None:
        draw = stream(seed, "blobs")
        self.target = torch.arange(batches * 8) % 2
        self.images = torch.randn(batches * 8, 1, 4, 4, generator=draw) + self.target.view(-1, 1, 1, 1)
        self.batches, self.epoch, self.poison_epoch = batches, 0, poison_epoch

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.target), generator=stream(0, "order", self.epoch))
        for rows in order.chunk(self.batches):
            images = self.images[rows]
            yield images * math.nan if self.epoch == self.poison_epoch else images, self.target[rows]


def network(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with drawing(seed, "network"):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def weights(trained: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in trained.parameters()]


def run(net: nn.Module | None = None, train: Any = None, **changes: Any):
    given = {"protocol": protocol(), "trainer": TRAINER, "seed": 0} | changes
    return fit(net or network(), train or Blobs(), Blobs(seed=1), **given)


def test_it_learns_and_keeps_a_row_an_epoch() -> None:
    fitted = run(protocol=protocol(epochs=8))
    assert [row["epoch"] for row in fitted.history] == list(range(8))
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]
    assert fitted.selected["val_accuracy"] > 0.85


def test_the_selected_weights_are_in_the_network() -> None:
    fitted = run(protocol=protocol(epochs=8))
    logits, target = predict(fitted.network, Blobs(seed=1), protocol=protocol(), device=CPU)
    accuracy = (logits.argmax(1) == target).float().mean().item()
    assert accuracy == pytest.approx(fitted.selected["val_accuracy"])
    best = max(fitted.history, key=lambda row: (row["val_accuracy"], -row["val_loss"], -row["epoch"]))
    assert fitted.selected_epoch == best["epoch"]


def test_what_was_trained_on_is_seen_again_as_evaluation_sees_it() -> None:
    net, blobs = network(dropout=0.5), Blobs()
    loss, accuracy = seen_again(net, blobs, protocol=protocol(), device=CPU)
    logits, target = predict(net, blobs, protocol=protocol(), device=CPU)
    assert accuracy == pytest.approx((logits.argmax(1) == target).double().mean().item())
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, target).item(), rel=1e-5)
    assert (loss, accuracy) == seen_again(net, blobs, protocol=protocol(), device=CPU)


def test_select_last() -> None:
    assert run(protocol=protocol(epochs=4, select="last")).selected_epoch == 3


def test_equal_seeds_give_equal_figures_and_leave_the_global_stream_alone() -> None:
    torch.manual_seed(7)
    first = run(network(dropout=0.5))
    drawn = torch.rand(1)
    torch.manual_seed(7)
    torch.rand(100)  # whatever was drawn before has no part in it
    torch.manual_seed(7)
    second = run(network(dropout=0.5))
    assert torch.equal(torch.rand(1), drawn)
    assert first.history == second.history
    assert all(map(torch.equal, weights(first.network), weights(second.network)))


def test_another_seed_draws_other_dropout() -> None:
    assert run(network(dropout=0.5)).history != run(network(dropout=0.5), seed=1).history


def test_a_loss_that_is_no_number_ends_the_cell_as_diverged() -> None:
    fitted = run(train=Blobs(poison_epoch=1), protocol=protocol(epochs=5))
    assert "nan in epoch 1" in fitted.diverged
    assert len(fitted.history) == 2
    assert fitted.selected_epoch == 0


def test_no_weight_decay_on_biases_norms_and_scalars() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decays = {
        parameter: group["weight_decay"]
        for group in protocol().build_optimizer(net.parameters()).param_groups
        for parameter in group["params"]
    }
    assert {name: decays[parameter] for name, parameter in net.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }


def test_the_schedule_covers_the_whole_training() -> None:
    fitted = run(protocol=protocol(epochs=4))
    rates = [row["learning_rate"] for row in fitted.history]
    assert rates[0] == pytest.approx(0.05 / 25)
    assert max(rates) > 0.04
    assert rates[-1] < 0.02


def test_further_trainer_arguments_reach_lightning() -> None:
    clipped = run(trainer=TRAINER | {"gradient_clip_val": 1e-6})
    assert clipped.history != run().history


class Raising(L.Callback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:  # type: ignore[override]
        raise self.error


@pytest.mark.parametrize("error", [Stopped("SIGTERM"), RuntimeError("boom")])
def test_what_ends_the_training_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(callbacks=[Raising(error)])


def test_an_interrupt_is_an_interrupt_and_not_an_exit() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(callbacks=[Raising(KeyboardInterrupt())])
    assert signal.getsignal(signal.SIGINT) is before


class Told:
    def __init__(self) -> None:
        self.epochs: list[tuple[int, int]] = []

    def steps(self, done: float, of: int) -> None: ...

    def epoch(self, done: int, of: int, row: Any) -> None:
        self.epochs.append((done, of))


def test_progress_is_told_each_epoch() -> None:
    told = Told()
    run(progress=told)
    assert told.epochs == [(1, 3), (2, 3), (3, 3)]


def mirrors(folder: Path, **specs: Any) -> Mirrors:
    return Mirrors(specs, folder=folder, run_id="run-1", experiment="test", tags=["a"])


def test_the_csv_mirror_holds_every_epoch(tmp_path: Path) -> None:
    spec = {"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "", "version": "csv"}
    mirror = mirrors(tmp_path, csv=spec)
    run(mirrors=mirror)
    mirror.close(ok=True)
    lines = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 4
    assert "val_accuracy" in lines[0]


class Broken(L.loggers.CSVLogger):
    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        raise OSError("server down")


def test_a_logger_that_fails_is_dropped_and_the_cell_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.Broken", Broken, raising=False)
    mirror = mirrors(tmp_path, broken={"_target_": "lightning.pytorch.loggers.Broken"})
    fitted = run(mirrors=mirror)
    assert len(fitted.history) == 3
    assert "broken dropped" in caplog.text
    assert "server down" in caplog.text


def test_a_misspelt_logger_argument_is_told_before_training() -> None:
    with pytest.raises(ConfigurationError, match="did you mean version"):
        Mirrors.check({"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "verzion": "x"}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, r"`protocol.epochs` must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"precision": "bfloat"}, "did you mean bfloat16"),
        ({"memory_format": "channel_last"}, "did you mean channels_last"),
        ({"select": "max"}, "unknown `protocol.select` 'max'"),
        ({"label_smoothing": 1.0}, r"in \[0, 1\)"),
        ({"deterministic": "yes"}, "true or false"),
        ({"epoch": 3}, "did you mean epochs"),
        ({"optimizer": {"_target_": "torch.optim.AdamW", "learning_rate": 1}}, "unknown argument 'learning_rate'"),
        ({"optimizer": {"_target_": "torch.optim.AdamW", "lr": -1.0}}, "Invalid learning rate"),
        ({"schedule": {"_target_": "torch.optim.lr_scheduler.OneCycleLR"}}, "missing argument 'max_lr'"),
    ],
)
def test_a_wrong_recipe_is_told_before_training(changes: dict, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        protocol(**changes)


@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        ({"gradient_clip": 1.0}, "did you mean gradient_clip_val"),
        ({"max_epochs": 3}, "`trainer.max_epochs` is set by `protocol.epochs`"),
        ({"devices": 2}, "must be 1"),
    ],
)
def test_trainer_arguments_are_lightnings_by_name(trainer: dict, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        trainer_arguments(trainer)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device({"accelerator": "auto"}) == CPU
    with pytest.raises(ConfigurationError, match="torch sees no GPU"):
        resolve_device({"accelerator": "gpu"})
    with pytest.raises(ConfigurationError, match="cpu, gpu or auto"):
        resolve_device({"accelerator": "tpu"})


def test_bfloat16_computes_in_bfloat16() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.dtype)
            return x

    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2), Spy())
    run(net, protocol=protocol(precision="bfloat16", epochs=1))
    assert set(seen) == {torch.bfloat16}
