"""Speed of networks: what it says and what it leaves alone. How fast this machine is, is nobody's business here."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from poolbench.measure import speed
from poolbench.measure.speed import Quantity, SideBySide, network_speed, speed_by_batch_size
from poolbench.measure.timing import Pair, Timing


class Watched(nn.Module):
    """A small network that notes how it is called; a copy notes in the same list."""

    def __init__(self, width: int, seen: list[tuple[Any, ...]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.classifier = nn.Linear(width * 16, 3)
        self.seen = seen

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watched":
        copied = Watched(self.conv.out_channels, self.seen)
        copied.load_state_dict(self.state_dict())
        return copied.train(self.training)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        layout = "channels_last" if images.is_contiguous(memory_format=torch.channels_last) else "contiguous"
        self.seen.append((len(images), self.training, torch.is_grad_enabled(), features.dtype, layout))
        return self.classifier(self.drop(self.norm(features)).flatten(1))


def conditions(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "input_shape": (2, 6, 6),
        "num_classes": 3,
        "device": torch.device("cpu"),
        "precision": "float32",
        "memory_format": "channels_last",
        "optimizer_factory": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        "budget_s": 0.01,
    }
    return arguments | changes


def measure(arm: nn.Module, reference: nn.Module, **changes: Any) -> dict[str, dict[str, Any]]:
    return network_speed(arm, reference, batch_size=4, **conditions(**changes))


def by_batch_size(arm: nn.Module, sizes: list[int], **changes: Any) -> list[dict[str, Any]]:
    return list(speed_by_batch_size(arm, Watched(4, []), batch_sizes=sizes, **conditions(**changes)))


def test_every_quantity_is_there() -> None:
    found = measure(Watched(4, []), Watched(8, []))
    assert {name: quantity["unit"] for name, quantity in found.items()} == {
        "training": "images/s",
        "forward_backward": "images/s",
        "inference": "images/s",
        "latency": "ms",
    }
    for quantity in found.values():
        assert list(quantity) == [
            "unit",
            "median",
            "ci95_low",
            "ci95_high",
            "ratio",
            "ratio_ci95_low",
            "ratio_ci95_high",
            "repeats",
            "settled",
        ]
        assert quantity["ci95_low"] <= quantity["median"] <= quantity["ci95_high"]
        assert quantity["ratio_ci95_low"] <= quantity["ratio"] <= quantity["ratio_ci95_high"]
        assert quantity["repeats"] >= 8


def test_the_reference_is_timed_alone() -> None:
    network = Watched(4, [])
    for quantity in measure(network, network).values():
        assert quantity["ratio"] == 1
        assert quantity["ratio_ci95_low"] is quantity["ratio_ci95_high"] is None
        assert quantity["median"] > 0


@pytest.mark.quick(2)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_conditions_are_the_stated_ones(precision: str, dtype: torch.dtype, layout: str) -> None:
    seen: list[tuple[Any, ...]] = []
    measure(Watched(4, seen), Watched(4, []), precision=precision, memory_format=layout)
    assert set(seen) == {
        (4, False, False, dtype, layout),  # inference
        (1, False, False, dtype, layout),  # latency
        (4, True, True, dtype, layout),  # training, forward_backward
    }


def test_a_step_trains_each_copy_by_its_optimizer_and_keeps_its_weights() -> None:
    steps: list[torch.optim.Optimizer] = []

    class Noted(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            assert all(p.grad is not None for group in self.param_groups for p in group["params"])
            steps.append(self)
            before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
            super().step(closure)
            after = [p for group in self.param_groups for p in group["params"]]
            assert all(map(torch.equal, before, after))

    measure(Watched(4, []), Watched(8, []), optimizer_factory=lambda parameters: Noted(parameters, lr=0.1))
    assert len(set(map(id, steps))) == 2
    assert len(steps) >= 2 * (2 + 8)


def test_nothing_of_the_callers_changes() -> None:
    networks = [Watched(4, []).train(), Watched(8, []).eval()]
    before = [value.clone() for network in networks for value in network.state_dict().values()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    measure(*networks)
    assert torch.equal(torch.get_rng_state(), state)
    after = [value for network in networks for value in network.state_dict().values()]
    assert all(map(torch.equal, before, after))
    assert [network.training for network in networks] == [True, False]
    assert all(parameter.grad is None for network in networks for parameter in network.parameters())


def test_forward_and_backward_leave_the_optimizer_out() -> None:
    def none(parameters: Any) -> torch.optim.Optimizer:
        raise AssertionError("no optimizer is built")

    seen: list[tuple[Any, ...]] = []
    both = SideBySide(Watched(4, seen), Watched(4, []), **conditions(optimizer_factory=none))
    assert both.measure("forward_backward", 4).unit == "images/s"
    assert {(images, training, grad) for images, training, grad, *_ in seen} == {(4, True, True)}
    assert all(parameter.grad is not None for parameter in both.networks[0].parameters())


def test_latency_is_measured_in_many_places_and_leaves_the_networks_where_they_were() -> None:
    both = SideBySide(Watched(4, []), Watched(4, []), **conditions())
    before = list(both.networks)
    found = both.measure("latency", 1)
    assert found.repeats >= 6 * 3
    assert all(now is then for now, then in zip(both.networks, before, strict=True))
    assert both.ballast == []


def test_both_are_compiled_before_the_timing_where_the_protocol_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def compile_slowly(network: nn.Module) -> nn.Module:
        network.register_forward_pre_hook(lambda *_: events.append("call"))
        events.append("compiled")
        return network

    def alternate_noted(*actions: Any, **bounds: Any) -> Pair:
        events.append("timing")
        return PAIR

    monkeypatch.setattr(torch, "compile", compile_slowly)
    monkeypatch.setattr(speed, "alternate", alternate_noted)
    measure(Watched(4, []), Watched(4, []), compiled=True)
    assert events[:5] == ["compiled", "compiled", "call", "call", "timing"]
    assert events.count("compiled") == 8  # each quantity anew
    events.clear()
    measure(Watched(4, []), Watched(4, []))
    assert set(events) == {"timing"}


class Limited(Watched):
    """A network for whose batches the memory is enough up to four images, or two where gradients are kept."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Limited":
        return Limited(self.conv.out_channels, self.seen)

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > (2 if torch.is_grad_enabled() else 4):
            raise self.error
        return super().forward(images)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "CUDA out of memory. Tried"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator: can't allocate memory"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_batch_that_does_not_fit_is_said_and_smaller_ones_are_reported(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limited, "error", error, raising=False)
    rows = by_batch_size(Limited(4, []), [8, 2, 4, 16])
    assert [(row["quantity"], row["batch_size"]) for row in rows] == [
        ("latency", 1),
        *((quantity, size) for size in (2, 4, 8, 16) for quantity in ("inference", "forward_backward", "training")),
    ]
    reasons = {(row["quantity"], row["batch_size"]): row["reason"] for row in rows if row["reason"]}
    assert reasons == {
        ("forward_backward", 4): f"out of memory at batch size 4: {told}",
        ("training", 4): f"out of memory at batch size 4: {told}",
        ("inference", 8): f"out of memory at batch size 8: {told}",
        ("forward_backward", 8): "not tried: batch size 4 did not fit into memory",
        ("training", 8): "not tried: batch size 4 did not fit into memory",
        ("forward_backward", 16): "not tried: batch size 4 did not fit into memory",
        ("training", 16): "not tried: batch size 4 did not fit into memory",
        ("inference", 16): "not tried: batch size 8 did not fit into memory",
    }
    assert all(("median" in row) == (not row["reason"]) for row in rows)


def test_what_cannot_run_for_another_cause_stops_nothing_else() -> None:
    class Fails(Watched):
        def __deepcopy__(self, memo: dict[int, Any]) -> "Fails":
            return Fails(self.conv.out_channels, self.seen)

        def forward(self, images: Tensor) -> Tensor:
            if self.training and len(images) == 1:
                raise ValueError("Expected more than 1 value per channel")
            return super().forward(images)

    rows = by_batch_size(Fails(4, []), [1, 2])
    reasons = {(row["quantity"], row["batch_size"]): row["reason"] for row in rows if row["reason"]}
    assert reasons == {
        (quantity, 1): "ValueError: Expected more than 1 value per channel"
        for quantity in ("forward_backward", "training")
    }


# Medians 0.5 and 0.25 s, so that the first takes twice as long; eight repeats have their extremes for an interval.
PAIR = Pair((0.4, *[0.5] * 6, 0.8), (0.25,) * 8, settled=True)


def test_a_rate_by_hand() -> None:
    assert Quantity.rate(PAIR, images=10) == Quantity("images/s", 20.0, 12.5, 25.0, 0.5, 0.3125, 0.625, 8, True)


def test_milliseconds_by_hand() -> None:
    assert Quantity.milliseconds(PAIR) == Quantity("ms", 500.0, 400.0, 800.0, 2.0, 1.6, 3.2, 8, True)


def test_one_alone_by_hand() -> None:
    timing = Timing(PAIR.first, settled=False)
    assert Quantity.rate(timing, images=10) == Quantity("images/s", 20.0, 12.5, 25.0, 1.0, None, None, 8, False)
    assert Quantity.milliseconds(timing) == Quantity("ms", 500.0, 400.0, 800.0, 1.0, None, None, 8, False)
