"""The page of all operators: that it is fresh, that what it shows runs, and that whatever makes it stale is named."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import make_operators
import numpy as np
import pytest
import torch
from make_operators import DOCS, Picture, made, stale
from operator_page import drawing
from operator_page.catalogue import Entry, catalogue, check_that_all_build
from operator_page.claims import claims, findings
from operator_page.docstring import parse
from operator_page.drawing import digest, made_from, row, save
from operator_page.example import drawn, results
from operator_page.facts import geometry_of
from operator_page.markup import marked
from operator_page.page import IMAGES
from operator_page.photograph import Panel, influence, panels

import poolbench.pooling
from poolbench.errors import ConfigurationError
from poolbench.pooling import GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d

PAGE = (DOCS / "operators.md").read_text(encoding="utf-8")
MODULES = sorted(path.stem for path in (DOCS / "operator_page").glob("*.py") if path.stem != "__init__")
# A colour picture, three shades wide.
PANEL = Panel("title", np.arange(27, dtype=np.uint8).reshape(3, 3, 3))

Made = tuple[dict[str, str], dict[str, Picture]]


@pytest.fixture(scope="module")
def fresh() -> Made:
    with torch.random.fork_rng(devices=[]):
        return made(DOCS)


def test_nothing_is_stale(fresh: Made) -> None:
    assert stale(DOCS, *fresh) == [], "`make docs` makes these anew"


@pytest.mark.slow
def test_a_second_run_gives_the_same(fresh: Made) -> None:
    texts, pictures = made(DOCS)
    assert texts == fresh[0]
    assert {path: p.made_from for path, p in pictures.items()} == {path: p.made_from for path, p in fresh[1].items()}


def test_whatever_is_stale_is_named(fresh: Made, tmp_path: Path) -> None:
    shutil.copytree(DOCS / "images", tmp_path / "images")
    (tmp_path / "operators.md").write_text(fresh[0]["operators.md"], encoding="utf-8")
    images = tmp_path / IMAGES
    assert stale(tmp_path, *fresh) == []
    (images / "max.svg").write_text("<svg/>")
    (images / "avg.png").unlink()
    save(row([PANEL]), images / "min.png", "of something else")
    (images / "of_no_operator.png").touch()
    (tmp_path / "operators.md").write_text(fresh[0]["operators.md"] + " ")
    names = ["max.svg", "avg.png", "min.png", "of_no_operator.png"]
    assert set(stale(tmp_path, *fresh)) == {"operators.md", *(f"{IMAGES}/{name}" for name in names)}


def test_the_command_names_what_is_stale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def other(docs: Path) -> Made:
        return {"operators.md": "something else"}, {}

    monkeypatch.setattr(make_operators, "made", other)
    assert make_operators.main(["--check"]) == 1
    assert "stale: docs/operators.md; `make docs` makes it" in capsys.readouterr().err
    assert (DOCS / "operators.md").read_text(encoding="utf-8") == PAGE


def test_a_change_of_what_draws_is_none_of_the_picture(tmp_path: Path) -> None:
    save(row([PANEL]), tmp_path / "a.png", digest([PANEL]))
    assert made_from(tmp_path / "a.png") == digest([PANEL])
    assert digest([PANEL]) != digest([Panel("another", PANEL.pixels)])
    assert digest([PANEL]) != digest([Panel("title", PANEL.pixels + np.uint8(1))])
    assert made_from(tmp_path / "none.png") is None


def test_every_operator_has_a_section_and_its_pictures() -> None:
    sections = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert sections == [entry.name for entry in catalogue()]
    shown = set(re.findall(rf"\]\({IMAGES}/([^)]*)\)", PAGE))
    assert shown == {path.name for path in (DOCS / IMAGES).iterdir()}


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors


def test_links_to_files_lead_somewhere() -> None:
    for path in set(re.findall(r"\]\((?!http|#)([^)]*)\)", PAGE)):
        assert (DOCS / path).is_file(), path


def test_the_pictures_stay_small() -> None:
    assert sum(path.stat().st_size for path in (DOCS / IMAGES).iterdir()) < 2 * 2**20


@pytest.mark.quick(15)
@pytest.mark.parametrize("snippet", re.findall(r"```python\n(import torch\nfrom .*?)```", PAGE, re.DOTALL))
def test_the_lines_of_python_give_the_shapes_beside_them(snippet: str) -> None:
    setup, _, last = snippet.strip().rpartition("\n")
    call, _, promised = last.partition("  # ")
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        exec(setup, names)
        assert str(tuple(eval(call, names))) == promised


@pytest.mark.slow
def test_the_commands_compose() -> None:
    from hydra import compose, initialize_config_dir

    from poolbench.paths import conf_dir

    commands = re.findall(r"^poolbench train (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= len(catalogue())
    with initialize_config_dir(str(conf_dir()), version_base=None):
        for command in commands:
            compose("config", overrides=command.replace("'", "").split())


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    module = importlib.import_module(f"operator_page.{name}")
    assert doctest.testmod(module).failed == 0


# ---- what is read ----


def write(folder: Path, name: str, text: str) -> None:
    (folder / "pooling").mkdir(exist_ok=True)
    (folder / "head").mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


def test_an_operator_that_fails_to_build_is_named() -> None:
    good = Entry("good", "window", "", {"_target_": "poolbench.pooling.MaxPool2d"}, pooling=True, head=False)
    bad = [
        Entry("no_class", "window", "", {"_target_": "poolbench.pooling.NoPool2d"}, pooling=True, head=False),
        Entry("no_k", "window", "", {"_target_": "poolbench.pooling.AvgTopKPool2d", "k": 9}, pooling=True, head=False),
    ]
    check_that_all_build([good])
    with pytest.raises(ConfigurationError, match=r"no_class: .*\n.*no_k: .*got 9") as caught:
        check_that_all_build([good, *bad])
    assert "good:" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pooling/a", "name: a\n", "must begin with a line that describes it"),
        ("pooling/a", "# One.\nname: a\ndownsample: null\n", "must fill one of downsample and head"),
        ("head/gap", "# One.\nname: gap\n_target_: poolbench.pooling.GlobalMaxPool2d\n", "must hold the same head"),
    ],
)
def test_a_yaml_that_says_too_little_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    gap = "# One.\nname: gap\ndownsample: null\nhead:\n  _target_: poolbench.pooling.GlobalAvgPool2d\n"
    write(tmp_path, "pooling/gap", gap)
    write(tmp_path, name, text)
    with pytest.raises(ConfigurationError, match=rf"{name.rpartition('/')[2]}.*{message}"):
        catalogue(tmp_path)


def test_a_head_of_two_folders_is_one_entry(tmp_path: Path) -> None:
    target = "_target_: poolbench.pooling.GlobalAvgPool2d\n"
    write(tmp_path, "pooling/gap", f"# In the head: One.\nname: gap\ndownsample: null\nhead:\n  {target}")
    write(tmp_path, "head/gap", f"# One.\nname: gap\n{target}")
    (entry,) = catalogue(tmp_path)
    assert (entry.name, entry.kind, entry.line, entry.pooling, entry.head) == ("gap", "head", "One.", True, True)


def test_a_docstring_is_taken_apart() -> None:
    found = parse(
        """One line
        that goes on.

        Prose.

        - an item
          of two lines
        - another

        Args:
            kernel_size, stride: the geometry.
            k: how many,
                at least 1.

            per: after a gap.

        Raises:
            ValueError: never.

        Source: somebody (2000),
        equation 1.

        >>> 1 + 1
        2
        """
    )
    assert found.summary == "One line that goes on."
    assert found.paragraphs == [
        ("", "Prose."),
        ("", "- an item of two lines\n- another"),
        ("Raises", "`ValueError`: never."),
        ("Source", "somebody (2000), equation 1."),
    ]
    assert found.arguments == {
        "kernel_size": "the geometry.",
        "stride": "the geometry.",
        "k": "how many, at least 1.",
        "per": "after a gap.",
    }
    assert found.doctest == ">>> 1 + 1\n2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A mean of x", "A mean of x"),
        ("x is a value and y a result", "x is a value and y a result"),
        ("the sum Σ_i a_i x_i of all", "the sum `Σ_i a_i x_i` of all"),
        ("with k = 1 a maximum", "with `k = 1` a maximum"),
        ("(B, C, H, W) → (B, C · rows · columns).", "`(B, C, H, W) → (B, C · rows · columns)`."),
        ("a = sigmoid(`logit`) starts", "`a = sigmoid(logit)` starts"),
        ("its size, kernel height · kernel width", "its size, kernel height · kernel width"),
        ("(all values, n = 4) of it", "(all values, `n = 4`) of it"),
        ('repeated (`extension="symmetric"`), or', 'repeated (`extension="symmetric"`), or'),
        ("in [0, 1] * and <b> __all__", r"in \[0, 1\] \* and \<b\> \_\_all\_\_"),
        ("LaTeX $a_1 * b$ stays", "LaTeX $a_1 * b$ stays"),
        ("chances α(1 − α)^(r−1) x₍ᵣ₎, where", "chances `α(1 − α)^(r−1) x₍ᵣ₎`, where"),
    ],
)
def test_formulas_become_code_and_nothing_else_is_markup(text: str, expected: str) -> None:
    assert marked(text) == expected


class OnlyHalves(MaxPool2d):
    geometries = ({"stride": 2},)


class OnlyOddWindows(MaxPool2d):
    geometries = ({"kernel_size": (3, 3), "stride": 2, "padding": 1},)


@pytest.mark.parametrize(
    ("target", "size", "expected"),
    [
        (MaxPool2d, 4, {"kernel_size": 4, "stride": 4}),
        (OnlyHalves, 2, {"kernel_size": 2, "stride": 2}),
        (OnlyHalves, 4, {"kernel_size": 2, "stride": 2}),
        (OnlyOddWindows, 4, {"kernel_size": (3, 3), "stride": 2, "padding": 1}),
    ],
)
def test_an_operator_is_shown_with_windows_that_it_serves(
    target: type, size: int, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolbench.pooling, "Some", target, raising=False)
    entry = Entry("some", "window", "", {"_target_": "poolbench.pooling.Some"}, pooling=True, head=False)
    assert geometry_of(entry, size) == expected
    ((_, example),) = results(entry)
    assert drawn(entry, [("", example)]).startswith("<svg")
    assert panels(entry, torch.rand(1, 3, 192, 192, dtype=torch.float64))[0].pixels.shape == (48, 48, 3)


# ---- what is drawn ----


def test_places_that_count() -> None:
    x = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    x[0, 0, 1, 0] = 1
    assert influence(GlobalAvgPool2d(), x).tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert influence(GlobalMaxPool2d(), x).tolist() == [[0, 0], [1, 0]]


def test_panels_are_enlarged_without_smoothing() -> None:
    image = row([Panel("", np.array([[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]], dtype=np.uint8))]).convert("L")
    assert image.size == (192, 192 + drawing.LABEL)
    assert sorted(colour for _, colour in image.getcolors() or []) == [0, 255]


# ---- what articles claim ----


def test_every_operator_has_a_claim_or_why_there_is_none() -> None:
    found = claims()
    assert found.keys() == {entry.name for entry in catalogue()}
    assert all(all(entry.values()) for entry in found.values())
    # Nothing may have been read only where there is nothing to claim.
    unread = [entry["claim"] for entry in found.values() if entry["read"].startswith("nothing")]
    assert unread
    assert all(claim.startswith("none") for claim in unread)


def test_a_claim_that_says_too_little_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text("max: {task: MNIST, claim: better}")
    with pytest.raises(ValueError, match=r"`max` of claims\.yaml must say claim, read, task, got task, claim"):
        claims(tmp_path / "claims.yaml")


def test_findings_are_read_from_the_tables_of_reports(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "scores.csv").write_text(
        "backbone,dataset,variant,score,unit,better,score_mean,n_paired,difference_mean,difference_ci95_low,"
        "difference_ci95_high,verdict,reference\n"
        "lenet5,mnist-x,max,accuracy,fraction of 1,higher,0.9,,,,,reference,max\n"
        "lenet5,mnist-x,avg_topk[k=3],accuracy,fraction of 1,higher,0.9,5,-0.0125,-0.02,0.005,undecided,max\n"
        "unet,cells,lip,mean_iou,fraction of 1,higher,0.8,3,0.0125,0.001,0.02,better,max\n"
        "line_cnn,line,gap,mean_absolute_error,,lower,0.25,3,0.0312,0.03,0.04,worse,max\n"
        "clock_cnn,clock,gap,mean_absolute_error,degrees,lower,12.5,3,-0.25,-0.5,0.1,undecided,max\n"
    )
    assert findings(tmp_path) == {
        "avg_topk": [
            "mnist-x, lenet5 as avg_topk[k=3]: −1.25 points [−2.00, +0.50] beside max, undecided, 5 seeds (one)"
        ],
        "lip": ["cells, unet: +1.25 points of mean IoU [+0.10, +2.00] beside max, better, 3 seeds (one)"],
        "gap": [
            "line, line_cnn: +0.031 of mean absolute error (lower is better) [+0.030, +0.040] beside max, worse, "
            "3 seeds (one)",
            "clock, clock_cnn: −0.2 degrees of mean absolute error (lower is better) [−0.5, +0.1] beside max, "
            "undecided, 3 seeds (one)",
        ],
    }


def test_the_page_has_a_line_of_claims_for_each_operator_and_our_own_findings() -> None:
    _, _, section = PAGE.partition("## What articles claim, and what was found here")
    lines = {line.split("](")[0]: line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| [")}
    assert len(lines) == len(catalogue())
    for name, found in findings().items():
        assert all(one in lines[f"| [{name}"] for one in found)
