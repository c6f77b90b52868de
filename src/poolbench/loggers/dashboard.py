"""A W&B workspace and a W&B report of an experiment, from its records: what each panel shows, and nothing computed.

W&B has no interval of Student's t, no pairing and no correction for the number of arms. What rests on them comes from
the project's own tables: as the table `verdicts` and a chart of it in the run of the report (see
`poolbench.loggers.wandb_report`), and as words.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

with warnings.catch_warnings():
    # wandb-workspaces uses pydantic in a way that newer pydantic deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

from poolbench.loggers.wandb_report import TITLE
from poolbench.score import ACCURACY, Score

VARIANT = "labels.variant"
WIDTH, HEIGHT = 12, 8
COLUMNS = (
    *("run:state", f"config:{VARIANT}", "config:labels.backbone", "config:labels.dataset", "config:seed"),
    *("summary:{score}", "summary:difference_mean", "summary:verdict", "summary:parameters"),
    *("summary:training_ratio", "summary:status"),
)
NO_INTERVAL = (
    "The spread that W&B draws is a standard deviation or error over runs. It is no interval of the comparison: that, "
    "paired by seed and corrected by Holm's procedure, is in the table of verdicts."
)


@dataclass(frozen=True)
class Dashboard:
    """What a dashboard is made of.

    Args:
        experiment: the experiment's name.
        project: W&B's project.
        entity: the user or team; empty: not known, where nothing is saved.
        group: that its runs are in.
        question: what it asks; empty: not said.
        words: the verdict in words.
        failed: cells without a result, a line each.
        baseline: the run of the reference that others are set beside; empty: there is none.
        measured: whether speed was measured.
        score: the primary score of the experiment's task.
    """

    experiment: str
    project: str
    entity: str
    group: str
    question: str
    words: Sequence[str]
    failed: Sequence[str]
    baseline: str
    measured: bool
    score: Score = ACCURACY

    def workspace(self) -> ws.Workspace:
        """Return the workspace: a section for each question."""
        return ws.Workspace(
            entity=self.entity,
            project=self.project,
            name=f"poolbench: {self.experiment}",
            sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in self._sections().items()],
            settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
            runset_settings=ws.RunsetSettings(
                filters=self._group(),
                order=[ws.Ordering(ws.Summary(self._test), ascending=self.score.sign < 0)],
                pinned_columns=[column.format(score=self._test) for column in COLUMNS],
                baseline_run=self.baseline or None,
            ),
        )

    def report(self, *, found: bool = True) -> wr.Report:
        """Return the report: question, verdict in words, then the same panels.

        Args:
            found: whether its runs are those of the entity's project, which the server is asked for.
        """
        where: dict[str, Any] = {"entity": self.entity, "project": self.project} if found and self.entity else {}
        runset = wr.Runset(name=self.experiment, filters=self._group(), **where)
        blocks: list[Any] = []
        if self.question:
            blocks += [wr.H2("Question"), wr.P(self.question)]
        blocks += [wr.H2("Verdict"), wr.UnorderedList(items=list(self.words) or ["Nothing was compared."])]
        for name, panels in self._sections().items():
            blocks += [wr.H2(name), wr.PanelGrid(runsets=[runset], panels=panels)]
        return wr.Report(
            project=self.project,
            entity=self.entity,
            title=f"poolbench: {self.experiment}",
            description=self.question,
            blocks=blocks,
            width="fluid",
        )

    def specification(self) -> dict[str, Any]:
        """Return what would be saved, as plain values; no server is asked."""
        # Both give their plain form by a private method alone; a test holds it to its fields.
        workspace, report = self.workspace()._to_model(), self.report(found=False)._to_model()
        return {
            "workspace": json.loads(workspace.model_dump_json(by_alias=True)),
            "report": json.loads(report.model_dump_json(by_alias=True)),
        }

    def _group(self) -> str:
        """Return the filter that leaves the experiment's runs, cells and report, in the language of Python."""
        return f"Metric('Group') == {self.group!r}"

    @property
    def _test(self) -> str:
        return f"test_{self.score.name}"

    def _sections(self) -> Mapping[str, list[Any]]:
        spread: dict[str, Any] = {"groupby": wr.Config(VARIANT), "groupby_aggfunc": "mean"}
        curve: dict[str, Any] = {"x": "epoch", **spread, "groupby_rangefunc": "stderr", "smoothing_factor": 0.0}
        verdict = "\n".join(f"- {line}" for line in self.words) or "Nothing was compared."
        words = self.score.words
        title = words[:1].upper() + words[1:]
        failed = "\n".join(f"- {line}" for line in self.failed) or "No cell failed."
        return {
            "Verdicts": _placed(wr.MarkdownPanel(markdown=verdict), wr.WeavePanelSummaryTable(table_name="verdicts")),
            f"{title} by variant, with its spread over seeds": _placed(
                wr.BarPlot(
                    title=f"Test {words}: mean and standard deviation over seeds",
                    metrics=[wr.SummaryMetric(self._test)],
                    orientation="h",
                    **spread,
                    groupby_rangefunc="stddev",
                ),
                wr.MarkdownPanel(markdown=NO_INTERVAL),
            ),
            "Paired difference to the reference": _placed(
                wr.CustomChart(
                    query={"summaryTable": {"tableKey": "difference_table"}},
                    chart_name="wandb/bar/v0",
                    chart_fields={"label": "arm", "value": "difference_mean"},
                    chart_strings={"title": TITLE},
                ),
                wr.BarPlot(
                    title="Difference to the reference (each arm's, from the tables)",
                    metrics=[wr.SummaryMetric("difference_mean")],
                    orientation="h",
                    **spread,
                    groupby_rangefunc="none",
                ),
            ),
            f"{title} against speed and parameters": _placed(
                wr.ScatterPlot(
                    title=f"Test {words} against training speed (ratio to the reference)",
                    x=wr.SummaryMetric("training_ratio"),
                    y=wr.SummaryMetric(self._test),
                )
                if self.measured
                else wr.MarkdownPanel(markdown="Speed was not measured: `speed.measure=true` does."),
                wr.ScatterPlot(
                    title=f"Test {words} against parameters",
                    x=wr.SummaryMetric("parameters"),
                    y=wr.SummaryMetric(self._test),
                    log_x=True,
                ),
            ),
            "Learning curves by variant, with standard error": _placed(
                wr.LinePlot(title=f"Validation {words}", y=[f"val_{self.score.name}"], title_x="epoch", **curve),
                wr.LinePlot(title="Training loss", y=["train_loss"], title_x="epoch", **curve),
            ),
            "Failed cells": _placed(
                wr.MarkdownPanel(markdown=failed),
                wr.BarPlot(
                    title="Cells that failed, by variant",
                    metrics=[wr.SummaryMetric("n_failed"), wr.SummaryMetric("n_diverged")],
                    orientation="h",
                    groupby=wr.Config(VARIANT),
                    groupby_aggfunc="max",
                    groupby_rangefunc="none",
                ),
            ),
        }


def _placed(*panels: Any) -> list[Any]:
    """Return panels side by side."""
    for number, panel in enumerate(panels):
        panel.layout = wr.Layout(x=number * WIDTH, y=0, w=WIDTH, h=HEIGHT)
    return list(panels)
