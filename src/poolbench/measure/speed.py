"""Speed of a network beside its reference: training step, forward and backward, inference, latency."""

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.environment import torch_optimizers
from poolbench.kernels.autocast import autocast
from poolbench.kernels.precision import DTYPES, FORMATS, laid_out
from poolbench.measure.memory_limit import is_out_of_memory, memory_kept_free
from poolbench.measure.stopwatch import Action, Stopwatch, stopwatch_for
from poolbench.measure.timing import Interval, Pair, Timing, alone, alternate, alternate_placed, median_interval
from poolbench.streams import stream

Optimizers = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Timed = Pair | Timing
# The mean loss of outputs and targets, with a label smoothing.
Loss = Callable[[Tensor, Tensor, float], Tensor]


class Judge(Protocol):
    """What gives targets for generated examples, and the loss of a network's output for them: a task."""

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch."""

    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return targets for `count` generated examples of `shape`."""


# Of its budget, what a measurement takes at least, however narrow its interval is before.
LEAST_SHARE = 0.2
# Tensors, and the bytes of each, that lie between the networks and their last places.
BALLAST, BALLAST_BYTES = 20, (4, 2**18)
QUANTITIES = ("training", "forward_backward", "inference", "latency")


@dataclass(frozen=True)
class Quantity:
    """One measured speed, and its ratio arm / reference, each a median with its 95 % interval.

    Args:
        unit: of `median` and its interval: `images/s` or `ms`.
        median: the arm's.
        ci95_low: lower end of its interval, None where there are too few repeats.
        ci95_high: upper end.
        ratio: arm / reference, in the unit: of rates, above 1 means that the arm is faster; of times, below 1 does.
        ratio_ci95_low: lower end of its interval; None for the reference itself.
        ratio_ci95_high: upper end.
        repeats: timings of each of the two.
        settled: whether the interval became as narrow as asked for before the time was over.
    """

    unit: str
    median: float
    ci95_low: float | None
    ci95_high: float | None
    ratio: float
    ratio_ci95_low: float | None
    ratio_ci95_high: float | None
    repeats: int
    settled: bool

    @classmethod
    def rate(cls, timed: Timed, images: int) -> "Quantity":
        """Return the images/s of something that handles `images` a call."""
        seconds, ratio = _seconds(timed), _ratio(timed)
        return cls._of("images/s", _over(images, seconds), _over(1, ratio), timed)

    @classmethod
    def milliseconds(cls, timed: Timed) -> "Quantity":
        """Return the milliseconds a call."""
        s = _seconds(timed)
        scaled = Interval(1000 * s.median, *(None if end is None else 1000 * end for end in (s.low, s.high)))
        return cls._of("ms", scaled, _ratio(timed), timed)

    @classmethod
    def _of(cls, unit: str, found: Interval, ratio: Interval, timed: Timed) -> "Quantity":
        repeats = len(timed.seconds if isinstance(timed, Timing) else timed.first)
        ends = (found.median, found.low, found.high, ratio.median, ratio.low, ratio.high)
        return cls(unit, *ends, repeats, timed.settled)


class SideBySide:
    """Copies of an arm and of its reference on one device, timed in turn on generated images.

    `training` is a whole step (forward, loss, backward, optimiser), `forward_backward` the same without the optimiser,
    `inference` a forward pass in evaluation mode, all in images/s, so that a ratio above 1 means that the arm is
    faster; `latency` is the forward pass of a batch in ms, where a ratio below 1 means so. Torch's generators are given
    back as they were: nothing of the caller changes. The learning rate is set to zero, which spares no work and keeps
    the weights where they started however long it takes.

    Args:
        arm: gives what the task judges, for examples.
        reference: likewise; the arm itself is timed alone, with ratio 1.
        input_shape: (C, H, W) or (C, L).
        num_classes: K.
        task: what gives targets and loss; None: a classification.
        device: where it runs.
        precision: `float32`, or `bfloat16` / `float16` by autocast.
        memory_format: `contiguous` or `channels_last`.
        optimizer_factory: builds the optimiser over parameters.
        label_smoothing: of the loss.
        compiled: run both through `torch.compile`, which is done before anything is timed.
        budget_s: seconds for each measurement, at most, and a fifth of them at least (it has at least 8 repeats,
            whatever they take).
        half_width: relative half-width of the ratio's interval at which a measurement ends.
        stopwatch: times the calls; None: what suits the device (`poolbench.measure.stopwatch`).
    """

    def __init__(
        self,
        arm: nn.Module,
        reference: nn.Module,
        *,
        input_shape: Sequence[int],
        num_classes: int,
        task: Judge | None = None,
        device: torch.device,
        precision: str,
        memory_format: str,
        optimizer_factory: Optimizers,
        label_smoothing: float = 0.0,
        compiled: bool = False,
        budget_s: float,
        half_width: float = 0.02,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.layout, self.dtype = FORMATS[memory_format], DTYPES[precision]
        self.input_shape, self.num_classes, self.device = tuple(input_shape), num_classes, device
        self.optimizer_factory, self.label_smoothing = optimizer_factory, label_smoothing
        self.loss: Loss = _cross_entropy if task is None else task.loss
        self.targets = _classes if task is None else task.trial_targets
        self.compiled = compiled
        self.bounds: dict[str, Any] = {
            "budget_s": budget_s,
            "least_s": budget_s * LEAST_SHARE,
            "half_width": half_width,
            "stopwatch": stopwatch or stopwatch_for(device),
        }
        with self._random_numbers_kept():
            self.ballast: list[Tensor] = []
            self.networks = [
                copy.deepcopy(network).to(device).to(memory_format=self.layout) for network in _apart(arm, reference)
            ]

    def _random_numbers_kept(self) -> AbstractContextManager[None]:
        """Give torch's own streams back as they were: dropout and stochastic poolings draw from them."""
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def measure(self, quantity: str, batch_size: int) -> Quantity:
        """Return one of `QUANTITIES` at `batch_size` images a batch."""
        with self._random_numbers_kept():
            timed = self._timed(quantity, batch_size)
        return Quantity.milliseconds(timed) if quantity == "latency" else Quantity.rate(timed, batch_size)

    def _timed(self, quantity: str, batch_size: int) -> Timed:
        if len(self.networks) == 1:
            return alone(*self._actions(quantity, batch_size), **self.bounds)
        # Compiling anew for each placement would take longer than the measurement.
        if quantity == "latency" and not self.compiled:
            kept, draw = self.networks, random.Random(0)

            def place() -> tuple[Action, Action]:
                # What the last placement gave back must not be handed out again in the same order.
                self.ballast = [torch.empty(draw.randrange(*BALLAST_BYTES), dtype=torch.uint8) for _ in range(BALLAST)]
                self.networks = [copy.deepcopy(network) for network in kept]
                one, other = self._actions(quantity, batch_size)
                return one, other

            try:
                return alternate_placed(place, **{k: v for k, v in self.bounds.items() if k != "least_s"})
            finally:
                self.networks, self.ballast = kept, []
        one, other = self._actions(quantity, batch_size)
        return alternate(one, other, **self.bounds)

    def _actions(self, quantity: str, batch_size: int) -> list[Action]:
        draw = stream(0, "speed")
        images = torch.randn(batch_size, *self.input_shape, generator=draw)
        images = laid_out(images.to(self.device), self.layout)
        target = self.targets(batch_size, self.input_shape, self.num_classes, draw).to(self.device)
        # The modes are set once: going through a network's modules for each call would count in a small one's latency.
        for network in self.networks:
            network.train(quantity in ("training", "forward_backward"))
        networks = self._compiled() if self.compiled else self.networks
        if quantity in ("inference", "latency"):
            actions = [inference_step(network, images, self.dtype) for network in networks]
        elif quantity == "forward_backward":
            actions = [
                forward_backward_step(network, images, target, self.label_smoothing, self.dtype, self.loss)
                for network in networks
            ]
        else:
            actions = [
                training_step(
                    network, images, target, self.optimizer_factory, self.label_smoothing, self.dtype, self.loss
                )
                for network in networks
            ]
        if self.compiled:
            for action in actions:
                action()
        return actions

    def forget(self) -> None:
        """Give back the memory that a measurement which failed left taken."""
        for network in self.networks:
            network.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _compiled(self) -> list[Any]:
        """Return the networks compiled anew: what was compiled for another batch size would be made general instead."""
        torch.compiler.reset()
        return [torch.compile(network) for network in self.networks]


@torch_optimizers()
def network_speed(arm: nn.Module, reference: nn.Module, *, batch_size: int, **conditions: Any) -> dict[str, Any]:
    """Return speed of `arm`, and its ratio to `reference`: every quantity, latency for one image.

    Args:
        arm: gives what the task judges, for examples.
        reference: likewise.
        batch_size: images a batch.
        conditions: the further arguments of `SideBySide`.

    Returns:
        `training`, `forward_backward`, `inference` and `latency`, each as `Quantity` has it.
    """
    both = SideBySide(arm, reference, **conditions)
    return {
        quantity: asdict(both.measure(quantity, 1 if quantity == "latency" else batch_size)) for quantity in QUANTITIES
    }


def speed_by_batch_size(
    arm: nn.Module, reference: nn.Module, *, batch_sizes: Iterable[int], **conditions: Any
) -> Iterator[dict[str, Any]]:
    """Yield a row for each batch size and quantity, from small to large, as soon as it is measured.

    A row has `quantity`, `batch_size`, `reason`, and what `Quantity` has. Latency is that of one image. A batch that
    does not fit into memory has a `reason` and no figures, and so have the larger ones of that quantity, untried; so
    has what cannot run at that size for another cause.

    Args:
        arm: gives what the task judges, for examples.
        reference: likewise.
        batch_sizes: images a batch; each is measured once.
        conditions: the further arguments of `SideBySide`.
    """
    both = SideBySide(arm, reference, **conditions)
    full: dict[str, int] = {}
    places = [("latency", 1)] + [
        (quantity, size) for size in sorted(set(batch_sizes)) for quantity in QUANTITIES[::-1] if quantity != "latency"
    ]
    for quantity, size in places:
        place = {"quantity": quantity, "batch_size": size}
        if quantity in full:
            yield place | {"reason": f"not tried: batch size {full[quantity]} did not fit into memory"}
            continue
        found, reason = None, ""
        try:
            with memory_kept_free(both.device):
                found = both.measure(quantity, size)
        except (RuntimeError, MemoryError, ValueError) as error:
            if is_out_of_memory(error):
                full[quantity] = size
                reason = f"out of memory at batch size {size}: {_first_line(error)}"
            else:
                reason = f"{type(error).__name__}: {_first_line(error)}"
        if found is None:
            both.forget()
        yield place | (asdict(found) if found else {}) | {"reason": reason}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _apart(arm: nn.Module, reference: nn.Module) -> list[nn.Module]:
    return [arm] if arm is reference else [arm, reference]


def inference_step(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Action:
    """Return a forward pass over `images`, by autocast where `dtype` is not float32; the network's mode is its own."""

    def forward() -> Tensor:
        with torch.inference_mode(), autocast(images.device, dtype):
            return network(images)

    return forward


def forward_backward_step(
    network: nn.Module,
    images: Tensor,
    target: Tensor,
    label_smoothing: float,
    dtype: torch.dtype,
    loss: Loss | None = None,
) -> Action:
    """Return a training step without its optimiser: gradients cleared, forward, loss, backward.

    The arguments are those of `training_step`.
    """
    parameters = list(network.parameters())

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        _loss(network, images, target, label_smoothing, dtype, loss or _cross_entropy).backward()

    return step


def training_step(
    network: nn.Module,
    images: Tensor,
    target: Tensor,
    optimizer_factory: Optimizers,
    label_smoothing: float,
    dtype: torch.dtype,
    loss: Loss | None = None,
) -> Action:
    """Return a whole training step on one batch: gradients cleared, forward, loss, backward, optimiser.

    Its learning rate is zero; see `SideBySide`, whose arguments these are. `dtype` is autocast's unless float32.
    """
    optimizer = optimizer_factory(network.parameters())
    for group in optimizer.param_groups:
        group["lr"] = 0 * group["lr"]  # a number or a tensor
    # As Lightning does: float16's small gradients are scaled, the other dtypes' are not.
    scaler = torch.amp.GradScaler(images.device.type, enabled=dtype is torch.float16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(_loss(network, images, target, label_smoothing, dtype, loss or _cross_entropy)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def _loss(
    network: nn.Module, images: Tensor, target: Tensor, label_smoothing: float, dtype: torch.dtype, loss: Loss
) -> Tensor:
    with autocast(images.device, dtype):
        return loss(network(images).float(), target, label_smoothing)


def _cross_entropy(output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    return F.cross_entropy(output, target, label_smoothing=label_smoothing)


def _classes(count: int, shape: Sequence[int], num_classes: int, generator: torch.Generator) -> Tensor:
    return torch.randint(num_classes, (count,), generator=generator)


def _seconds(timed: Timed) -> Interval:
    return timed.interval if isinstance(timed, Timing) else median_interval(timed.first)


def _ratio(timed: Timed) -> Interval:
    return Interval(1.0, None, None) if isinstance(timed, Timing) else timed.ratio


def _over(count: int, interval: Interval) -> Interval:
    """Return `count` / interval: more a second is fewer seconds, so the ends change places."""
    low, high = (None if end is None else count / end for end in (interval.high, interval.low))
    return Interval(count / interval.median, low, high)
