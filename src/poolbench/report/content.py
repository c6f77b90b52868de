"""What a report says, before it is written anywhere: terminal, Markdown, LaTeX, figures and page are views of this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from poolbench.experiment import Experiment
from poolbench.record import Problem
from poolbench.report.reading.arms import Block, Record
from poolbench.report.reading.comparability import NotCompared
from poolbench.report.reading.pictures import pictures_of
from poolbench.report.statistics.across import Across
from poolbench.report.statistics.over_blocks import OverBlocks
from poolbench.report.tables.frames import with_scores
from poolbench.report.text.views import View, rows_by_arm


@dataclass(frozen=True)
class Content:
    """Everything that a report holds.

    Args:
        folder: the results folder.
        experiment: its question, and what others published about it.
        blocks: backbones × datasets with their arms and records, in order.
        tables: `accuracy`, `parameters`, `throughput`, `summary`, `scores`, `metrics`, `over_blocks`, `across` and
            `pairs`, without rows where there is nothing to table; and only where there is, `published`,
            `best_test_epoch`, `beside`, `networks`, `strata` and `tuned`. The columns of each are those of
            `poolbench.report.tables.columns`.
        over_blocks: what holds for the mean over the blocks, an arm each.
        across: what holds over all data sets.
        rule: by which looks verdicts were reached, where these were declared; empty: by all seeds at once.
        head: how the tables are to be read, a sentence each.
        spoken: the verdict as a person would say it, three sentences at most.
        words: the verdict in words, a sentence for all blocks and for each.
        tuning: what tuning changed, a sentence a block; empty: nothing was tuned.
        views: the blocks as tables for people.
        over_view: the mean over the blocks as such a table; None where there are not several.
        pairing: what equal seeds gained, a sentence a block.
        warnings: what a reader must know before comparing.
        not_compared: cells that did not finish.
        problems: files that could not be read.
        records: how many records count.
    """

    folder: Path
    experiment: Experiment
    blocks: list[Block]
    tables: Mapping[str, pd.DataFrame]
    over_blocks: tuple[OverBlocks, ...]
    across: Across
    rule: str
    head: list[str]
    spoken: list[str]
    words: list[str]
    tuning: list[str]
    views: list[View]
    over_view: View | None
    pairing: list[str]
    warnings: list[str]
    not_compared: list[NotCompared]
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of the summary, with their scores, by the digest of their arm."""
        return rows_by_arm(with_scores(self.tables))

    @cached_property
    def has_pictures(self) -> bool:
        """Whether test images, with what a cell made of them, lie beside its record and can be shown."""
        return any(pictures_of(self.folder, arm) is not None for block in self.blocks for arm in block.arms)

    @property
    def shown_as(self) -> str:
        """The name by which loggers were shown the cells: `study/one` where folders are nested."""
        return next((str(name) for record in self.records if (name := record.get("experiment"))), self.experiment.name)

    @property
    def records(self) -> list[Record]:
        """All records that count, block by block, arm by arm, by seed."""
        return [record for block in self.blocks for arm in block.arms for record in arm.records.values()]
