"""docs/findings.md is what docs/make_findings.py makes of the committed tables."""

import make_findings
import pytest
import yaml


def test_the_page_is_made_from_the_committed_tables() -> None:
    assert make_findings.PAGE.read_text(encoding="utf-8") == make_findings.page(), "run `make docs`"


def test_every_section_has_its_experiment_and_its_sentences() -> None:
    experiments = {path.stem for path in (make_findings.DOCS.parent / "experiments").glob("*.yaml")}
    sections = {path.name.partition(".")[0] for path in make_findings.SECTIONS.glob("*.md.j2")}
    assert sections <= set(make_findings.NAMES)
    assert sections <= experiments


def test_the_overview_counts_every_arm_once_and_links_to_its_section() -> None:
    text = make_findings.page()
    headings = {make_findings.anchor(line[3:]) for line in text.splitlines() if line.startswith("## ")}
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "](#" in line]
    assert {row[0].partition("](#")[2].rstrip(")") for row in rows} == headings
    for column, word in enumerate(("better", "worse", "tie", "undecided"), 3):
        assert sum(int(row[column]) for row in rows) == text.count(f"| {word} |") - 1
    assert all(int(row[2]) == sum(map(int, row[3:])) for row in rows)


def test_what_the_report_flags_is_said_with_the_arms() -> None:
    rows = [
        {"variant": "max", "flags": "", "verdict": "reference"},
        {"variant": "tips", "flags": "own geometry; unpaired seeds (3)", "verdict": "worse"},
        {"variant": "hwd", "flags": "unpaired seeds (3)", "verdict": "undecided"},
    ]
    said = "Flagged by the report: tips (own geometry); all arms (unpaired seeds (3))."
    assert make_findings.remarks(rows) == said
    assert make_findings.remarks(rows[:1]) == ""


def test_a_difference_is_said_with_the_interval_that_decides() -> None:
    row = {"difference_mean": "-0.0013", "verdict": "tie", "tie_low": "-0.002", "tie_high": "0.001"}
    row |= {"difference_holm_low": "-0.01", "difference_holm_high": "0.01"}
    assert make_findings.Figure(row).change == "−0.13 points (−0.20 … +0.10)"
    assert make_findings.Figure(row).difference == "−0.13 points (−0.20 … +0.10; tie)"
    assert make_findings.Figure(row | {"verdict": "worse"}).difference == "−0.13 points (−1.00 … +1.00; worse)"


def test_an_arm_that_is_not_there_is_an_error(tmp_path) -> None:
    (tmp_path / "accuracy.csv").write_text("backbone,variant\nslides,max\n")
    with pytest.raises(ValueError, match="not enough values"):
        make_findings.Arms(tmp_path)("avg")


@pytest.mark.parametrize("name", ["verdict_again", "verdict_resnet20"])
def test_the_best_eight_by_validation_run_again(name: str) -> None:
    experiment = yaml.safe_load((make_findings.DOCS.parent / "experiments" / f"{name}.yaml").read_text())
    best = [arm.row["variant"] for arm in make_findings.arms_of("verdict").best(8, besides="max")]
    assert experiment["hydra"]["sweeper"]["params"]["pooling"].split(",") == ["max", *best]
