"""Training on batches made here: selection, repeatability, divergence, interruption, progress, mirrors."""

import copy
import signal
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from training.recipes import Blobs, network, protocol, run, weights

from poolbench.errors import ConfigurationError, Stopped
from poolbench.training import resolve_device
from poolbench.training.fit import seen_again

CPU = torch.device("cpu")


@torch.inference_mode()
def predict(net: nn.Module, batches: Blobs) -> tuple[Tensor, Tensor]:
    """Return logits and targets of all batches, in evaluation mode."""
    logits, targets = zip(*((net.eval()(images), target) for images, target in batches), strict=True)
    return torch.cat(logits), torch.cat(targets)


def test_it_learns_and_keeps_a_row_an_epoch() -> None:
    fitted = run(protocol=protocol(epochs=8))
    assert [row["epoch"] for row in fitted.history] == list(range(8))
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]
    assert fitted.selected["val_accuracy"] > 0.85


def test_the_selected_weights_are_in_the_network() -> None:
    fitted = run(protocol=protocol(epochs=8))
    logits, target = predict(fitted.network, Blobs(seed=1))
    accuracy = (logits.argmax(1) == target).float().mean().item()
    assert accuracy == pytest.approx(fitted.selected["val_accuracy"])
    best = max(fitted.history, key=lambda row: (row["val_accuracy"], -row["val_loss"], -row["epoch"]))
    assert fitted.selected_epoch == best["epoch"]


def test_what_was_trained_on_is_seen_again_as_evaluation_sees_it() -> None:
    net, blobs = network(dropout=0.5), Blobs()
    loss, accuracy = seen_again(net, blobs, protocol=protocol(), device=CPU)
    logits, target = predict(net, blobs)
    assert accuracy == pytest.approx((logits.argmax(1) == target).double().mean().item())
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, target).item(), rel=1e-5)
    assert (loss, accuracy) == seen_again(net, blobs, protocol=protocol(), device=CPU)


def test_what_lightning_refuses_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**arguments: Any) -> None:
        torch.use_deterministic_algorithms(True)
        raise RuntimeError("refused")

    monkeypatch.setattr(L, "Trainer", refuse)
    before = torch.utils.deterministic.fill_uninitialized_memory
    with pytest.raises(RuntimeError, match="refused"):
        run(protocol=protocol())
    assert torch.utils.deterministic.fill_uninitialized_memory == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_each_epochs_test_accuracy_is_written_and_changes_nothing_else() -> None:
    net = network(dropout=0.5)
    plain = run(copy.deepcopy(net))
    tested = run(net, test=Blobs(seed=2))
    shown = [row.pop("test_accuracy") for row in tested.history]
    assert plain.history == tested.history
    assert all(map(torch.equal, weights(plain.network), weights(tested.network)))
    _, accuracy = seen_again(tested.network, Blobs(seed=2), protocol=protocol(), device=CPU)
    assert shown[tested.selected_epoch] == accuracy


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
    assert "nan in epoch 2" in fitted.diverged
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
