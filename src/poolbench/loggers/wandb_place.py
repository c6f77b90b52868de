"""Where W&B works and how: its folders inside the experiment's, offline or not, found out once for a sweep."""

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolbench.loggers.line import within
from poolbench.loggers.session import Session

WANDB = "wandb"
ONLINE, OFFLINE, DISABLED = "online", "offline", "disabled"
# The server must answer within this, in seconds; init and finish of a run take at most their own.
LOOK_S, INIT_S, FINISH_S, END_S = 10.0, 8.0, 6.0, 5.0
# Of the name of a project, a group or a run.
LONGEST_NAME = 128
KEY = re.compile(r"\b(?:wandb_v1_\w+|[0-9a-fA-F]{32,})\b")


def prepare(session: Session) -> Path:
    """Let W&B write inside the experiment's folder, where the user has not said otherwise; return where runs lie.

    Raises `OSError` where that cannot be written: W&B would take the system's temporary folder, and say nothing.
    """
    with session.lock:
        inside = session.folder / "wandb"
        session.environment.default(
            {
                "WANDB_DIR": str(session.folder),
                "WANDB_DATA_DIR": str(inside / "data"),
                "WANDB_CACHE_DIR": str(inside / "cache"),
                "WANDB_CONFIG_DIR": str(inside / "config"),
                "WANDB_SILENT": "true",
                # Else it looks its server up, offline too.
                "WANDB_ERROR_REPORTING": "false",
            }
        )
        session.at_end(WANDB, lambda: _end(session))
        runs = Path(os.environ["WANDB_DIR"]).expanduser().absolute() / "wandb"
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
        return runs


def mode(session: Session, arguments: Mapping[str, Any]) -> str:
    """Return `online`, `offline` or `disabled`; found out by the first that asks, with one look at the server.

    Why it is offline, where the runs are and what sends them later is said once.
    """
    with session.lock:
        if WANDB not in session.decided:
            runs = prepare(session)
            found, reason = _found_out(session, arguments)
            session.decided[WANDB] = found
            if found == OFFLINE:
                session.say_once(kept_offline(runs, reason))
        return session.decided[WANDB]


def group_of(asked: str | None, experiment: str) -> str:
    """Return the group that an experiment's runs are in: its name, unless `logger.wandb.group` gives another."""
    return (asked or experiment)[:LONGEST_NAME]


def in_sweep() -> bool:
    """Whether an agent of a W&B sweep has started this process: it gave the one run here its id."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def go_offline(session: Session, error: Exception) -> None:
    """Keep this process's further runs offline: the server did not take one."""
    with session.lock:
        if session.decided.get(WANDB) != OFFLINE:
            session.decided[WANDB] = OFFLINE
            session.say_once(kept_offline(prepare(session), in_words(f"{type(error).__name__}: {error}")))
    # The service still holds the run that the server did not take, and would not begin it again.
    within(END_S, _teardown)


def kept_offline(runs: Path, reason: str) -> str:
    """Return what is said of runs that are kept offline."""
    folder, quoted = (shlex.quote(str(path)) for path in (runs.parent, runs))
    return (
        f"W&B: runs are kept offline ({reason}) in {runs}; to send them later: make wandb-sync RESULTS={folder} "
        f"(or, without make: wandb sync --yes --include-online {quoted})"
    )


def _found_out(session: Session, arguments: Mapping[str, Any]) -> tuple[str, str]:
    asked = os.environ.get("WANDB_MODE")
    if arguments.get("mode") == DISABLED or asked == DISABLED:
        return DISABLED, ""
    if arguments.get("offline") or arguments.get("mode") == OFFLINE:
        return OFFLINE, "as logger.wandb asks"
    if asked in (OFFLINE, "dryrun"):
        return OFFLINE, "as WANDB_MODE asks"
    reason = hindrance(str(arguments.get("entity") or os.environ.get("WANDB_ENTITY") or ""))
    return (OFFLINE, reason) if reason else (ONLINE, "")


def hindrance(entity: str) -> str:
    """Look at the server once, for a bounded time; return in a line what hinders, empty where nothing does."""
    import wandb  # noqa: F401  # beforehand: the seconds that this takes are not the server's

    reason = within(LOOK_S, lambda: _looked(entity))
    return in_words(f"the server did not answer within {LOOK_S:.0f} s" if reason is None else reason)


def _looked(entity: str) -> str:
    import wandb

    if wandb.setup().settings.mode in (OFFLINE, "dryrun"):
        return "as W&B's settings ask"
    if not wandb.login(prompt=False, verify=False):
        return "no API key"
    viewer = wandb.Api(timeout=int(LOOK_S / 2)).viewer
    known = {viewer.entity, viewer.username, *viewer.teams} - {None, ""}
    if entity and entity not in known:
        return f"unknown entity {entity!r}; the key belongs to {', '.join(sorted(map(str, known))) or 'nobody'}"
    return ""


def default_entity() -> str:
    """Return the user or team that the key belongs to."""
    import wandb

    return str(wandb.Api(timeout=int(LOOK_S / 2)).default_entity or "")


def in_words(reason: str) -> str:
    """Return a reason in a line of bounded length, without any key in it."""
    text = " ".join(KEY.sub("…", reason).split())
    for secret in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        value = os.environ.get(secret)
        if value:
            text = text.replace(value, "…")
    return text if len(text) <= 300 else f"{text[:299]}…"


def _end(session: Session) -> None:
    """End W&B's service, so that the next experiment begins with its own folders."""
    hooks = sys.exit, sys.excepthook
    if "wandb" in sys.modules and within(END_S, _teardown) is None:
        session.say_once(f"W&B did not end within {END_S:.0f} s; the records are not affected")
    # W&B puts hooks of its own around these, and does not take them away.
    sys.exit, sys.excepthook = _without_wandb(hooks)


def _teardown() -> str:
    import wandb

    wandb.teardown()
    return ""


def _without_wandb(hooks: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return what stood in the place of W&B's hooks."""
    ours = getattr(hooks[0], "__self__", None)
    if ours is None or not type(ours).__module__.startswith("wandb."):
        return hooks
    return ours._orig_exit, ours._orig_excepthook or sys.__excepthook__
