"""The walk of one cell: data → network → training → measuring → record. Whatever happens, a record says so."""

import io
import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Batches, LoadedImages, Task, batch_digest, resampled, split, split_digest
from poolbench.errors import ClaimLost, ConfigurationError, Hung, Stopped, UnsupportedError, WriteError
from poolbench.examples import ATTRIBUTE
from poolbench.kernels.compiled import COMPILED
from poolbench.loggers import Mirrors, Session, exit_code
from poolbench.measure.machine import allocator_in_force, machine, revision
from poolbench.own_code import own_code
from poolbench.paths import PACKAGE
from poolbench.record import (
    FINISHED,
    OUTCOMES_FILE,
    PICTURES_FILE,
    RECORD_FILE,
    SCHEMA,
    finished,
    write_bytes,
    write_record,
)
from poolbench.score import ACCURACY, CLASSIFICATION
from poolbench.source import training_code
from poolbench.training import (
    Checkpoints,
    Fitted,
    Progress,
    ShouldStop,
    fit,
    history_kept,
    judge,
    pictures,
    remove_checkpoints,
    seen_again,
)

log = logging.getLogger(__name__)

WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True)
class Parts:
    """A cell's batches: the training and validation parts of the training set, and the test set.

    `seen` is the training part once more, as evaluation sees it: in order, without augmentation.
    """

    images: LoadedImages
    train: Batches
    seen: Batches
    val: Batches
    test: Batches
    val_indices: Tensor


def open_parts(cell: Cell) -> Parts:
    """Load the cell's images, where they are not loaded yet, and lay out its batches."""
    images = cell.dataset.load()
    protocol = cell.protocol
    spec = cell.config["dataset"]
    train_indices, val_indices = split(cell.task.strata(images.train.labels), spec["val_fraction"], cell.seed)
    if spec.get("resample"):
        train_indices = resampled(train_indices, cell.seed)
    shared: dict[str, Any] = {"device": cell.device, **_as_evaluated(cell, images)}
    varied: dict[str, Any] = {"augment": spec.get("augment"), "shuffle": True, "move_targets": cell.task.move_targets}
    train = Batches(images.train, train_indices, protocol.batch_size, **varied, **shared)
    seen = Batches(images.train, train_indices, protocol.eval_batch_size, **shared)
    val = Batches(images.train, val_indices, protocol.eval_batch_size, **shared)
    test = Batches(images.test, torch.arange(len(images.test)), protocol.eval_batch_size, **shared)
    return Parts(images, train, seen, val, test, val_indices)


def _as_evaluated(cell: Cell, images: LoadedImages) -> dict[str, Any]:
    """Return how all batches of a cell are made, as `Batches` takes it."""
    layout = cell.protocol.torch_memory_format
    return {"mean": images.mean, "std": images.std, "memory_format": layout, "seed": cell.seed}


def is_finished(folder: Path) -> bool:
    """Whether a cell's record needs no second run. What could not be is tried again: its code may be another now."""
    done = finished(folder)
    return done is not None and done["status"] != "unsupported"


@dataclass(frozen=True)
class Under:
    """What a cell is trained under: who follows it, who may end it, and whether it may still write.

    Args:
        progress: receives how far the training is.
        should_stop: asked at each step; a text ends the training as `Stopped(text)`.
        may_write: asked before anything is written; false where another process has taken the cell over.
        attempts: those before whose process ended under them, for the record.
        over: told when the cell has ended and its record is about to be written.
        session: what the mirrors of this process share; None: they share nothing.
    """

    progress: Progress | None = None
    should_stop: ShouldStop | None = None
    may_write: Callable[[], bool] = lambda: True
    attempts: Sequence[Mapping[str, Any]] = ()
    over: Callable[[], None] = lambda: None
    session: Session | None = None

    def require(self) -> None:
        """Raise `ClaimLost` where nothing more may be written."""
        if not self.may_write():
            raise ClaimLost


def run_cell(cell: Cell, arms: Arms, under: Under | None = None) -> dict[str, Any]:
    """Train the cell, from its checkpoint where it has one, and return its record, which is written.

    A cell that fails, diverges, cannot be or calls `sys.exit` leaves a record that says why. A finished one has no
    checkpoints.

    Args:
        cell: nobody else is at it.
        arms: holds what is known of the cell's arm, and gets what is found.
        under: who follows it, who may end it, whether it may still write.

    Raises:
        Stopped, KeyboardInterrupt: asked to end; the record says `interrupted`.
        ClaimLost: another process has taken the cell over; nothing is written from then on.
    """
    under = under or Under()
    if is_finished(cell.folder):  # and to be trained anew
        remove_checkpoints(cell.folder)
    record = _blank(cell, under.attempts)
    began, compiled = time.perf_counter(), COMPILED.seconds
    mirrors, ended = None, None
    try:
        mirrors = _mirrors(cell, under)
        _train_and_measure(cell, arms, record, mirrors, under)
    except (Stopped, KeyboardInterrupt) as stop:
        record |= {"status": "interrupted", "reason": f"ended by {getattr(stop, 'signal_name', 'SIGINT')}"}
        ended = stop
    except ClaimLost:
        _close_unsaid(mirrors)
        raise
    except UnsupportedError as error:
        record |= {"status": "unsupported", "reason": str(error)}
    except Hung as error:
        record |= {"status": "failed", "reason": str(error), "traceback": traceback.format_exc()}
    except SystemExit as error:
        reason = f"its code called sys.exit({error.code!r})"
        record |= {"status": "failed", "reason": reason, "traceback": traceback.format_exc()}
    except Exception as error:
        trace = traceback.format_exc()
        record |= {"status": "failed", "reason": f"{type(error).__name__}: {error}", "traceback": trace}
        log.debug("%s failed:\n%s", cell.title, trace)
    under.over()
    record["times"] |= {
        "total_s": time.perf_counter() - began,
        "kernels_s": COMPILED.seconds - compiled,
        "ended": _now(),
    }
    try:
        under.require()
    except ClaimLost:
        _close_unsaid(mirrors)
        raise
    _leave(cell, record)
    # After the record, which no mirror may delay.
    if mirrors:
        mirrors.final(record)
        mirrors.close(exit_code=exit_code(record))
    if record["status"] in FINISHED:
        remove_checkpoints(cell.folder)
    if ended is not None:
        raise ended
    return record


def _leave(cell: Cell, record: dict[str, Any]) -> None:
    """Write the cell's record; where that cannot be, the cell has failed, whatever it reached."""
    try:
        write_record(cell.folder / RECORD_FILE, record)
    except WriteError as error:
        record |= {"status": "failed", "reason": f"its record is lost: {error}"}
        log.error("%s: %s", cell.title, record["reason"])


def write_unsupported(cell: Cell, reason: str) -> dict[str, Any]:
    """Write the record of a combination that cannot be."""
    record = _blank(cell) | {"status": "unsupported", "reason": reason}
    write_record(cell.folder / RECORD_FILE, record)
    return record


def write_failed(cell: Cell, reason: str, *, trace: str, under: Under) -> dict[str, Any]:
    """Write the record of a cell that cannot write it itself: its process ended under it, or it hangs.

    The history is what its last checkpoint holds. Raises `ClaimLost` where another process has taken the cell over.
    """
    record = _blank(cell, under.attempts) | {"status": "failed", "reason": reason, "traceback": trace}
    record["history"] = history_kept(cell.folder)
    record["times"]["ended"] = _now()
    under.require()
    write_record(cell.folder / RECORD_FILE, record)
    _mirror_failed(cell, record, under)
    return record


def _mirror_failed(cell: Cell, record: Mapping[str, Any], under: Under) -> None:
    """Show a cell that cannot show itself: where it hangs in this process its loggers are open, and know its epochs."""
    mirrors = under.session.open.get(cell.identity.run_id) if under.session else None
    if mirrors is None:
        mirrors = _mirrors(cell, under)
        for row in record["history"]:
            mirrors.row({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
    mirrors.final(record)
    mirrors.close(exit_code=exit_code(record))


def _close_unsaid(mirrors: Mirrors | None) -> None:
    """End the runs of a cell that another process has taken over, and shows."""
    if mirrors:
        mirrors.close(exit_code=1)


def _mirrors(cell: Cell, under: Under) -> Mirrors:
    """Return the cell's loggers, told its configuration."""
    mirrors = Mirrors(
        cell.settings.loggers or {},
        folder=cell.folder,
        run_id=cell.identity.run_id,
        experiment=cell.settings.name,
        tags=list(cell.labels.values()),
        session=under.session,
    )
    mirrors.config({**cell.config, "labels": dict(cell.labels)}, revision=_revision()[0])
    return mirrors


def _train_and_measure(cell: Cell, arms: Arms, record: dict[str, Any], mirrors: Mirrors, under: Under) -> None:
    """Fill the record as things become known, so that what ends this leaves what there was."""
    protocol = cell.protocol
    began = time.perf_counter()
    parts = open_parts(cell)
    record["times"]["load_s"] = time.perf_counter() - began
    record["data"] = {
        "sha256": parts.images.digest,
        "train_images": parts.train.images,
        "val_images": parts.val.images,
        "test_images": parts.test.images,
        "classes": list(parts.images.class_names),
        "mean": list(parts.images.mean),
        "std": list(parts.images.std),
        "notes": list(parts.images.notes),
        **_of_examples(cell, parts.images),
        **({} if parts.images.test_strata is None else {"strata": list(parts.images.test_strata.names)}),
    }
    network = cell.assemble().network
    cell.require_files()
    record |= arms.facts(cell)
    record["streams"] = {
        "split_sha256": split_digest(parts.val_indices),
        "first_batch_sha256": batch_digest(parts.train),
        "starting_weights": weight_digests(network),
    }
    fitted = Fitted(network)
    record["history"] = fitted.history
    try:
        fit(
            network,
            parts.train,
            parts.val,
            test=parts.test if protocol.test_each_epoch else None,
            protocol=protocol,
            trainer=cell.config.get("trainer") or {},
            seed=cell.seed,
            mirrors=mirrors,
            progress=under.progress,
            checkpoints=_checkpoints(cell, parts, record["provenance"], under),
            should_stop=under.should_stop,
            fitted=fitted,
            task=cell.task,
        )
    finally:
        record["times"]["train_s"] = fitted.spent_s
        record["provenance"]["resumed_epochs"] = fitted.resumed_epochs
        if len(fitted.places) > 1:
            record["provenance"]["places"] = fitted.places
    if fitted.diverged:
        record |= {"status": "diverged", "reason": fitted.diverged}
        return
    # The one time that the test set is read.
    task = cell.task
    where: dict[str, Any] = {"protocol": protocol, "device": cell.device, "task": task}
    kept = judge(fitted.network, parts.test, **where)
    if not all(torch.isfinite(values).all() for values in kept.values() if values.is_floating_point()):
        given = "logits" if task.name == CLASSIFICATION else "outputs"
        record |= {"status": "diverged", "reason": f"the selected weights give {given} that are no numbers"}
        return
    train_loss, train_score = seen_again(fitted.network, parts.seen, **where)
    of_training = {f"train_{task.score.name}": train_score, "train_loss": train_loss}
    record["metrics"] = task.metrics(kept, prefix="test_") | _selected(fitted, task) | of_training
    split_file = _npz({"validation": parts.val_indices.numpy().astype(np.int32)})
    under.require()
    record["files"] = {
        WEIGHTS_FILE: _save(cell, WEIGHTS_FILE, _weights(fitted.network)),
        OUTCOMES_FILE: _save(cell, OUTCOMES_FILE, _npz(task.outcomes(kept) | _origins(parts.images))),
        "split.npz": _save(cell, "split.npz", split_file),
    }
    looked_at = pictures(fitted.network, parts.images.test, **where, **_as_evaluated(cell, parts.images))
    if looked_at is not None:
        record["files"][PICTURES_FILE] = _save(cell, PICTURES_FILE, _npz(looked_at))
    record["status"] = "ok"


def _origins(images: LoadedImages) -> dict[str, np.ndarray]:
    """Return group and stratum of each test example, where they are known, under names that the report reads."""
    known = {"group": images.test_groups, "stratum": None if images.test_strata is None else images.test_strata.of}
    return {name: values.numpy().astype(np.int32) for name, values in known.items() if values is not None}


def _checkpoints(cell: Cell, parts: Parts, provenance: Mapping[str, Any], under: Under) -> Checkpoints:
    """Return the cell's checkpoints: its own where cell, images and the code that trains it are the same."""
    key = {"run_id": cell.identity.run_id, "images": parts.images.digest, **training_code(PACKAGE)}
    place = {name: provenance[name] for name in ("machine_id", "threads")}
    every_s = cell.protocol.checkpoint_every_s
    return Checkpoints(cell.folder, every_s=every_s, key=key, place=place, may_write=under.may_write)


def _of_examples(cell: Cell, images: LoadedImages) -> dict[str, Any]:
    """Return what a record says of examples that are not square images of uint8, as most are."""
    shape, dtype = cell.input_shape, images.train.gather(torch.zeros(1, dtype=torch.int64)).dtype
    square = len(shape) == 3 and shape[1] == shape[2]
    found: dict[str, Any] = {} if square else {"shape": list(shape)}
    if cell.design.example_named:
        found[ATTRIBUTE] = cell.design.example_named
    return found if dtype == torch.uint8 else found | {"dtype": str(dtype).removeprefix("torch.")}


def _selected(fitted: Fitted, task: Task) -> dict[str, float | int]:
    row, score = fitted.selected, f"val_{task.score.name}"
    return {
        score: row[score],
        "val_loss": row["val_loss"],
        "selected_epoch": fitted.selected_epoch,
        "epochs": len(fitted.history),
    }


def weight_digests(network: nn.Module) -> dict[str, str]:
    """Return a digest of each parameter by its name: equal digests are equal starting weights."""
    return {
        name: blake2b(parameter.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
        for name, parameter in network.named_parameters()
    }


def _weights(network: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _save(cell: Cell, name: str, content: bytes) -> str:
    write_bytes(cell.folder / name, content)
    return sha256(content).hexdigest()


def _blank(cell: Cell, attempts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a record of the cell that says what it is, and nothing yet of what came out."""
    ended = {"attempts": [dict(attempt) for attempt in attempts]} if attempts else {}
    return {
        "schema": SCHEMA,
        "run_id": cell.identity.run_id,
        "arm_id": cell.identity.arm_id,
        "block_id": cell.identity.block_id,
        "status": "failed",
        "reason": "",
        "experiment": cell.settings.name,
        "labels": dict(cell.labels),
        "reference": cell.settings.reference,
        "margin": cell.settings.margin,
        **_of_task(cell.task),
        "seed": cell.seed,
        "config": dict(cell.config),
        "metrics": {},
        "cost": {},
        "audit": {},
        "data": {},
        "history": [],
        "streams": {},
        "times": {"started": _now()},
        "provenance": provenance(cell.device)
        | {"command": list(cell.settings.command), "own_code": own_code(cell.config)}
        | ended,
        "files": {},
    }


def _of_task(task: Task) -> dict[str, Any]:
    """Return what a record says of its task; one of a classification says nothing, as all did once."""
    if (task.name, task.score) == (CLASSIFICATION, ACCURACY):
        return {}
    return {"task": {"name": task.name, "score": task.score.shown()}}


def provenance(device: torch.device) -> dict[str, Any]:
    """Return what was run, on what: versions, revision, machine, device, threads, allocator."""
    commit, dirty = _revision()
    return {
        "poolbench": version("poolbench"),
        "revision": commit,
        "dirty": dirty,
        **machine(device),
        "threads": torch.get_num_threads(),
        "allocator": allocator_in_force(),
    }


@lru_cache(maxsize=1)
def _revision() -> tuple[str | None, bool | None]:
    return revision(PACKAGE)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def evaluate(cell: Cell, folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Return the test metrics of the weights kept in `folder`, the record's files checked by digest.

    Raises `ConfigurationError` where the weights or the images are not those of the record.
    """
    try:
        content = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{folder / WEIGHTS_FILE} cannot be read: {error.strerror or error}") from error
    if sha256(content).hexdigest() != record["files"][WEIGHTS_FILE]:
        raise ConfigurationError(f"{folder / WEIGHTS_FILE} is not the file that the record names: its digest differs")
    parts = open_parts(cell)
    if parts.images.digest != record["data"]["sha256"]:
        raise ConfigurationError(f"the images of {cell.labels['dataset']} are not those of the record")
    network = cell.assemble().network
    network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    kept = judge(network, parts.test, protocol=cell.protocol, device=cell.device, task=cell.task)
    return cell.task.metrics(kept, prefix="test_")
