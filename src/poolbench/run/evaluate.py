"""The test metrics of weights that are kept, computed again."""

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.run.batches import open_parts
from poolbench.run.files import WEIGHTS_FILE
from poolbench.training.fit import judge


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
