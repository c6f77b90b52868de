"""Speed of a network beside its reference: training step, inference, latency."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.measure.timing import Interval, Pair, alone, alternate, median_interval
from poolbench.streams import stream

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Optimizers = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


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
    forward pass of one image in ms, where a ratio below 1 means so. Copies are measured: neither network is changed.

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
        budget_s: seconds for each of the three, at most.
        half_width: relative half-width of the ratio's interval at which a measurement ends.
    """
    itself = arm is reference
    networks = [copy.deepcopy(network).to(device) for network in ([arm] if itself else [arm, reference])]
    networks = [network.to(memory_format=MEMORY_FORMATS[memory_format]) for network in networks]
    draw = stream(0, "speed")
    images = torch.randn(batch_size, *input_shape, generator=draw)
    images = images.to(device).contiguous(memory_format=MEMORY_FORMATS[memory_format])
    target = torch.randint(num_classes, (batch_size,), generator=draw).to(device)
    one = images[:1].contiguous(memory_format=MEMORY_FORMATS[memory_format])
    autocast = _Autocast(device, DTYPES[precision])
    bounds: dict[str, Any] = {
        "budget_s": budget_s,
        "half_width": half_width,
        "synchronize": torch.cuda.synchronize if device.type == "cuda" else lambda: None,
    }

    def timed(actions: list[Callable[[], object]]) -> Pair | tuple[tuple[float, ...], bool]:
        return alone(actions[0], **bounds) if itself else alternate(*actions, **bounds)

    # Dropout draws from torch's own stream: the caller's is given back as it was.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        training = timed([_step(n, images, target, optimizer_factory, label_smoothing, autocast) for n in networks])
        inference = timed([_forward(network, images, autocast) for network in networks])
        latency = timed([_forward(network, one, autocast) for network in networks])
    return {
        "training": _rate(training, batch_size),
        "inference": _rate(inference, batch_size),
        "latency": _milliseconds(latency),
    }


class _Autocast:
    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.arguments: dict[str, Any] = {
            "device_type": device.type,
            "dtype": dtype,
            "enabled": dtype is not torch.float32,
        }

    def __call__(self) -> torch.autocast:
        return torch.autocast(**self.arguments)


def _step(
    network: nn.Module,
    images: Tensor,
    target: Tensor,
    optimizer_factory: Optimizers,
    label_smoothing: float,
    autocast: _Autocast,
) -> Callable[[], object]:
    optimizer = optimizer_factory(network.parameters())

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            logits = network(images)
        F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing).backward()
        optimizer.step()

    return step


def _forward(network: nn.Module, images: Tensor, autocast: _Autocast) -> Callable[[], object]:
    def forward() -> Tensor:
        network.eval()
        with torch.inference_mode(), autocast():
            return network(images)

    return forward


def _rate(timed: Pair | tuple[tuple[float, ...], bool], images: int) -> dict[str, Any]:
    seconds, ratio, settled = _read(timed)
    found = median_interval([images / second for second in seconds])
    # More images a second is fewer seconds: the ratio of rates is the inverse, its bounds change places.
    inverse = Interval(1 / ratio.median, _inverse(ratio.high), _inverse(ratio.low))
    return _quantity("images/s", found, inverse, len(seconds), settled)


def _milliseconds(timed: Pair | tuple[tuple[float, ...], bool]) -> dict[str, Any]:
    seconds, ratio, settled = _read(timed)
    return _quantity("ms", median_interval([1000 * s for s in seconds]), ratio, len(seconds), settled)


def _read(timed: Pair | tuple[tuple[float, ...], bool]) -> tuple[tuple[float, ...], Interval, bool]:
    if isinstance(timed, Pair):
        return timed.first, timed.ratio, timed.settled
    return timed[0], Interval(1.0, None, None), timed[1]


def _inverse(value: float | None) -> float | None:
    return None if value is None else 1 / value


def _quantity(unit: str, found: Interval, ratio: Interval, repeats: int, settled: bool) -> dict[str, Any]:
    return {
        "unit": unit,
        "median": found.median,
        "ci95_low": found.low,
        "ci95_high": found.high,
        "ratio": ratio.median,
        "ratio_ci95_low": ratio.low,
        "ratio_ci95_high": ratio.high,
        "repeats": repeats,
        "settled": settled,
    }
