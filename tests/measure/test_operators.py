"""The operators' bench: its rows, its conditions, and the bytes kept for the backward pass."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from poolbench.errors import ConfigurationError
from poolbench.measure.operators import SHAPES, Shape, bench_operators, kept_bytes, operator_speed
from poolbench.pooling import GlobalGeMPool2d, StridedConv2d

TINY = Shape("tiny", (2, 3, 8, 8), 3, 2, 1)
MAX = {"_target_": "poolbench.pooling.MaxPool2d"}


REFUSING = """
from torch import nn

class Refusing(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()

    def forward(self, images):
        raise RuntimeError("not implemented for this dtype")
"""


class Contiguous(nn.MaxPool2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).contiguous()


class Squared(nn.Module):
    """A function that keeps its input twice over, and its output."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(images * images)


def rows(specs: dict[str, dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    arguments: dict[str, Any] = {"shapes": [TINY], "layouts": ["channels_last"], "budget_s": 0.001}
    return list(bench_operators(specs, **(arguments | changes)))


def test_a_row_for_each_place_and_operator_after_the_copys() -> None:
    found = rows(
        {"max": MAX, "conv": {"_target_": "poolbench.pooling.StridedConv2d"}},
        layouts=["contiguous", "channels_last"],
        dtypes=["float32", "bfloat16"],
    )
    assert [(row["layout"], row["dtype"], row["operator"]) for row in found] == [
        (layout, dtype, operator)
        for layout in ("contiguous", "channels_last")
        for dtype in ("float32", "bfloat16")
        for operator in ("copy", "max", "conv")
    ]
    assert len({tuple(sorted(row)) for row in found if row["operator"] != "copy"}) == 1
    for row in found:
        assert row["shape"] == "2×3×8×8 k3s2p1"
        assert row["threads"] == torch.get_num_threads()
        assert row["reason"] == ""
        for what in ("forward",) if row["operator"] == "copy" else ("forward", "backward"):
            assert row[f"{what}_ms"] > 0
            assert row[f"{what}_max_ms"] > 0
            assert row[f"{what}_ratio_ci95_low"] <= row[f"{what}_ratio"] <= row[f"{what}_ratio_ci95_high"]
            assert row[f"{what}_repeats"] >= 8


def test_an_operator_that_cannot_run_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "refusing_pool.py").write_text(REFUSING)
    monkeypatch.syspath_prepend(tmp_path)
    copy, refused, maximum = rows({"own": {"_target_": "refusing_pool.Refusing"}, "max": MAX})
    assert copy["operator"] == "copy"
    assert refused["operator"] == "own"
    assert refused["reason"] == "RuntimeError: not implemented for this dtype"
    assert "forward_ms" not in refused
    assert maximum["forward_ms"] > 0


def test_a_misspelt_argument_is_the_callers_mistake() -> None:
    with pytest.raises(ConfigurationError, match="unknown argument 'kk'"):
        rows({"max": MAX | {"kk": 1}})


@pytest.mark.parametrize(("argument", "wrong"), [("layouts", ["chanels_last"]), ("dtypes", ["bfloat61"])])
def test_an_unknown_condition_is_named(argument: str, wrong: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean {'channels_last' if 'ch' in wrong[0] else 'bfloat16'}"):
        rows({"max": MAX}, **{argument: wrong})


def test_another_output_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"must be \(2, 3, 4, 4\) as that of max pooling, got \(2, 3, 8, 8\)"):
        operator_speed(nn.Identity(), TINY, layout="contiguous", dtype="float32", budget_s=0.001)


def test_a_head_is_set_beside_max_pooling_of_the_same_map() -> None:
    row = operator_speed(GlobalGeMPool2d(), TINY, layout="channels_last", dtype="bfloat16", budget_s=0.001)
    assert (row["implementation"], row["keeps_layout"]) == ("torch", None)
    assert row["backward_ms"] > 0
    assert not any("graph" in name for name in row), "a processor launches nothing"


def test_what_a_head_asks_for_is_given() -> None:
    spec = {"_target_": "poolbench.pooling.ClassMaps", "pool": {"_target_": "poolbench.pooling.GlobalAvgPool2d"}}
    assert [row["reason"] for row in rows({"class_maps": spec})] == ["", ""]


def test_captured_kernels_are_timed_beside_those_of_max_pooling() -> None:
    captured: list[Any] = []

    def capture(action: Any) -> Any:
        action()
        captured.append(action)
        return action

    conv = StridedConv2d(3, 2, 1, channels=3)
    row = operator_speed(conv, TINY, layout="channels_last", dtype="float32", budget_s=0.001, capture=capture)
    assert len(captured) == 4, "forward and backward, of both"
    assert row["graph_reason"] == ""
    for what in ("forward_graph", "backward_graph"):
        assert row[f"{what}_ms"] > 0
        assert row[f"{what}_ratio_ci95_low"] <= row[f"{what}_ratio"] <= row[f"{what}_ratio_ci95_high"]
    before = [parameter.grad for parameter in conv.parameters()]
    map_gradient, *of_parameters = captured[2]()
    assert map_gradient.shape == TINY.size
    assert [each.shape for each in of_parameters] == [parameter.shape for parameter in conv.parameters()]
    assert all(one is parameter.grad for one, parameter in zip(before, conv.parameters(), strict=True)), "not summed up"
    assert not captured[0]().requires_grad


def test_what_cannot_be_captured_says_why() -> None:
    def capture(action: Any) -> Any:
        raise RuntimeError("not while capturing\nat line 1")

    row = operator_speed(
        nn.MaxPool2d(3, 2, 1), TINY, layout="contiguous", dtype="float32", budget_s=0.001, capture=capture
    )
    assert row["graph_reason"] == "not while capturing"
    assert "forward_graph_ms" not in row
    assert row["backward_ms"] > 0


def test_an_output_in_another_layout_is_told() -> None:
    keeping, losing = (
        operator_speed(pool, TINY, layout="channels_last", dtype="float32", budget_s=0.001)
        for pool in (TINY.maximum(), Contiguous(3, 2, 1))
    )
    assert keeping["keeps_layout"]
    assert not losing["keeps_layout"]


def test_no_draw_of_the_bench_reaches_the_global_stream() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    rows({"conv": {"_target_": "poolbench.pooling.StridedConv2d"}})
    assert torch.equal(torch.get_rng_state(), state)


def test_bytes_kept_by_max_pooling() -> None:
    images = torch.zeros(2, 3, 4, 4)
    # torch keeps the input and an index of 8 bytes for each output.
    assert kept_bytes(nn.MaxPool2d(2), images) == images.nbytes + 2 * 3 * 2 * 2 * 8


def test_each_storage_is_kept_once_and_an_output_too() -> None:
    images = torch.zeros(2, 3, 4, 4)
    assert kept_bytes(Squared(), images) == 2 * images.nbytes


def test_a_view_keeps_nothing_and_parameters_do_not_count() -> None:
    images = torch.zeros(2, 3, 4, 4)
    assert kept_bytes(nn.Flatten(), images) == 0
    conv = StridedConv2d(2, channels=3, activation=None)
    assert kept_bytes(conv, images) == images.nbytes


def test_the_input_stays_a_leaf_without_gradient() -> None:
    images = torch.zeros(2, 3, 4, 4)
    kept_bytes(nn.MaxPool2d(2), images)
    assert not images.requires_grad


def test_places() -> None:
    assert [shape.name for shape in SHAPES] == ["A", "B", "C", "D"]
    small = SHAPES[0].smaller(8)
    assert small.size == (16, 64, 32, 32)
    assert small.title == "16×64×32×32 k2s2"
    assert Shape("one", (1, 2, 4, 4), 2, 2, 0).smaller(8).size[0] == 1
    assert TINY.maximum()(torch.zeros(TINY.size)).shape == (2, 3, 4, 4)
