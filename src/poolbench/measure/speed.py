"""Speed of a network beside its reference: training step, inference, latency."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.measure.timing import Interval, Pair, Timing, alone, alternate, median_interval
from poolbench.streams import stream

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Optimizers = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Timed = Pair | Timing


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


def network_speed(
    arm: nn.Module,
    reference: nn.Module,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    batch_size: int,
    device: torch.device,
    precision: str,
    memory_format: str,
    optimizer_factory: Optimizers,
    label_smoothing: float = 0.0,
    budget_s: float,
    half_width: float = 0.02,
) -> dict[str, dict[str, Any]]:
    """Return speed of `arm`, and its ratio to `reference`, the two timed in turn on generated images.

    `training` is a whole step (forward, loss, backward, optimiser) and `inference` a forward pass in evaluation
    mode, both in images/s at `batch_size`, so that a ratio above 1 means that the arm is faster; `latency` is the
    forward pass of one image in ms, where a ratio below 1 means so. Copies are measured, and torch's generators are
    given back as they were: nothing of the caller changes. The learning rate is set to zero, which spares no work
    and keeps the weights where they started however long it takes.

    Args:
        arm: gives logits for images.
        reference: likewise; the arm itself is timed alone, with ratio 1.
        input_shape: (C, H, W).
        num_classes: K.
        batch_size: images a batch.
        device: where it runs.
        precision: `float32`, or `bfloat16` / `float16` by autocast.
        memory_format: `contiguous` or `channels_last`.
        optimizer_factory: builds the optimiser over parameters.
        label_smoothing: of the loss.
        budget_s: seconds for each of the three, at most (a measurement has at least 8 repeats, whatever they take).
        half_width: relative half-width of the ratio's interval at which a measurement ends.

    Returns:
        `training`, `inference` and `latency`, each as `Quantity` has it.
    """
    layout, dtype = MEMORY_FORMATS[memory_format], DTYPES[precision]
    draw = stream(0, "speed")
    images = torch.randn(batch_size, *input_shape, generator=draw).to(device).contiguous(memory_format=layout)
    target = torch.randint(num_classes, (batch_size,), generator=draw).to(device)
    one = images[:1].contiguous(memory_format=layout)

    def timed(actions: Sequence[Callable[[], object]]) -> Timed:
        bounds: dict[str, Any] = {"budget_s": budget_s, "half_width": half_width, "synchronize": _waiting(device)}
        return alone(*actions, **bounds) if len(actions) == 1 else alternate(*actions, **bounds)

    # Dropout and stochastic poolings draw from torch's own streams.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        networks = [copy.deepcopy(network).to(device).to(memory_format=layout) for network in _apart(arm, reference)]
        # The modes are set once: going through a network's modules for each call would count in a small one's latency.
        for network in networks:
            network.eval()
        inference = timed([inference_step(network, images, dtype) for network in networks])
        latency = timed([inference_step(network, one, dtype) for network in networks])
        for network in networks:
            network.train()
        training = timed(
            [training_step(network, images, target, optimizer_factory, label_smoothing, dtype) for network in networks]
        )
    return {
        "training": asdict(Quantity.rate(training, batch_size)),
        "inference": asdict(Quantity.rate(inference, batch_size)),
        "latency": asdict(Quantity.milliseconds(latency)),
    }


def _apart(arm: nn.Module, reference: nn.Module) -> list[nn.Module]:
    return [arm] if arm is reference else [arm, reference]


def _waiting(device: torch.device) -> Callable[[], None]:
    """Return what waits until the device has done all it was given."""
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def inference_step(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Return a forward pass over `images`, by autocast where `dtype` is not float32; the network's mode is its own."""

    def forward() -> Tensor:
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=dtype is not torch.float32):
            return network(images)

    return forward


def training_step(
    network: nn.Module,
    images: Tensor,
    target: Tensor,
    optimizer_factory: Optimizers,
    label_smoothing: float,
    dtype: torch.dtype,
) -> Callable[[], object]:
    """Return a whole training step on one batch: gradients cleared, forward, loss, backward, optimiser.

    Its learning rate is zero; see `network_speed`, whose arguments these are. `dtype` is autocast's unless float32.
    """
    optimizer = optimizer_factory(network.parameters())
    for group in optimizer.param_groups:
        group["lr"] = 0 * group["lr"]  # a number or a tensor
    kind = images.device.type
    # As Lightning does: float16's small gradients are scaled, the other dtypes' are not.
    scaler = torch.amp.GradScaler(kind, enabled=dtype is torch.float16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(kind, dtype, enabled=dtype is not torch.float32):
            logits = network(images)
            loss = F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def _seconds(timed: Timed) -> Interval:
    return timed.interval if isinstance(timed, Timing) else median_interval(timed.first)


def _ratio(timed: Timed) -> Interval:
    return Interval(1.0, None, None) if isinstance(timed, Timing) else timed.ratio


def _over(count: int, interval: Interval) -> Interval:
    """Return `count` / interval: more a second is fewer seconds, so the ends change places."""
    low, high = (None if end is None else count / end for end in (interval.high, interval.low))
    return Interval(count / interval.median, low, high)
