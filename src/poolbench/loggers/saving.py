"""A dashboard made of an experiment's records, and saved in W&B."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.loggers.dashboard import Dashboard
from poolbench.loggers.line import within
from poolbench.loggers.session import Session
from poolbench.loggers.wandb_place import default_entity, group_of, hindrance, in_words, prepare
from poolbench.score import ACCURACY, task_of

SAVE_S = 60.0


def dashboard_of(
    *,
    experiment: str,
    question: str,
    words: Sequence[str],
    failed: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    project: str,
    entity: str,
    group: str | None,
    measured: bool,
) -> Dashboard:
    """Return the dashboard; its baseline is the reference's first finished run."""
    references = [
        record["run_id"]
        for record in sorted(records, key=lambda record: record["seed"])
        if record["status"] == "ok" and record["labels"]["variant"] == record.get("reference")
    ]
    return Dashboard(
        experiment=experiment,
        project=project,
        entity=entity,
        group=group_of(group, experiment),
        question=question,
        words=tuple(words),
        failed=tuple(failed),
        baseline=references[0] if references else "",
        measured=measured,
        score=task_of(records[0])[1] if records else ACCURACY,
    )


def save(dashboard: Dashboard, folder: Path) -> list[str]:
    """Save workspace and report in W&B; return where they are.

    Raises `ConfigurationError` where there is no key, the server does not answer, or it refuses.
    """
    addresses: list[str] = []
    with Session(folder) as session:
        try:
            prepare(session)
        except OSError as error:
            raise ConfigurationError(
                f"the dashboard cannot be saved ({error.strerror or error}): W&B writes in {folder}, or where "
                "WANDB_DIR says"
            ) from error
        if reason := hindrance(dashboard.entity):
            raise ConfigurationError(
                f"the dashboard cannot be saved ({reason}): it needs a key (wandb login, or WANDB_API_KEY) "
                "and the server; --dry-run prints what would be saved"
            )

        def saved() -> str:
            whole = dashboard if dashboard.entity else replace(dashboard, entity=default_entity())
            workspace = whole.workspace()
            workspace.save()
            addresses.append(workspace.url)
            report = whole.report()
            report.save()
            addresses.append(report.url)
            return ""

        refused = within(SAVE_S, saved)
        if refused is None or refused:
            why = in_words(refused or f"it took longer than {SAVE_S:.0f} s")
            saved_before = f"; the workspace was: {addresses[0]}" if addresses else ""
            raise ConfigurationError(f"the dashboard could not be saved: {why}{saved_before}")
    return addresses
