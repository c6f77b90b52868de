"""A report as one W&B run of the experiment's group: its tables, its figures, its page, its verdict in words.

Nothing is computed here: W&B knows neither pairing nor intervals of Student's t nor Holm's procedure.
"""

from collections.abc import Mapping
from typing import Any

from poolbench.loggers.mirror import Shown
from poolbench.loggers.reported import Reported, plain
from poolbench.loggers.session import Session
from poolbench.loggers.wandb_place import DISABLED, ONLINE, in_sweep, mode
from poolbench.loggers.wandb_tables import MOST_ROWS

REPORT = "report"
TITLE = "Difference to the reference, in the score's unit"
VERDICTS = (
    *("backbone", "dataset", "variant", "task", "score", "unit", "n_seeds", "score_mean", "score_ci95_low"),
    *("score_ci95_high", "difference_mean", "difference_ci95_low", "difference_ci95_high", "difference_p_holm"),
    *("margin", "verdict", "reference"),
)


def report_id(experiment: str) -> str:
    """Return the id of the run that shows an experiment's report."""
    return f"{REPORT}-{experiment.replace('/', '-')}"


def write_report(reported: Reported, session: Session, arguments: Mapping[str, Any]) -> None:
    """Write the report's run anew."""
    if mode(session, arguments) == DISABLED or in_sweep():
        return
    from poolbench.loggers.wandb_run import WandbRun

    given = {key: value for key, value in arguments.items() if key not in ("shown", "session", "name", "job_type")}
    experiment = reported.experiment
    shown = Shown(report_id(experiment), experiment, (REPORT,), reported.folder)
    one = WandbRun(shown, session, job_type=REPORT, **given)
    one.begin({"experiment": experiment, "question": reported.question}, revision=None)
    try:
        _fill(one, reported)
    except BaseException:
        one.close(1)
        raise
    one.close(0)


def _fill(one: Any, reported: Reported) -> None:
    import wandb

    run = one.run
    one.summary({"verdict": "\n".join(reported.words), "status": "ok"})
    verdicts = reported.arms[[name for name in VERDICTS if name in reported.arms.columns]]
    logged: dict[str, Any] = {"verdicts": _table(verdicts)}
    logged |= {f"tables/{name}": _table(table) for name, table in reported.tables.items() if len(table)}
    logged |= {f"figures/{name}": wandb.Image(str(path)) for name, path in reported.figures.items()}
    if reported.page.is_file():
        logged[REPORT] = wandb.Html(str(reported.page), inject=False)
    for name, value in logged.items():
        # Bound here a table is a file of the run alone, and no artifact that names the place where it lies now.
        value.bind_to_run(run, name, 0)
    compared = verdicts[verdicts["difference_mean"].notna()] if "difference_mean" in verdicts else verdicts[:0]
    if len(compared):
        chart = wandb.plot.bar(
            _table(compared.assign(arm=_arms(compared))[["arm", "difference_mean"]]),
            "arm",
            "difference_mean",
            title=TITLE,
        )
        chart.table.bind_to_run(run, "difference_table", 0)
        logged["difference"] = chart
    run.log(logged)


def _arms(verdicts: Any) -> Any:
    return verdicts["variant"] + " · " + verdicts["backbone"] + " · " + verdicts["dataset"]


def _table(frame: Any) -> Any:
    import wandb

    kept = frame.head(MOST_ROWS)
    rows: list[Any] = [
        [None if value is None or value != value else plain(value) for value in row]
        for row in kept.astype(object).where(kept.notna(), None).itertuples(index=False)
    ]
    return wandb.Table(columns=list(map(str, kept.columns)), data=rows, allow_mixed_types=True)


def add_columns(run_id: str, columns: Mapping[str, Any], session: Session, arguments: Mapping[str, Any]) -> bool:
    """Write an arm's columns into the summary of a cell's run on the server; return whether that is done.

    It is not where runs are kept offline, or the run is not there: then it is written whole.
    """
    chosen = mode(session, arguments)
    if in_sweep():
        return True
    if chosen != ONLINE:
        return chosen == DISABLED
    import wandb

    path = "/".join(part for part in (arguments.get("entity"), arguments.get("project"), run_id) if part)
    try:
        wandb.Api(timeout=10).run(path).summary.update(dict(columns))
    except Exception:
        return False
    return True
