"""The recipe of a block: how every arm of it is trained."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from torch import nn

from poolbench.checks import is_number, whole_number
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.kernels.precision import DTYPES, FORMATS
from poolbench.spec import TARGET, accepts, bind, locate

LIGHTNING_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
SELECTIONS = ("best", "last")
# A prime: no round fraction of it is a single step, for which one-cycle schedules divide by zero.
TRIAL_STEPS = 997


@dataclass(frozen=True)
class Protocol:
    """What `protocol=NAME` says, checked.

    Args:
        name: the recipe's name.
        epochs: passes over the training part, at least 1.
        batch_size: examples a training step.
        optimizer: a specification of a `torch.optim.Optimizer`; parameters of fewer than two dimensions (biases,
            norms, a pooling's scalars) get no weight decay.
        schedule: a specification of a learning-rate scheduler stepped each training step, or null for a constant
            rate; it receives `total_steps` (or `T_max`) where it has such a parameter.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        precision: `float32`, or `bfloat16` / `float16` by autocast.
        memory_format: `contiguous` or `channels_last`.
        select: `best` validation epoch (best score, then lower loss, then earliest), or the `last`.
        deterministic: let torch use deterministic algorithms alone; an operation that has none is an error.
        compile: run the network through `torch.compile` (its cost is in the training time).
        eval_batch_size: examples a batch in validation and test; changes no figure but rounding.
        test_each_epoch: write the test set's score of each epoch into the history, as `test_accuracy` where it is one,
            for what a choice on the test set would have given. Nothing is chosen by it.
        checkpoint_every_s: seconds between two checkpoints of an unfinished cell, at least; one is written where an
            epoch begins, so 0 writes one at each.
        time_limit: seconds that training may take, those before an interruption included; null for no limit.
        attempts: how often in a row a cell whose process ended under it is taken up again without a new epoch.

    The last three change no figure, so they are no part of a cell's identity and may be left out.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    label_smoothing: float
    precision: str
    memory_format: str
    select: str
    deterministic: bool
    compile: bool
    eval_batch_size: int
    test_each_epoch: bool = False
    checkpoint_every_s: float = 60.0
    time_limit: float | None = None
    attempts: int = 3

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Protocol":
        """Return the protocol of this configuration; every mistake in it is an error here, before training."""
        names = [field.name for field in fields(cls)]
        for key in config:
            if key not in names:
                raise unknown_name("argument of `protocol`", key, names)
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in config]
        if missing:
            raise ConfigurationError(f"`protocol` lacks {', '.join(missing)}")
        protocol = cls(**config)
        protocol._check()
        return protocol

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "eval_batch_size", "attempts"):
            whole_number(f"protocol.{name}", getattr(self, name))
        for name, known in (
            ("precision", DTYPES),
            ("memory_format", FORMATS),
            ("select", SELECTIONS),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(f"`protocol.{name}`", str(getattr(self, name)), known)
        for name in ("deterministic", "compile", "test_each_epoch"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"`protocol.{name}` must be true or false, got {getattr(self, name)!r}")
        smoothing = self.label_smoothing
        if not is_number(smoothing) or not 0 <= smoothing < 1:
            raise ConfigurationError(f"`protocol.label_smoothing` must be in [0, 1), got {smoothing!r}")
        for name, value, further in (("optimizer", self.optimizer, ""), ("schedule", self.schedule, ", or null")):
            if not isinstance(value, Mapping) and not (further and value is None):
                raise ConfigurationError(
                    f"`protocol.{name}` must have `{TARGET}`, the dotted path of a class{further}, got {value!r}"
                )
        if not is_number(self.checkpoint_every_s) or self.checkpoint_every_s < 0:
            raise ConfigurationError(
                f"`protocol.checkpoint_every_s` must be a number of seconds of at least 0, "
                f"got {self.checkpoint_every_s!r}"
            )
        if self.time_limit is not None and (not is_number(self.time_limit) or self.time_limit <= 0):
            raise ConfigurationError(
                f"`protocol.time_limit` must be a number of seconds above 0, or null, got {self.time_limit!r}"
            )
        weight = nn.Parameter(torch.zeros(1, 1))
        optimizer = self.build_optimizer([weight])
        schedule = self.build_schedule(optimizer, TRIAL_STEPS)
        self._step_optimizer(optimizer, weight)
        if schedule is not None:
            rates = _rates(optimizer)
            self._step(schedule)
            rates += _rates(optimizer)
            if min(rates) < 0 or max(rates) <= 0:
                raise ConfigurationError(
                    f"`protocol.schedule` must give learning rates above 0, got {rates[0]:g} and {rates[-1]:g} in the "
                    "first two steps"
                )

    def _step_optimizer(self, optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> None:
        """Step an optimiser as each training step does."""

        def closure() -> float:
            weight.grad = torch.ones_like(weight)
            return 0.0

        try:
            optimizer.step(closure)
        except Exception as error:  # the optimiser may be the user's own, or for gradients of another kind
            raise ConfigurationError(
                f"`protocol.optimizer` ({self.optimizer[TARGET]}) cannot step a weight with a dense gradient: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _step(self, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
        """Step a schedule as each training step does."""
        try:
            schedule.step()
        except Exception as error:  # the schedule may be the user's own
            raise ConfigurationError(
                f"`protocol.schedule` ({(self.schedule or {})[TARGET]}) is stepped after each training step without an "
                f"argument, and fails: {type(error).__name__}: {error}"
            ) from error

    def check_device(self, device: torch.device) -> None:
        """Raise `ConfigurationError` where the recipe asks for what this device does not do."""
        if self.precision == "float16" and device.type == "cpu":
            raise ConfigurationError(
                "`protocol.precision=float16` needs a GPU: mixed precision on a CPU computes in bfloat16; use "
                "protocol.precision=bfloat16, or float32"
            )

    def build_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimiser over `parameters`, those of fewer than two dimensions without weight decay."""
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in parameters if parameter.ndim >= 2]
        others = [parameter for parameter in parameters if parameter.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": decayed}] if decayed else []
        if others:
            plain = {"weight_decay": 0.0} if accepts(locate(self.optimizer.get(TARGET, "")), "weight_decay") else {}
            groups.append({"params": others, **plain})
        target, arguments = bind(self.optimizer, {"params": groups}, where="protocol.optimizer")
        try:
            return target(**arguments)
        except Exception as error:  # the optimiser may be the user's own
            raise ConfigurationError(f"`protocol.optimizer` ({self.optimizer[TARGET]}): {error}") from error

    def build_schedule(
        self, optimizer: torch.optim.Optimizer, total_steps: int
    ) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Build the learning-rate schedule over `total_steps` training steps, or None for a constant rate."""
        if self.schedule is None:
            return None
        context = {"optimizer": optimizer, "total_steps": total_steps, "T_max": total_steps}
        target, arguments = bind(self.schedule, context, where="protocol.schedule")
        try:
            return target(**arguments)
        except Exception as error:  # the schedule may be the user's own
            raise ConfigurationError(f"`protocol.schedule` ({self.schedule[TARGET]}): {error}") from error

    @property
    def torch_memory_format(self) -> torch.memory_format:
        """The memory format as torch names it."""
        return FORMATS[self.memory_format]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that convolutions compute in."""
        return DTYPES[self.precision]


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return the learning rates of an optimiser's groups, as far as it has any."""
    return [float(group["lr"]) for group in optimizer.param_groups if "lr" in group] or [1.0]
