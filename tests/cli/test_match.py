"""Matched arms, from the command line to the tables."""

from pathlib import Path

import pandas as pd
import pytest
from cells import records

from poolbench.cli import main


@pytest.mark.slow
def test_matched_arms_train_and_are_tabled(train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("pooling=max,strided_conv", "seed=0,1", "match=params") == 0
    assert train("pooling=strided_conv", "seed=0") == 0
    found = records(tmp_path / "results" / "adhoc")
    assert {key.partition("/")[0] for key in found} == {"max", "strided_conv[match=params]", "strided_conv"}
    matched, plain = found["strided_conv[match=params]/0"], found["strided_conv/0"]
    assert matched["arm_id"] != plain["arm_id"]
    assert matched["block_id"] == plain["block_id"]
    said = matched["audit"]["match"]
    assert said["target"] == found["max/0"]["cost"]["parameters"]
    assert said["reached"] == matched["cost"]["parameters"] == pytest.approx(said["target"], rel=0.01)
    assert said["width"] < 1
    assert said == found["strided_conv[match=params]/1"]["audit"]["match"], "the width does not depend on the seed"
    assert "match" not in found["max/0"]["audit"]
    table = pd.read_csv(tmp_path / "results" / "adhoc" / "parameters.csv", keep_default_na=False).set_index("variant")
    assert table.loc["strided_conv[match=params]", "matched"] == "params"
    assert float(table.loc["strided_conv[match=params]", "width"]) == pytest.approx(said["width"])
    assert (table.loc["max", "matched"], float(table.loc["max", "width"])) == ("", 1.0)
    capsys.readouterr()
    assert main(["test", matched["run_id"], "--results-dir", str(tmp_path / "results")]) == 0
    assert "differs" not in capsys.readouterr().out


def test_wrong_ways_to_match(train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("pooling=lip", "match=param") == 2
    assert "unknown `match` 'param'; did you mean params?" in capsys.readouterr().err
    assert train("pooling=lip", "match=params", "reference=mine") == 2
    assert "needs a reference from conf/pooling, got 'mine'" in capsys.readouterr().err
    assert train("backbone=keras_cnn", "dataset.image_size=32", "pooling=lip", "match=params") == 2
    assert "no width brings parameters within 1% of the reference's" in capsys.readouterr().err
