"""The walk of one cell: data → network → training → measuring → record. Whatever happens, a record says so."""

import logging
import time
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import LoadedImages, Task, batch_digest, split_digest
from poolbench.errors import ClaimLost, Hung, Stopped, UnsupportedError, WriteError
from poolbench.kernels.compiled import COMPILED
from poolbench.loggers import Mirrors, exit_code
from poolbench.paths import PACKAGE
from poolbench.record import FINISHED, OUTCOMES_FILE, PICTURES_FILE, RECORD_FILE, is_finished, write_record
from poolbench.run.batches import Parts, as_evaluated, open_parts
from poolbench.run.description import blank, now, of_data, weight_digests
from poolbench.run.files import WEIGHTS_FILE, npz, save, weights
from poolbench.run.mirrors import close_unsaid, open_mirrors
from poolbench.run.under import Under
from poolbench.score import CLASSIFICATION
from poolbench.source import training_code
from poolbench.training import Checkpoints, remove_checkpoints
from poolbench.training.fit import fit, judge, seen_again
from poolbench.training.history import Fitted
from poolbench.training.kept_pictures import pictures

log = logging.getLogger(__name__)


def run_cell(cell: Cell, arms: Arms, under: Under | None = None) -> dict[str, Any]:
    """Train the cell, from its checkpoint where it has one, and return its record, which is written.

    A cell that fails, diverges, cannot be or calls `sys.exit` leaves a record that says why. A finished one has no
    checkpoints.

    Args:
        cell: nobody else is at it.
        arms: holds what is known of the cell's arm, and gets what is found.
        under: who follows it, who may end it, whether it may still write.

    Raises:
        Stopped, KeyboardInterrupt: asked to end; the record says `interrupted`, or an earlier one stays.
        ClaimLost: another process has taken the cell over; nothing is written from then on.
    """
    under = under or Under()
    if is_finished(cell.folder):
        # To be trained anew: checkpoints since then are of a training that was ended before it had a record.
        remove_checkpoints(cell.folder, until=(cell.folder / RECORD_FILE).stat().st_mtime)
    record = blank(cell, under.attempts)
    began, compiled = time.perf_counter(), COMPILED.seconds
    mirrors, ended = None, None
    try:
        mirrors = open_mirrors(cell, under)
        _train_and_measure(cell, arms, record, mirrors, under)
    except (Stopped, KeyboardInterrupt) as stop:
        record |= {"status": "interrupted", "reason": f"ended by {getattr(stop, 'signal_name', 'SIGINT')}"}
        ended = stop
    except ClaimLost:
        close_unsaid(mirrors)
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
        "ended": now(),
    }
    try:
        under.require()
    except ClaimLost:
        close_unsaid(mirrors)
        raise
    # A record of a training that was to be done anew stands until another takes its place; its checkpoint goes on.
    if ended is None or not is_finished(cell.folder):
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


def _train_and_measure(cell: Cell, arms: Arms, record: dict[str, Any], mirrors: Mirrors, under: Under) -> None:
    """Fill the record as things become known, so that what ends this leaves what there was."""
    protocol = cell.protocol
    began = time.perf_counter()
    parts = open_parts(cell)
    record["times"]["load_s"] = time.perf_counter() - began
    record["data"] = of_data(cell, parts)
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
    split_file = npz({"validation": parts.val_indices.numpy().astype(np.int32)})
    under.require()
    record["files"] = {
        WEIGHTS_FILE: save(cell.folder / WEIGHTS_FILE, weights(fitted.network)),
        OUTCOMES_FILE: save(cell.folder / OUTCOMES_FILE, npz(task.outcomes(kept) | _origins(parts.images))),
        "split.npz": save(cell.folder / "split.npz", split_file),
    }
    looked_at = pictures(fitted.network, parts.images.test, **where, **as_evaluated(cell, parts.images))
    if looked_at is not None:
        record["files"][PICTURES_FILE] = save(cell.folder / PICTURES_FILE, npz(looked_at))
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


def _selected(fitted: Fitted, task: Task) -> dict[str, float | int]:
    row, score = fitted.selected, f"val_{task.score.name}"
    return {
        score: row[score],
        "val_loss": row["val_loss"],
        "selected_epoch": fitted.selected_epoch,
        "epochs": len(fitted.history),
    }
