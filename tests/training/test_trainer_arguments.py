"""Every argument of lightning.Trainer: it acts on the training, or it is refused with what to use instead."""

import inspect
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from training.recipes import TRAINER, Blobs, network, protocol, run

from poolbench.errors import ConfigurationError
from poolbench.record import identify
from poolbench.training.fit import fit
from poolbench.training.trainer_arguments import ACTING, DECIDED_BY, REFUSED, trainer_arguments

SIGNATURE = inspect.signature(L.Trainer).parameters
CALLBACKS = "lightning.pytorch.callbacks"


def test_every_argument_of_this_lightning_is_decided() -> None:
    decided = [*ACTING, *DECIDED_BY, *REFUSED]
    assert set(SIGNATURE) <= set(decided)
    assert len(decided) == len(set(decided))


@pytest.mark.parametrize("name", sorted(set(SIGNATURE) - set(ACTING)))
def test_what_would_not_act_is_refused_whatever_its_value(name: str) -> None:
    for value in (True, False, 1, 0.5, "16-mixed", None):
        with pytest.raises(ConfigurationError, match=rf"`trainer\.{name}`.*(use|leave it out|records go|one device)"):
            trainer_arguments({name: value})


def test_what_a_callback_refuses_is_an_error_of_the_configuration() -> None:
    callback = {"_target_": f"{CALLBACKS}.EarlyStopping", "monitor": "val_loss", "mode": "foo"}
    with pytest.raises(ConfigurationError, match=r"`trainer\.callbacks` \(.*EarlyStopping\): .*foo"):
        trainer_arguments({"callbacks": [callback]}, protocol())


EARLY = {"_target_": f"{CALLBACKS}.EarlyStopping", "monitor": "val_loss", "patience": 0, "min_delta": 9.0}
STOPPING = {"_target_": "training.recipes.StopsAtOnce"}
# The configuration that a trainer argument is added to, the argument, and what else it needs to act.
CHANGING: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("callbacks", [EARLY], {}, {}),
    ("callbacks", EARLY, {}, {}),
    ("min_epochs", 5, {"callbacks": [STOPPING]}, {}),
    ("min_steps", 9, {"callbacks": [STOPPING]}, {}),
    ("limit_train_batches", 2, {}, {}),
    ("limit_train_batches", 0.5, {}, {}),
    ("limit_val_batches", 1, {}, {}),
    ("limit_val_batches", 0, {}, {"select": "last"}),
    ("check_val_every_n_epoch", 2, {}, {}),
    ("accumulate_grad_batches", 2, {}, {}),
    ("gradient_clip_val", 0.01, {}, {}),
    ("gradient_clip_algorithm", "value", {"gradient_clip_val": 0.01}, {}),
]


def figures(trainer: dict[str, Any], recipe: dict[str, Any]) -> str:
    slow = {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.5}, "schedule": None}
    return repr(run(trainer=TRAINER | trainer, protocol=protocol(**slow, epochs=6, **recipe)).history)


@pytest.mark.quick(2)
@pytest.mark.parametrize(("name", "value", "beside", "recipe"), CHANGING)
def test_what_changes_figures_changes_them(name: str, value: Any, beside: dict, recipe: dict) -> None:
    assert figures(beside | {name: value}, recipe) != figures(beside, recipe)


def test_what_changes_no_figure_is_seen_at_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(trainer=TRAINER | {"enable_progress_bar": True})
    assert "Epoch" in capfd.readouterr().out
    shown = []
    monkeypatch.setattr(f"{CALLBACKS}.ModelSummary.on_fit_start", lambda *_: shown.append(1))
    run(trainer=TRAINER | {"enable_model_summary": True})
    assert shown
    profiler = {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "dirpath": str(tmp_path), "filename": "times"}
    run(trainer=TRAINER | {"profiler": profiler})
    assert "run_training_epoch" in (tmp_path / "fit-times.txt").read_text()
    with pytest.raises(RuntimeError, match="nan values in its"):
        fit(
            network(),
            Blobs(poison_epoch=0),
            Blobs(),
            protocol=protocol(),
            trainer=TRAINER | {"detect_anomaly": True},
            seed=0,
        )


def test_what_changes_figures_without_being_named_here_is_named_here() -> None:
    seen = {"accelerator", "devices", "enable_progress_bar", "enable_model_summary", "profiler", "detect_anomaly"}
    assert set(ACTING) == {name for name, *_ in CHANGING} | seen | {"benchmark"}  # cuDNN's: on a GPU alone


@pytest.mark.parametrize("extra", [{"detect_anomaly": True}, {"profiler": "simple"}])
def test_what_only_looks_on_makes_no_other_cell(extra: dict[str, Any]) -> None:
    labels = {"backbone": "slides", "variant": "max", "dataset": "digits"}
    plain, same, other = (
        identify({"trainer": {"accelerator": "cpu", **more}, "seed": 0}, labels, fingerprint="digits", device="cpu")
        for more in ({}, extra, {"gradient_clip_val": 1.0})
    )
    assert same == plain
    assert other != plain


@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        ({"gradient_clip": 1.0}, "did you mean gradient_clip_val"),
        ({"max_epochs": 3}, "`trainer.max_epochs` is set by `protocol.epochs`"),
        ({"devices": 2}, "must be 1"),
        ({"enable_checkpointing": True}, "weights.pt"),
        ({"min_epochs": 2}, "`trainer.min_epochs` does nothing"),
        ({"gradient_clip_algorithm": "norm"}, "does nothing without trainer.gradient_clip_val"),
        ({"gradient_clip_algorithm": "both", "gradient_clip_val": 1.0}, "unknown `trainer.gradient_clip_algorithm`"),
        ({"gradient_clip_val": 0}, "above 0, got 0"),
        ({"gradient_clip_val": float("inf")}, "above 0, got inf"),
        ({"gradient_clip_val": True}, "above 0, got True"),
        ({"benchmark": True, "accelerator": "cpu"}, "does nothing on a CPU"),
        ({"limit_train_batches": 0}, r"in \(0, 1\], got 0"),
        ({"limit_train_batches": 1.5}, r"in \(0, 1\], got 1.5"),
        ({"limit_val_batches": -1}, "got -1"),
        ({"min_epochs": 0, "callbacks": [STOPPING]}, "at least 1, got 0"),
        ({"check_val_every_n_epoch": None}, "at least 1, got None"),
        ({"accumulate_grad_batches": "two"}, "at least 1, got 'two'"),
        ({"enable_progress_bar": "yes"}, "true or false"),
        ({"profiler": "simple"}, "`_target_`"),
        ({"profiler": {"_target_": "lightning.pytorch.profilers.SimpleProfiler"}}, "would write nowhere"),
        ({"profiler": {"_target_": "fractions.Fraction"}}, "one of Lightning's, got a Fraction"),
        ({"callbacks": [{"_target_": f"{CALLBACKS}.ModelCheckpoint"}]}, "ModelCheckpoint cannot be set"),
        (
            {"callbacks": [{"_target_": f"{CALLBACKS}.EMAWeightAveraging"}]},
            "EMAWeightAveraging cannot be set: each epoch's weights are validated",
        ),
        (
            {"callbacks": [{"_target_": f"{CALLBACKS}.StochasticWeightAveraging", "swa_lrs": 0.1}]},
            "StochasticWeightAveraging cannot be set",
        ),
        ({"callbacks": [{"_target_": f"{CALLBACKS}.LearningRateMonitor"}]}, "LearningRateMonitor cannot be set"),
        ({"callbacks": [{"_target_": "fractions.Fraction"}]}, "got a Fraction"),
        ({"callbacks": "early"}, "`_target_`"),
    ],
)
def test_what_is_wrong_is_told_before_training(trainer: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        trainer_arguments(trainer)


@pytest.mark.parametrize("trainer", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 4}])
def test_no_epoch_to_select_is_told_before_training(trainer: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"use protocol\.select=last"):
        trainer_arguments(trainer, protocol(epochs=3))
    assert trainer_arguments(trainer, protocol(epochs=3, select="last")) == trainer


def test_a_switch_of_the_process_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meddles(L.Callback):
        def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            torch.backends.cudnn.benchmark = True

    run(callbacks=[Meddles()])
    assert not torch.backends.cudnn.benchmark
