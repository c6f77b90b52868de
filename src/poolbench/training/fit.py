"""Fitting one cell: Lightning's loop around the module, from the start or from where it was interrupted."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from poolbench.data import Task
from poolbench.environment import torch_optimizers
from poolbench.errors import ConfigurationError, Stopped
from poolbench.kernels.autocast import autocast
from poolbench.loggers import Mirrors
from poolbench.streams import drawing
from poolbench.tasks import Classification
from poolbench.training.checkpoint import Checkpoints
from poolbench.training.device import resolve_device
from poolbench.training.history import Diverged, EpochBatches, Fitted, History, Progress
from poolbench.training.module import EpochSums, Learner
from poolbench.training.protocol import LIGHTNING_PRECISION, Protocol
from poolbench.training.resume import MEMORY, Memory, Resume
from poolbench.training.trainer_arguments import quiet, trainer_arguments
from poolbench.training.watch import ShouldStop, Watch

log = logging.getLogger(__name__)

NOTHING = nullcontext()
# A deterministic training's, set by Lightning.
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class Silence(PassThroughProfiler):
    """A profiler that measures nothing, at no cost: Lightning opens some twenty of its contexts in a step."""

    def profile(self, action_name: str) -> Any:
        """Return a context that does nothing."""
        return NOTHING


def fit(
    network: nn.Module,
    train: EpochBatches,
    val: Iterable[tuple[Tensor, Tensor]],
    *,
    test: Iterable[tuple[Tensor, Tensor]] | None = None,
    protocol: Protocol,
    trainer: Mapping[str, Any],
    seed: int,
    mirrors: Mirrors | None = None,
    progress: Progress | None = None,
    callbacks: Iterable[L.Callback] = (),
    checkpoints: Checkpoints | None = None,
    should_stop: ShouldStop | None = None,
    fitted: Fitted | None = None,
    task: Task | None = None,
) -> Fitted:
    """Train `network` by the protocol, and return it with the selected weights and the history.

    With `checkpoints` a training that was interrupted goes on from the last one, and ends with the same weights and the
    same history as one that was not. What ends it before its time leaves a checkpoint of the epoch's beginning.

    Args:
        network: gives what the task judges for examples (B, C, …), with its starting weights; trained in place.
        train: batches of the training part, `set_epoch` called before each pass.
        val: batches of the validation part.
        test: batches of the test set, for `protocol.test_each_epoch` alone.
        protocol: the recipe.
        trainer: `accelerator`, and any further argument of `lightning.Trainer`.
        seed: the cell's seed, for dropout's stream.
        mirrors: loggers that receive each epoch's row.
        progress: receives how far the training is.
        callbacks: further Lightning callbacks.
        checkpoints: where checkpoints are read and written; they are left there. None: none is.
        should_stop: asked at each step; a text ends the training as `Stopped(text)`.
        fitted: filled while training goes on, for a caller that wants the history where an error ends it.
        task: by whose loss it is trained and by whose score it is selected; None: classification.

    Raises:
        Stopped, KeyboardInterrupt: asked to end.
        TimeLimitError: `protocol.time_limit` is over.
        ConfigurationError: no epoch was validated and `protocol.select` is `best`.
    """
    device = resolve_device(trainer)
    fitted = fitted or Fitted(network)
    again = partial(seen_again, protocol=protocol, device=device, task=task)
    tested = partial(again, batches=test) if test is not None else None
    history = History(fitted, train, protocol, mirrors, progress, tested)
    module = Learner(network.to(memory_format=protocol.torch_memory_format), protocol, seed=seed, task=task)
    further = trainer_arguments(trainer, protocol)
    protocol.check_device(device)
    saved = checkpoints.latest() if checkpoints else None
    memory = Memory(saved)
    resume = [Resume(checkpoints, memory, fitted, protocol.epochs)] if checkpoints else []
    watch = Watch(fitted, protocol, progress, should_stop)
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(WORKSPACE)
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    handler = signal.getsignal(signal.SIGINT)
    arguments: dict[str, Any] = {
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 0,
        "profiler": Silence(),
        **further,
        "accelerator": "cpu" if device.type == "cpu" else "gpu",
        "devices": 1 if device.index is None else [device.index],
        "logger": False,
        "callbacks": [*resume, *further.get("callbacks", []), *callbacks, watch, history],
        "plugins": _plugins(memory),
        # In a job of SLURM Lightning would go on from an `hpc_ckpt_…` that it finds there: in no folder it finds none.
        "default_root_dir": os.devnull,
        "max_epochs": protocol.epochs,
        "precision": LIGHTNING_PRECISION[protocol.precision],
        "deterministic": protocol.deterministic,
    }
    if saved:
        log.info("continues after %d of %d epochs, from %s", saved.epoch, protocol.epochs, saved.path)
    try:
        # Filling fresh memory with NaN makes no figure more repeatable and costs time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        with quiet():
            runner = L.Trainer(**arguments)
        with quiet(), drawing(seed, "training"), torch_optimizers(), warnings.catch_warnings():
            # Lightning 2.6 asks torch's tree library in a way that newer torch deprecates.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # A hint at how cells could be started on a cluster, which is the launcher's to decide.
            warnings.filterwarnings("ignore", message=".*srun.*")
            runner.fit(module, train_dataloaders=train, val_dataloaders=val, ckpt_path=MEMORY if saved else None)
    except Diverged as error:
        history.close_diverged(runner, module, error.batch)
    except BaseException as error:
        for one in resume:
            one.write()
        ended = _ended(error)
        if ended is error:
            raise
        raise ended from error
    finally:
        watch.spent(time.monotonic())
        signal.signal(signal.SIGINT, handler)
        torch.use_deterministic_algorithms(was_deterministic)
        torch.backends.cudnn.benchmark = benchmark
        os.environ.pop(WORKSPACE, None)
        os.environ.update({} if workspace is None else {WORKSPACE: workspace})
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    if not history.weights and not fitted.diverged:
        raise ConfigurationError("no epoch was validated, so none can be selected; use protocol.select=last")
    if history.weights:
        network.load_state_dict(history.weights)
    return fitted


def _plugins(memory: Memory) -> list[Any]:
    """Return Lightning's plugins: where checkpoints go, and an environment in which the process is on its own.

    Lightning sees SLURM's variables and would requeue the job and write checkpoints of its own, or refuse the number of
    tasks: a cell is trained by one process, whatever started it.
    """
    return [LightningEnvironment(), memory]


def _ended(error: BaseException) -> BaseException:
    """Return what ended the training: Lightning turns an interrupt and SIGTERM into exits of its own."""
    if isinstance(error, SystemExit):
        if isinstance(error.__context__, KeyboardInterrupt):
            return KeyboardInterrupt()
        if isinstance(error, SIGTERMException):
            return Stopped("SIGTERM")
    return error


@torch.inference_mode()
def seen_again(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    protocol: Protocol,
    device: torch.device,
    task: Task | None = None,
) -> tuple[float, float]:
    """Return mean loss and score over all batches, in evaluation mode: of a classification cross-entropy and accuracy.

    No outputs are kept, since a training set has many times the examples of a test set.
    """
    task = task or Classification()
    sums = EpochSums()
    for output, target in outputs(network, batches, protocol, device):
        sums.add(task.loss(output, target), task.weight(target), task.scores(output, target))
    return sums.read()


@torch.inference_mode()
def judge(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    protocol: Protocol,
    device: torch.device,
    task: Task,
) -> dict[str, Tensor]:
    """Return what the task keeps of each example of all batches, (N, …) by name, on the CPU, in evaluation mode."""
    rows = [task.kept(output, target) for output, target in outputs(network, batches, protocol, device)]
    return {name: torch.cat([row[name] for row in rows]).cpu() for name in rows[0]}


def outputs(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], protocol: Protocol, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the network's output, float32, and the target of each batch, in evaluation mode."""
    network = network.to(device).to(memory_format=protocol.torch_memory_format).eval()
    for examples, target in batches:
        with autocast(device, protocol.dtype):
            output = network(examples)
        yield output.float(), target
