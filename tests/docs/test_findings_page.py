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
    for column, word in enumerate(("better", "worse", "tie", "undecided"), 2):
        assert sum(int(row[column]) for row in rows) == text.count(f"| {word} |") - 1
    assert all(int(row[1]) >= sum(map(int, row[2:])) for row in rows)


def test_an_arm_that_is_not_there_is_an_error(tmp_path) -> None:
    (tmp_path / "accuracy.csv").write_text("backbone,variant\nslides,max\n")
    with pytest.raises(ValueError, match="not enough values"):
        make_findings.Arms(tmp_path)("avg")


@pytest.mark.parametrize("name", ["verdict_again", "verdict_resnet20"])
def test_the_best_eight_by_validation_run_again(name: str) -> None:
    experiment = yaml.safe_load((make_findings.DOCS.parent / "experiments" / f"{name}.yaml").read_text())
    best = [arm.row["variant"] for arm in make_findings.arms_of("verdict").best(8, besides="max")]
    assert experiment["hydra"]["sweeper"]["params"]["pooling"].split(",") == ["max", *best]
