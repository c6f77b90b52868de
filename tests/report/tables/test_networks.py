"""Networks of one variant compared with one of them: the same figures as if they were the arms of a block."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from poolbench.record import write_json
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.text.asides import asides

FRAMES = ("none", "symmetrised", "equivariant")
HITS = {"none": 0.6, "symmetrised": 0.8, "equivariant": 0.6}


def write(results: Any, variants: tuple[str, ...] = ("max", "gap"), frames: tuple[str, ...] = FRAMES) -> None:
    for seed in range(3):
        drawn = np.random.default_rng(seed).random(400)
        for one in frames:
            for variant in variants:
                right = drawn < HITS[one] + (0.05 if variant == "gap" else 0)
                backbone = {"name": "codon_cnn", "frames": one}
                results.add(variant, seed, None, backbone="codon_cnn", config={"backbone": backbone}, right=right)


def told(results: Any, reference: Any) -> Any:
    write_json(results.folder / "experiment.json", {"reference_backbone": reference})
    return gather(load(results.folder))


def test_each_variant_compares_its_networks(results: Any) -> None:
    write(results)
    content = told(results, {"frames": "none"})
    assert len(content.blocks) == 3
    found = content.tables["networks"].set_index(["variant", "backbone"])
    verdicts = {
        (variant, name[len("codon_cnn[backbone.frames=") : -1]): v for (variant, name), v in found["verdict"].items()
    }
    expected = {"none": "reference", "symmetrised": "better", "equivariant": "undecided"}
    assert verdicts == {(variant, one): verdict for variant in ("max", "gap") for one, verdict in expected.items()}
    name = "codon_cnn[backbone.frames=symmetrised]"
    assert found.loc[("max", name), "reference"] == "codon_cnn[backbone.frames=none]"
    scores = content.tables["scores"].set_index(["variant", "backbone"])["score_mean"]
    gain = scores["max", name] - scores["max", "codon_cnn[backbone.frames=none]"]
    assert found.loc[("max", name), "difference_mean"] == pytest.approx(gain)
    assert found.loc[("max", name), "difference_noise"] == "seeds and images"
    (aside,) = asides(content)
    assert aside.lines[0].startswith(
        "gap on digits, against codon_cnn[backbone.frames=none]: better: codon_cnn[backbone.frames=symmetrised] (+"
    )


def test_figures_are_those_of_arms_of_a_block(results: Any, tmp_path: Any) -> None:
    write(results, variants=("max",))
    by_network = told(results, {"frames": "none"}).tables["networks"]
    arms = type(results)(tmp_path / "as_arms")
    for seed in range(3):
        drawn = np.random.default_rng(seed).random(400)
        for one, variant in zip(FRAMES, ("max", "avg", "gap"), strict=True):
            arms.add(variant, seed, None, right=drawn < HITS[one])
    as_arms = gather(load(arms.folder)).tables["scores"]
    order = ["none", "equivariant", "symmetrised"]
    assert [name[len("codon_cnn[backbone.frames=") : -1] for name in by_network["backbone"]] == order
    figures = [c for c in as_arms if c not in ("backbone", "variant", "reference", "arm_id", "flags")]
    in_order = as_arms.set_index("variant").loc[["max", "gap", "avg"]].reset_index()
    pd.testing.assert_frame_equal(by_network[figures], in_order[figures])


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ({"frames": "other"}, "none of 3 has reference_backbone (frames=other)"),
        ({"framse": "none"}, "none of 3 has reference_backbone (framse=none)"),
        ("codon_cnn", "3 of 3 have reference_backbone (name=codon_cnn)"),
    ],
)
def test_what_names_no_network_is_said(results: Any, reference: Any, says: str) -> None:
    write(results, variants=("max",))
    content = told(results, reference)
    assert "networks" not in content.tables
    assert f"max on digits: networks are not compared, {says}" in content.warnings


def test_nothing_is_compared_unasked(results: Any) -> None:
    write(results, variants=("max",))
    assert "networks" not in told(results, None).tables


def test_a_reference_that_is_none(results: Any) -> None:
    write(results, variants=("max",), frames=("none",))
    (problem,) = told(results, ["none"]).problems
    assert "`reference_backbone` must be the name of a backbone, or some of its settings" in problem.reason


def test_a_reference_network_without_a_finished_cell_is_said(results: Any) -> None:
    for one in FRAMES[:2]:
        config = {"backbone": {"name": "codon_cnn", "frames": one}}
        status = "failed" if one == "none" else "ok"
        results.add("max", 0, backbone="codon_cnn", config=config, status=status)
    (said,) = [warning for warning in told(results, {"frames": "none"}).warnings if warning.startswith("networks: ")]
    assert said == (
        "networks: max on digits: no finished cell of the reference codon_cnn[backbone.frames=none], so there are no "
        "differences"
    )


def test_windows_of_two_networks_are_not_compared(results: Any) -> None:
    for one, kernel in zip(FRAMES[:2], (2, 3), strict=True):
        site = {"name": "pool1", "kernel_size": [kernel], "stride": [2], "padding": [0], "geometry": "equal"}
        config = {"backbone": {"name": "codon_cnn", "frames": one}}
        results.add("max", 0, backbone="codon_cnn", config=config, audit={"sites": [site]})
    found = told(results, {"frames": "none"}).tables["networks"]
    assert set(found["flags"]) == {""}
