"""Which arguments of `lightning.Trainer` a configuration may set: each acts here, or it is refused with the reason.

An argument is part of an arm's identity. One that is taken and changes nothing makes two arms of one, and the report
tells a difference that is none.
"""

import functools
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.profilers import Profiler

from poolbench.checks import is_number, is_whole, whole_number
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.spec import TARGET, build
from poolbench.training.device import resolve_device
from poolbench.training.protocol import Protocol

# What another part of the configuration decides: a trainer argument of this name would contradict it.
DECIDED_BY = {
    "max_epochs": "protocol.epochs",
    "max_steps": "protocol.epochs",
    "max_time": "protocol.time_limit",
    "precision": "protocol.precision",
    "plugins": "protocol.precision",
    "deterministic": "protocol.deterministic",
    "logger": "logger=",
    "log_every_n_steps": "logger=",
    "overfit_batches": "dataset.train_images",
}
REFUSED = {
    "strategy": "a cell is trained on one device",
    "num_nodes": "a cell is trained on one device",
    "sync_batchnorm": "a cell is trained on one device",
    "use_distributed_sampler": "a cell is trained on one device",
    "fast_dev_run": "it trains nothing worth a record; use protocol.epochs=1 with dataset.train_images=N",
    "limit_test_batches": "the test set is read once, whole, after the training; leave it out",
    "limit_predict_batches": "nothing is predicted by Lightning here; leave it out",
    "val_check_interval": "an epoch is validated at its end; use trainer.check_val_every_n_epoch to do so less often",
    "num_sanity_val_steps": "it changes no figure; leave it out, the first epoch's validation tries the same",
    "enable_checkpointing": "the selected weights are kept beside the record as weights.pt; leave it out",
    "default_root_dir": "nothing of Lightning's is written; records go to results_dir",
    "inference_mode": "it changes no figure; leave it out",
    "barebones": "the training is as bare as it can be already; leave it out",
    "reload_dataloaders_every_n_epochs": "each epoch has its own order and augmentation already; leave it out",
    "enable_autolog_hparams": "logger= shows the configuration; leave it out",
    "model_registry": "the selected weights are kept beside the record as weights.pt; leave it out",
}
# Seen by whoever looks on, or by the device: not part of a cell's identity.
SHOWN = ("enable_progress_bar", "enable_model_summary")
# An object belongs to a single trainer, and `benchmark` is the process's: these have no part in a trial.
LEFT_OUT_OF_TRIAL = ("callbacks", "profiler", "benchmark")


def trainer_arguments(trainer: Mapping[str, Any], protocol: Protocol | None = None) -> dict[str, Any]:
    """Return the arguments of `lightning.Trainer` that a configuration sets beside the device, checked and built.

    Args:
        trainer: the configuration's group.
        protocol: the recipe that they must agree with, where it is known.

    Raises:
        ConfigurationError: an argument is unknown, would do nothing here, or is out of range.
    """
    for name in trainer:
        _check_name(name)
    if trainer.get("devices", 1) != 1:
        raise ConfigurationError(f"`trainer.devices` must be 1: a cell is trained on one, got {trainer['devices']!r}")
    for name, value in trainer.items():
        if name in ACTING:
            ACTING[name](name, value)
    _check_together(trainer, protocol)
    if isinstance(trainer.get("callbacks"), Mapping):
        trainer = {**trainer, "callbacks": [trainer["callbacks"]]}
    arguments = {name: _built(value, name) for name, value in trainer.items() if name not in ("accelerator", "devices")}
    _check_objects(arguments)
    # Lightning checks by constructing.
    plain = {name: value for name, value in arguments.items() if name not in LEFT_OUT_OF_TRIAL}
    _try(json.dumps(plain, sort_keys=True))
    return arguments


def _check_name(name: str) -> None:
    if name in DECIDED_BY:
        raise ConfigurationError(f"`trainer.{name}` is set by `{DECIDED_BY[name]}` here; use that")
    if name in REFUSED:
        raise ConfigurationError(f"`trainer.{name}` cannot be set: {REFUSED[name]}")
    if name not in ACTING:
        if name in inspect.signature(L.Trainer).parameters:
            raise ConfigurationError(
                f"`trainer.{name}` cannot be set: what it does to a cell is not known; leave it out"
            )
        raise unknown_name("argument of `trainer` (lightning.Trainer)", name, ACTING)


def _at_least_one(name: str, value: Any) -> None:
    whole_number(f"trainer.{name}", value)


def _part_of_an_epoch(name: str, value: Any) -> None:
    whole = is_whole(value) and value >= 1
    if not whole and not (isinstance(value, float) and 0 < value <= 1):
        raise ConfigurationError(
            f"`trainer.{name}` must be a number of batches from 1, or a fraction of an epoch's in (0, 1], got {value!r}"
        )


def _part_of_the_validation(name: str, value: Any) -> None:
    if value != 0 or isinstance(value, bool):
        _part_of_an_epoch(name, value)


def _above_zero(name: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        raise ConfigurationError(f"`trainer.{name}` must be a number above 0, got {value!r}; leave it out for none")


def _true_or_false(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"`trainer.{name}` must be true or false, got {value!r}")


def _kind_of_clipping(name: str, value: Any) -> None:
    if value not in ("norm", "value"):
        raise unknown_name(f"`trainer.{name}`", str(value), ("norm", "value"))


def _specifications(name: str, value: Any) -> None:
    for one in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(one, Mapping) or TARGET not in one:
            raise ConfigurationError(
                f"`trainer.{name}` must be described by `{TARGET}`, the dotted path of a class, got {one!r}"
            )


def _anything(name: str, value: Any) -> None:
    """Leave the check to whoever uses the value."""


ACTING: dict[str, Callable[[str, Any], None]] = {
    "accelerator": _anything,
    "devices": _anything,
    "callbacks": _specifications,
    "min_epochs": _at_least_one,
    "min_steps": _at_least_one,
    "limit_train_batches": _part_of_an_epoch,
    "limit_val_batches": _part_of_the_validation,
    "check_val_every_n_epoch": _at_least_one,
    "accumulate_grad_batches": _at_least_one,
    "gradient_clip_val": _above_zero,
    "gradient_clip_algorithm": _kind_of_clipping,
    "benchmark": _true_or_false,
    "detect_anomaly": _true_or_false,
    "profiler": _specifications,
    **dict.fromkeys(SHOWN, _true_or_false),
}


def _check_together(trainer: Mapping[str, Any], protocol: Protocol | None) -> None:
    """Find what does nothing beside the others."""
    for name in ("min_epochs", "min_steps"):
        if name in trainer and "callbacks" not in trainer:
            raise ConfigurationError(
                f"`trainer.{name}` does nothing: a training ends after protocol.epochs unless one of trainer.callbacks "
                "asks for its end; leave it out"
            )
    if "gradient_clip_algorithm" in trainer and "gradient_clip_val" not in trainer:
        raise ConfigurationError(
            "`trainer.gradient_clip_algorithm` does nothing without trainer.gradient_clip_val; give that, too"
        )
    if "benchmark" in trainer and resolve_device(trainer).type != "cuda":
        raise ConfigurationError("`trainer.benchmark` is cuDNN's and does nothing on a CPU; leave it out")
    if protocol is None or protocol.select == "last":
        return
    every = trainer.get("check_val_every_n_epoch", 1)
    if trainer.get("limit_val_batches", 1) == 0 or every > protocol.epochs:
        what = "limit_val_batches=0" if every <= protocol.epochs else f"check_val_every_n_epoch={every}"
        raise ConfigurationError(
            f"`trainer.{what}` leaves none of the {protocol.epochs} epochs validated, and none can be selected; use "
            "protocol.select=last"
        )


def _check_objects(arguments: Mapping[str, Any]) -> None:
    for callback in arguments.get("callbacks", []):
        if not isinstance(callback, L.Callback):
            raise ConfigurationError(
                f"`trainer.callbacks` must hold Lightning's callbacks, got a {type(callback).__name__}"
            )
        if isinstance(callback, Checkpoint):
            raise ConfigurationError(
                f"`trainer.callbacks`: {type(callback).__name__} cannot be set: the selected weights are kept beside "
                "the record as weights.pt"
            )
        if isinstance(callback, WeightAveraging | StochasticWeightAveraging):
            raise ConfigurationError(
                f"`trainer.callbacks`: {type(callback).__name__} cannot be set: each epoch's weights are validated and "
                "selected as the optimiser leaves them, and averaged ones would be scored without being kept"
            )
        if isinstance(callback, LearningRateMonitor):
            raise ConfigurationError(
                "`trainer.callbacks`: LearningRateMonitor cannot be set: each epoch's rate is in the record's history, "
                "and logger= shows it"
            )
    profiler = arguments.get("profiler")
    if profiler is None:
        return
    if not isinstance(profiler, Profiler):
        raise ConfigurationError(f"`trainer.profiler` must be one of Lightning's, got a {type(profiler).__name__}")
    if type(profiler).__module__.startswith("lightning.") and profiler.filename is None:
        raise ConfigurationError(
            "`trainer.profiler` would write nowhere: give it dirpath and filename, as in "
            "+trainer.profiler={_target_:lightning.pytorch.profilers.SimpleProfiler,dirpath:DIR,filename:NAME}"
        )


def _built(value: Any, name: str) -> Any:
    """Build what a trainer argument describes by `_target_`: a callback, a profiler, a list of them."""
    if isinstance(value, list | tuple):
        return [_built(item, name) for item in value]
    if not isinstance(value, Mapping) or TARGET not in value:
        return value
    try:
        return build(value, where=f"trainer.{name}")
    except ConfigurationError:
        raise
    except Exception as error:  # Lightning's refusals are exceptions of any kind
        raise ConfigurationError(f"`trainer.{name}` ({value[TARGET]}): {type(error).__name__}: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Let Lightning tell no more than warnings: of each trainer's set-up, for one, which is in the record."""
    logger = logging.getLogger(L.__name__)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.lru_cache(maxsize=256)
def _try(arguments: str) -> None:
    """Let Lightning check arguments (JSON) as it does when it begins; its words are kept."""
    try:
        # By itself Lightning looks for SLURM, warns where it is installed, and counts the job's tasks in it.
        alone = LightningEnvironment()
        own: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "plugins": [alone]}
        with quiet():
            L.Trainer(**json.loads(arguments), **own)
    except Exception as error:  # it raises whatever comes
        raise ConfigurationError(f"`trainer`: lightning.Trainer: {error}") from error
