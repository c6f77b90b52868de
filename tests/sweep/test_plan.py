"""A plan as files: what is written is what is read, without Hydra, and is still the cell when it is worked at."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Datasets
from poolbench.errors import ConfigurationError
from poolbench.paths import conf_dir
from poolbench.run.failed import write_unsupported
from poolbench.settings import Settings
from poolbench.sweep.asked import Asked
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import FrozenCell, PlanFolder, PlannedSweep
from poolbench.sweep.planning import Plan, plan_cells
from poolbench.sweep.state import file_digest, states
from poolbench.sweep.worker import thawed


def written(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def asked(pooling: str = "avg_topk", seed: int = 0, **dataset: Any) -> Asked:
    config = {
        "backbone": written("backbone", "lenet5"),
        "pooling": written("pooling", pooling),
        "head": None,
        "dataset": written("dataset", "digits") | {"image_size": 28} | dataset,
        "protocol": written("protocol", "default"),
        "trainer": {"accelerator": "cpu"},
        "seed": seed,
    }
    labels = {"backbone": "lenet5", "variant": pooling, "dataset": "digits"}
    return Asked(config, labels, written("pooling", "max"))


def plan(folder: Path, *cells: Asked) -> Plan:
    return plan_cells(cells, Settings(folder, "some/name", "max", command=("poolbench", "train")))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    made = plan(tmp_path, asked(), asked(seed=1), asked("gap"))
    frozen = [planned.frozen() for planned in made.cells]
    sweep = PlannedSweep(tuple(cell.identity.run_id for cell in frozen), 1, "keep", command=("poolbench", "train"))
    files = PlanFolder(tmp_path / "some" / "name")
    files.write(sweep, frozen)
    assert [files.cell(run_id) for run_id in sweep.run_ids] == frozen
    assert files.all_cells() == sorted(frozen, key=lambda cell: cell.identity.run_id)
    assert files.sweep(sweep.id) == replace(sweep, name=sweep.id)
    assert {path.stem for path in files.cells.iterdir()} == set(sweep.run_ids)


def test_a_record_that_the_last_command_replaces_does_not_count(tmp_path: Path) -> None:
    planned = plan(tmp_path, asked()).cells[0]
    write_unsupported(planned.cell, "it cannot be")
    files, cell = PlanFolder(tmp_path / "some" / "name"), planned.frozen()
    sweep = PlannedSweep((planned.run_id,), 1, "keep")
    files.write(sweep, [cell])
    assert [one.state for one in states(files, Claims(files.claims))] == ["unsupported"]
    forced = replace(sweep, again={planned.run_id: file_digest(planned.folder / "record.json")})
    files.write(forced, [cell])
    os.utime(files.sweeps / f"{sweep.id}.json", (0, 0))
    assert [one.state for one in states(files, Claims(files.claims))] == ["waiting"]
    write_unsupported(planned.cell, "it still cannot be")
    assert [one.reason for one in states(files, Claims(files.claims))] == ["it still cannot be"]


def test_reading_it_needs_neither_hydra_nor_torch(tmp_path: Path) -> None:
    made = plan(tmp_path, asked())
    files = PlanFolder(tmp_path / "some" / "name")
    files.write(PlannedSweep((), 1, "keep"), [made.cells[0].frozen()])
    code = (
        "import sys; from pathlib import Path; from poolbench.sweep.plan import PlanFolder\n"
        "print(PlanFolder(Path(sys.argv[1])).all_cells()[0].title)\n"
        "sys.exit(str({'torch', 'hydra', 'omegaconf', 'lightning'} & set(sys.modules) or ''))"
    )
    command = [sys.executable, "-c", code, str(files.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "lenet5 · avg_topk · digits · seed 0\n"
    assert done.stderr.strip() == ""


def test_a_frozen_cell_is_the_cell_again(tmp_path: Path) -> None:
    cell = plan(tmp_path, asked()).cells[0]
    content = json.loads(json.dumps(cell.frozen().content()))
    again = thawed(FrozenCell.of(content, tmp_path / "some" / "name"), Datasets())
    assert again.identity == cell.cell.identity
    assert again.config == cell.cell.config
    assert again.folder == cell.cell.folder
    assert again.protocol == cell.cell.protocol


def test_a_cell_whose_data_has_changed_is_not_worked_at(tmp_path: Path) -> None:
    frozen = plan(tmp_path, asked()).cells[0].frozen()
    with pytest.raises(ConfigurationError, match="its data or its code has changed"):
        thawed(replace(frozen, config={**frozen.config, "seed": 1}), Datasets())


def test_equal_cells_are_planned_once_and_their_arm_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    assemble = Cell.assemble

    def counting(self: Cell) -> Any:
        built.append(self.title)
        return assemble(self)

    monkeypatch.setattr(Cell, "assemble", counting)
    made = plan(tmp_path, asked(), asked(seed=1), asked(), asked("max"))
    assert [planned.cell.seed for planned in made.cells] == [0, 1, 0]
    assert built == ["lenet5 · avg_topk · digits · seed 0", "lenet5 · max · digits · seed 0"]
    assert made.cells[0].cell.dataset.load() is made.cells[2].cell.dataset.load()


def test_mistakes_in_several_cells_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as told:
        plan(tmp_path, asked(seed=-1), asked(image_size=0), asked())
    assert str(told.value).count("; and ") == 1  # one line, as every usage error
    assert "`seed`" in str(told.value)
    assert "image_size" in str(told.value)


def test_what_belongs_to_an_arm_is_found_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (planned.cell for planned in plan(tmp_path, asked(), asked(seed=1)).cells)
    arms = Arms(tmp_path / "arms")
    facts = arms.facts(one)
    assert facts["cost"]["parameters"] > 0
    monkeypatch.setattr(Cell, "assemble", lambda self: pytest.fail("built again"))
    assert arms.facts(other) is facts
    assert Arms(tmp_path / "arms").facts(other) == json.loads(json.dumps(facts))


@pytest.mark.parametrize("changed", ["code", "machine_id"])
def test_what_another_version_or_machine_found_of_an_arm_is_found_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    (planned,) = plan(tmp_path, asked()).cells
    facts = Arms(tmp_path / "arms").facts(planned.cell)
    (path,) = (tmp_path / "arms").glob("*.json")
    kept = json.loads(path.read_text())
    kept["found_by"][changed] = "another"
    path.write_text(json.dumps(kept | {"cost": {"parameters": 0}}))
    again = Arms(tmp_path / "arms").facts(planned.cell)
    assert again["cost"]["parameters"] == facts["cost"]["parameters"]


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    files = PlanFolder(tmp_path)
    files.cells.mkdir(parents=True)
    (files.cells / "x.json").write_text('{"schema": 99}')
    with pytest.raises(ConfigurationError, match="schema 99, this version reads 1"):
        files.cell("x")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        files.cell("y")
