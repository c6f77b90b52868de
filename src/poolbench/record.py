"""One record: what one cell left behind. Its schema, its identity, how it is written and read.

A record is the folder `RESULTS_DIR/EXPERIMENT/records/RUN_ID/`: `record.json` holds the result; beside it are
`weights.pt` (the selected weights), `outcomes.npz` (each test example's outcome), `split.npz` (the validation indices)
and, where a task shows outputs, `pictures.npz` (a few test images with them). A file is written under a temporary name,
synced and renamed, so that a half-written one is never taken for a record. Speed is measured for an arm and a machine,
not for a seed: `RESULTS_DIR/EXPERIMENT/speed/ARM-MACHINE.json`.

The identity of a record is a digest of what determines its result: the configuration of backbone, pooling, head,
dataset, protocol and trainer, what the arm is matched with, the resolved kind of device and the seed. Where files lie,
loggers, launchers, checkpoints, the limit of time and the number of threads are not part of it; the last is in the
provenance.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError, OtherVersionError, WriteError
from poolbench.whole_file import replacing, unwritable

SCHEMA = 1
SEAL_DIGITS = 32
STATUSES = ("ok", "failed", "diverged", "interrupted", "unsupported")
RECORD_FILE = "record.json"
OUTCOMES_FILE = "outcomes.npz"
PICTURES_FILE = "pictures.npz"
# A digest of all else in the record: one that was edited by hand does not fit it.
SEAL = "seal"
# A cell that ended in one of these would end so again: it is not run a second time unasked.
FINISHED = ("ok", "diverged", "unsupported")
# One of these says how a cell ended; one that was interrupted goes on.
ENDED = ("ok", "failed", "diverged", "unsupported")

# Where a dataset lies and how it is fed changes no image; how often a cell is checkpointed, no weight.
NOT_IDENTITY: dict[str, frozenset[str]] = {
    "dataset": frozenset({"root", "download", "streaming", "memory_limit_mib", "workers", "step_ms"}),
    "protocol": frozenset({"checkpoint_every_s", "time_limit", "attempts"}),
    "trainer": frozenset(
        {
            *("accelerator", "devices", "num_nodes"),
            *("enable_progress_bar", "enable_model_summary", "profiler", "detect_anomaly"),
        }
    ),
}
# Settings that came later, by dotted key: at these values a cell is what it was before there were any.
CAME_LATER: dict[str, Mapping[str, Any]] = {
    "protocol": {"test_each_epoch": False},
    "pooling": {"head.groups": None},
    "head": {"groups": None},
}
# What a cell is configured by, each a folder of conf/.
GROUPS = ("backbone", "pooling", "head", "dataset", "protocol", "trainer")
REQUIRED = ("schema", "run_id", "arm_id", "block_id", "status", "reason", "labels", "config", "metrics", "seed")


@dataclass(frozen=True)
class Identity:
    """What a cell is, by digests: `run` of everything, `arm` without the seed, `block` of backbone and dataset."""

    run_id: str
    arm_id: str
    block_id: str


@dataclass(frozen=True)
class Problem:
    """A file that could not be taken for a record, and why."""

    path: Path
    reason: str


def digest(content: Any, length: int = 12) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `content` as canonical JSON.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def identify(
    config: Mapping[str, Any],
    labels: Mapping[str, str],
    *,
    fingerprint: str,
    device: str,
    own_code: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Identity:
    """Return the identity of the cell of this resolved `config`.

    `fingerprint` stands for the dataset's content, `device` is the resolved kind (`cpu`, `cuda`), `own_code` holds a
    digest of the source of each class that is the user's own: edited, it is another arm. `files` holds a digest of the
    content of each file that the configuration names, by its key: trained weights are part of the backbone, so other
    ones are another block.
    """
    what: dict[str, Any] = {group: identifying(group, config.get(group) or {}) for group in GROUPS}
    what["content"], what["device"] = fingerprint, device
    if config.get("match"):
        what["match"] = config["match"]
    if own_code:
        what["own_code"] = dict(own_code)
    block = {key: what[key] for key in ("backbone", "dataset", "content")}
    if files:
        what["files"] = dict(files)
        started_from = {key: value for key, value in files.items() if key.startswith("backbone.")}
        block |= {"files": started_from} if started_from else {}
    block_id = digest(block)
    arm_id = digest(what)
    seed = int(config["seed"])
    run_digest = digest({"arm": arm_id, "seed": seed})
    readable = "-".join(_slug(labels[key]) for key in ("backbone", "variant", "dataset"))
    return Identity(run_id=f"{readable}-s{seed}-{run_digest}", arm_id=arm_id, block_id=block_id)


def title(labels: Mapping[str, str], seed: int | None = None) -> str:
    """Return what these labels name, in a line.

    >>> title({"backbone": "slides", "variant": "max", "dataset": "digits"}, 3)
    'slides · max · digits · seed 3'
    """
    parts = [labels["backbone"], labels["variant"], labels["dataset"]]
    return " · ".join(parts if seed is None else [*parts, f"seed {seed}"])


def identifying(group: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group of the configuration that are part of a cell's identity.

    >>> identifying("protocol", {"epochs": 3, "attempts": 2, "test_each_epoch": False})
    {'epochs': 3}
    >>> identifying("pooling", {"head": {"per": "layer", "groups": None}})
    {'head': {'per': 'layer'}}
    """
    left_out = NOT_IDENTITY.get(group, frozenset())
    found = {key: value for key, value in settings.items() if key not in left_out}
    for key, value in CAME_LATER.get(group, {}).items():
        found = _without(found, key.split("."), value)
    return found


def _without(settings: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return settings without the one at `path` where it has this value."""
    first, *rest = path
    inner = settings.get(first)
    if rest:
        return settings | {first: _without(dict(inner), rest, value)} if isinstance(inner, Mapping) else settings
    return {key: old for key, old in settings.items() if not (key == first and old == value)}


def _slug(label: str, longest: int = 40) -> str:
    """Return `label` as part of a file name: whatever a label holds, the digest behind it keeps names apart."""
    return re.sub(r"[^A-Za-z0-9_.+=]+", "_", label).strip("_.")[:longest] or "x"


def records_folder(results_dir: str | Path, name: str) -> Path:
    """Return the folder that holds the records of the experiment `name`."""
    return Path(results_dir) / name / "records"


def speed_folder(results_dir: str | Path, name: str) -> Path:
    """Return the folder that holds the speed records of the experiment `name`."""
    return Path(results_dir) / name / "speed"


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file whole or not at all, its folder made where it is missing; `sync` as for `replacing`.

    Raises `WriteError` where it cannot be written; what was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, sync=sync) as file:
            file.write(content)
    except OSError as error:
        raise WriteError(unwritable(path, error, len(content))) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON that any reader takes: a value that is not finite becomes null."""
    write_bytes(path, (json.dumps(_finite(content), indent=1, allow_nan=False) + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _sealed(record: Mapping[str, Any]) -> str | None:
    """Return the seal that fits a record; None for one that the program would never have written."""
    try:
        return digest(record, SEAL_DIGITS)
    except ValueError:  # a number that is not finite
        return None


def read_record(path: Path) -> dict[str, Any]:
    """Read one `record.json`; raise `ConfigurationError` that says why it is not a record."""
    record = read_json(path)
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise ConfigurationError(f"{path}: not a record: no {', '.join(missing)}")
    if record["schema"] != SCHEMA:
        raise OtherVersionError(f"{path}: schema {record['schema']!r}, this version reads {SCHEMA}")
    if record["status"] not in STATUSES:
        raise ConfigurationError(f"{path}: unknown status {record['status']!r}, not one of {', '.join(STATUSES)}")
    if record["run_id"] != path.parent.name:
        raise ConfigurationError(f"{path}: holds the run {record['run_id']!r}, its folder another: copied by hand?")
    seal = record.pop(SEAL, None)
    # Records of the first versions have no seal.
    if seal is not None and seal != _sealed(record):
        raise ConfigurationError(f"{path}: its content is not what was written: edited by hand?")
    return record


def epoch_rows(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a record's rows of epochs, without what is none in a file that was edited.

    >>> epoch_rows({"history": [{"epoch": 0}, "text"]}), epoch_rows({"history": None})
    ([{'epoch': 0}], [])
    """
    found = record.get("history")
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("epoch"), int)]


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the record in the run's `folder` if it is whole and its cell needs no second run, else None.

    Whole: its files hold what it names, by digest.
    """
    try:
        record = read_record(folder / RECORD_FILE)
    except (ConfigurationError, OSError):
        return None
    if record["status"] not in FINISHED:
        return None
    return None if damaged_files(folder, record) else record


def is_finished(folder: Path) -> bool:
    """Whether a cell's record needs no second run. What could not be is tried again: its code may be another now."""
    done = finished(folder)
    return done is not None and done["status"] != "unsupported"


def damaged_files(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the files that a record names, by name: missing, unreadable, or of another content."""
    found = {}
    for name, expected in (record.get("files") or {}).items():
        try:
            with (folder / name).open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == expected
        except FileNotFoundError:
            found[name] = f"{name} is missing"
        except OSError as error:
            found[name] = f"{name} cannot be read: {error.strerror or error}"
        else:
            if not same:
                found[name] = f"{name} is not the file that the record names"
    return found


def read_records(folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Read all records of an experiment's `folder`, ordered by run, and name what could not be read."""
    return _read_all(sorted(folder.glob(f"records/*/{RECORD_FILE}")), read_record)


def read_speeds(folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Read all speed records of an experiment's `folder`, ordered by name, and name what could not be read."""
    return _read_all(sorted(folder.glob("speed/*.json")), read_speed)


def read_speed(path: Path) -> dict[str, Any]:
    """Read a speed record; raise `ConfigurationError` where it is none of this schema."""
    speed = read_json(path)
    missing = [key for key in ("schema", "arm_id", "machine_id", "quantities", "labels") if key not in speed]
    if missing or speed["schema"] != SCHEMA:
        raise ConfigurationError(f"{path}: not a speed record of schema {SCHEMA}")
    return speed


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record.json`, sealed by a digest of its content."""
    content = _finite({key: value for key, value in record.items() if key != SEAL})
    write_json(path, {**content, SEAL: _sealed(content)})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; raise `ConfigurationError` that says why it does not."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not whole JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def _read_all(paths: Iterable[Path], read: Any) -> tuple[list[dict[str, Any]], list[Problem]]:
    whole, problems = [], []
    for path in paths:
        try:
            whole.append(read(path))
        except (ConfigurationError, OSError) as error:
            problems.append(Problem(path, str(error)))
    return whole, problems
