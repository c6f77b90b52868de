"""Data sets of sequences, series and sounds from the command to the report."""

import numpy as np
import pandas as pd
import pytest
from cells import SHORT, records

from poolbench.cli import main

FEW = ["dataset.train_sequences=60", "dataset.test_sequences=60"]
BRIEF = [argument for argument in SHORT if not argument.startswith("dataset=")]


@pytest.mark.slow
def test_places_of_motifs_reach_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "-m", "backbone=motif_cnn", "dataset=dna_motif", "pooling=max,gmp", *FEW, *BRIEF]
    assert main([*arguments, "protocol.batch_size=16", "name=motifs"]) == 0
    table = pd.read_csv(tmp_path / "results" / "motifs" / "strata.csv")
    assert list(dict.fromkeys(table["variant"])) == ["max", "gmp"]
    assert table["stratum"].tolist()[:2] == ["1–50", "51–100"]
    of_max = table[table["variant"] == "max"]
    assert of_max["test_examples"].sum() == 60
    accuracy = records(tmp_path / "results" / "motifs")["max/0"]["metrics"]["test_accuracy"]
    assert np.isclose((of_max["score_mean"] * of_max["test_examples"]).sum() / 60, accuracy)


def test_patients_are_groups_in_the_outcomes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["dataset.train_recordings=3", "dataset.test_recordings=3", "dataset.beats=20", "backbone.stages=2"]
    arguments = ["train", "backbone=ecg_cnn", "dataset=ecg_beats", *few, *BRIEF]
    assert main([*arguments, "protocol.batch_size=16", "name=beats"]) == 0
    folder = tmp_path / "results" / "beats"
    (path,) = folder.glob("records/*/outcomes.npz")
    with np.load(path) as outcomes:
        assert outcomes["group"].tolist() == [0] * 20 + [1] * 20 + [2] * 20
        assert "stratum" not in outcomes
    (record,) = records(folder).values()
    assert [site["receptive_field_ms"] for site in record["audit"]["sites"]] == [7 * 7.8125, 19 * 7.8125]
    assert "macro_f1" in " ".join(record["metrics"])
