"""The files beside a record: weights and arrays as bytes, each written whole and named by its digest."""

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from poolbench.errors import ConfigurationError
from poolbench.record import write_bytes

WEIGHTS_FILE = "weights.pt"


def weights(network: nn.Module) -> bytes:
    """Return the network's parameters and buffers as the bytes of a file for `torch.load`."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as the bytes of a compressed file for `np.load`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def save(path: Path, content: bytes) -> str:
    """Write a file whole, and return its digest (SHA-256)."""
    write_bytes(path, content)
    return sha256(content).hexdigest()


def load_kept_weights(network: nn.Module, folder: Path, record: Mapping[str, Any]) -> None:
    """Give a network the weights that are kept beside a record.

    Raises:
        ConfigurationError: the file is not there, is not the one that the record names, or does not fit the network.
    """
    kept = torch.load(io.BytesIO(_kept_weights(folder, record)), weights_only=True, map_location="cpu")
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise ConfigurationError(
            f"the weights of {record['run_id']} do not fit the network of its configuration: was its code changed "
            f"since? {' '.join(str(error).split())}"
        ) from error


def _kept_weights(folder: Path, record: Mapping[str, Any]) -> bytes:
    path, named = folder / WEIGHTS_FILE, record["files"][WEIGHTS_FILE]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}; force={record['run_id']} trains it again"
        ) from error
    found = sha256(content).hexdigest()
    if found != named:
        raise ConfigurationError(
            f"{path} is not the file that the record names: its digest is {found[:12]}…, the record's {named[:12]}…; "
            f"force={record['run_id']} trains it again"
        )
    return content
