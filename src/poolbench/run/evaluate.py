"""The test metrics of weights that are kept, computed again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.run.batches import open_parts
from poolbench.run.files import load_kept_weights
from poolbench.training.fit import judge


def evaluate(cell: Cell, folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Return the test metrics of the weights kept in `folder`, the record's files checked by digest.

    Raises `ConfigurationError` where the weights or the images are not those of the record.
    """
    network = cell.assemble().network
    load_kept_weights(network, folder, record)
    parts = open_parts(cell)
    if parts.images.digest != (announced := record["data"]["sha256"]):
        raise ConfigurationError(
            f"the images of {cell.labels['dataset']} are not those of the record: their digest is "
            f"{parts.images.digest[:12]}…, the record's {announced[:12]}…; give the data of its training by --root"
        )
    kept = judge(network, parts.test, protocol=cell.protocol, device=cell.device, task=cell.task)
    return cell.task.metrics(kept, prefix="test_")
