"""What is known of an experiment before its runs: how much differences vary, from a pilot or from published figures."""

from dataclasses import dataclass
from pathlib import Path

from poolbench.experiment import Experiment
from poolbench.report.reading.arms import group
from poolbench.report.reading.loading import load
from poolbench.report.reading.scores import mean_of, of_block
from poolbench.report.statistics.comparison import compare_blocks
from poolbench.report.statistics.power import Variances


@dataclass(frozen=True)
class Pilot:
    """What is known of one block before its runs.

    Args:
        name: as its table is headed.
        variances: of a difference, in the score's unit, squared; None: the records do not show them.
        images: of the test set; None: they do not count.
        arms: beside the reference, with records; None: not known.
        mean: of the reference, where a difference is a share of it; None: it is in points.
    """

    name: str
    variances: Variances | None
    images: int | None = None
    arms: int | None = None
    mean: float | None = None


def of_records(folder: Path) -> list[Pilot]:
    """Return what the records of an experiment's folder show, block by block."""
    loaded = load(folder)
    blocks, _ = group(loaded.records)
    compared = compare_blocks(blocks, loaded.outcomes)
    pilots = []
    for block in blocks:
        differences = [found for arm in block.arms if (found := compared[arm.arm_id].found) is not None]
        try:
            variances = Variances.of_pilot(differences)
        except ValueError:  # no arm with 2 seeds that vary
            variances = None
        references = {id(arm.reference): arm.reference for arm in block.arms if arm.reference is not None}.values()
        mean = mean_of(record for reference in references for record in reference.finished.values())
        pilots.append(
            Pilot(
                f"{folder}, {block.title}",
                variances,
                images=next((one.images for one in differences if one.images), None),
                arms=len(differences),
                mean=abs(mean) if of_block(block)[1].margin_is_relative else None,
            )
        )
    return pilots


def of_published(experiment: Experiment, *, correlation: float, disagreement: float) -> list[Pilot]:
    """Return what an experiment's published standard deviations say: the first of each network and data set.

    Raises:
        ValueError: correlation or disagreement is outside its range.
    """
    found: dict[tuple[str, str], Pilot] = {}
    for figure in experiment.published:
        if figure.test_accuracy_std:
            name = f"{figure.source}: {figure.variant} of {figure.backbone} on {figure.dataset}"
            variances = Variances.of_published(
                figure.test_accuracy_std, correlation=correlation, disagreement=disagreement
            )
            found.setdefault((figure.backbone, figure.dataset), Pilot(name, variances))
    return list(found.values())
