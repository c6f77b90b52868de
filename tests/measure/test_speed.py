"""Speed of networks: what it says and what it leaves alone. How fast this machine is, is nobody's business here."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from poolbench.measure.speed import Quantity, network_speed
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


def measure(arm: nn.Module, reference: nn.Module, **changes: Any) -> dict[str, dict[str, Any]]:
    arguments: dict[str, Any] = {
        "input_shape": (2, 6, 6),
        "num_classes": 3,
        "batch_size": 4,
        "device": torch.device("cpu"),
        "precision": "float32",
        "memory_format": "channels_last",
        "optimizer_factory": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        "budget_s": 0.01,
    }
    return network_speed(arm, reference, **(arguments | changes))


def test_every_quantity_is_there() -> None:
    found = measure(Watched(4, []), Watched(8, []))
    assert {name: quantity["unit"] for name, quantity in found.items()} == {
        "training": "images/s",
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


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_conditions_are_the_stated_ones(precision: str, dtype: torch.dtype, layout: str) -> None:
    seen: list[tuple[Any, ...]] = []
    measure(Watched(4, seen), Watched(4, []), precision=precision, memory_format=layout)
    assert set(seen) == {
        (4, False, False, dtype, layout),  # inference
        (1, False, False, dtype, layout),  # latency
        (4, True, True, dtype, layout),  # training
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
