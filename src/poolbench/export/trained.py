"""A trained cell's network with its normalisation, for export, and what a user of the files must know."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.cell import Design
from poolbench.data import open_dataset, task_for
from poolbench.errors import ConfigurationError
from poolbench.export.network import (
    INPUT,
    ONNX_PACKAGES,
    OUTPUT,
    SUFFIXES,
    TOLERANCE,
    Exported,
    exported,
    require,
    sizes_compared,
    write,
)
from poolbench.run.files import WEIGHTS_FILE, load_kept_weights
from poolbench.score import task_of
from poolbench.spec import TARGET, locate
from poolbench.writable import require_writable


class Normalised(nn.Module):
    """A network behind the normalisation that it was trained with, `(x − 255·mean) / (255·std)` for each channel.

    Takes examples (B, C, H, W) or (B, C, L): levels 0..255, uint8, or numbers of floating point, of which `(x − mean) /
    std` is taken; returns what the network gives, such as logits (B, K).

    Args:
        network: takes normalised examples, float32.
        mean: of each channel, as a fraction of 255 where examples are levels.
        std: likewise.
        spatial: in how many dimensions examples extend: 2, or 1 of sequences.
        levels: whether examples are levels.

    >>> images = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    >>> Normalised(nn.Flatten(), mean=[0.5], std=[0.25])(images)
    tensor([[-2.,  2.]])
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float], spatial: int = 2, levels: bool = True
    ) -> None:
        super().__init__()
        self.network = network
        # The arithmetic of `poolbench.data.Batches`, to the last bit.
        whole = 255 if levels else 1
        centre = torch.tensor([whole * value for value in mean], dtype=torch.float32)
        scale = torch.tensor([1 / (whole * value) for value in std], dtype=torch.float32)
        self.register_buffer("centre", centre.view(-1, *[1] * spatial))
        self.register_buffer("scale", scale.view(-1, *[1] * spatial))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's output for examples that are not normalised."""
        return self.network((images.to(torch.float32) - self.centre) * self.scale)


@dataclass(frozen=True)
class Trained:
    """A trained cell's network, ready to be exported, and what belongs beside its files.

    Args:
        network: examples that are not normalised → outputs; with the kept weights, in evaluation.
        input_shape: (C, H, W) of an image, (C, L) of a sequence.
        num_classes: K.
        record: the cell's.
    """

    network: Normalised
    input_shape: tuple[int, ...]
    num_classes: int
    record: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, record: Mapping[str, Any]) -> "Trained":
        """Return the network that the cell of `record`, kept in `folder`, left behind. Its data is not opened.

        Raises `ConfigurationError` where the cell has no weights, or not those that the record names.
        """
        if record["status"] != "ok":
            raise ConfigurationError(f"{record['run_id']} is {record['status']}, it has no weights: {record['reason']}")
        data = record["data"]
        design = Design.of(_announced(record), record["labels"])
        network = design.assemble().network
        load_kept_weights(network, folder, record)
        kind: dict[str, Any] = {"spatial": len(design.input_shape) - 1, "levels": "dtype" not in data}
        normalised = Normalised(network.float(), mean=data["mean"], std=data["std"], **kind)
        return cls(normalised, design.input_shape, design.num_classes, record)

    def exported(self, format: str, *, batch: int | None = None, check: bool = True) -> Exported:
        """Return the network in a format, as `export_network` makes it."""
        dtype = torch.uint8 if self.levels else torch.float32
        return exported(self.network, self.input_shape, format=format, input_dtype=dtype, batch=batch, check=check)

    @property
    def levels(self) -> bool:
        """Whether examples are levels of uint8, not numbers of floating point."""
        return "dtype" not in self.record["data"]

    def description(self, made: Mapping[str, Exported], *, batch: int | None) -> dict[str, Any]:
        """Return what a user of the files must know of them; `made` is what was exported, by file name."""
        data, labels = self.record["data"], self.record["labels"]
        task, score = task_of(self.record)
        spec = self.record["config"]["dataset"]
        output = task_for(spec, locate(spec[TARGET])).output_shape(self.input_shape, self.num_classes)
        open_or_fixed: str | int = "batch" if batch is None else batch
        compared = {
            "sizes_of_batches": list(sizes_compared(batch)),
            "images": "random levels" if self.levels else "random normal values",
            "tolerance": f"{TOLERANCE:g} of the largest logit of a batch",
        }
        return {
            "run_id": self.record["run_id"],
            "labels": dict(labels),
            "weights_sha256": self.record["files"][WEIGHTS_FILE],
            "files": {
                name: {
                    "format": one.format,
                    "sha256": sha256(one.content).hexdigest(),
                    "largest_difference": one.difference,
                }
                | ({} if one.opset is None else {"opset": one.opset})
                for name, one in made.items()
            },
            "input": {
                "name": INPUT,
                "shape": [open_or_fixed, *self.input_shape],
                "dtype": "uint8" if self.levels else "float32",
                "meaning": self._meaning(str(labels["dataset"])),
            },
            "output": {
                "name": OUTPUT,
                "shape": [open_or_fixed, *output],
                "dtype": "float32",
                "meaning": "logits, no softmax" if task != "regression" else f"numbers, {score.unit}".rstrip(", "),
                "classes": list(data["classes"]),
            },
            "num_classes": self.num_classes,
            "normalisation": {
                "where": "in the graph: the caller does nothing",
                "formula": "(x - 255 mean) / (255 std)" if self.levels else "(x - mean) / std",
                "mean": list(data["mean"]),
                "std": list(data["std"]),
            },
            "precision": {"exported": "float32", "trained": self.record["config"]["protocol"].get("precision")},
            "comparison": compared if any(one.difference is not None for one in made.values()) else None,
            "versions": versions(sorted({one.format for one in made.values()})),
        }

    def _meaning(self, dataset: str) -> str:
        """Return what an example is."""
        channels, *sizes = self.input_shape
        if len(sizes) == 2 and self.levels:
            kind = "grey" if channels == 1 else "RGB" if channels == 3 else "the"
            return f"levels 0..255 of {kind} images, {sizes[0]} x {sizes[1]}, resized as {dataset} does; not normalised"
        what = "levels 0..255" if self.levels else "numbers"
        return f"{what} of {channels} channels, {' x '.join(map(str, sizes))}, as {dataset} gives them; not normalised"


def versions(formats: Sequence[str]) -> dict[str, str]:
    """Return the versions of what made and compared files of these formats."""
    found = {"python": platform.python_version()}
    for name in ("poolbench", "torch", *(ONNX_PACKAGES if "onnx" in formats else ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # onnxruntime, where nothing was compared
            continue
    return found


def write_trained(
    trained: Trained, folder: Path, formats: Sequence[str], *, batch: int | None = None, check: bool = True
) -> dict[Path, Exported]:
    """Write a trained cell's network in `formats` into `folder`, and `RUN_ID.json` that says how to use it.

    The folder is made where it is missing. Everything is made and compared before the first file is written; returns
    what was exported, by path. Raises what `export_network` raises.
    """
    for format in formats:
        require(format, check=check)
    require_writable([folder], what="`--output`")
    name = trained.record["run_id"]
    made = {f"{name}{SUFFIXES[format]}": trained.exported(format, batch=batch, check=check) for format in formats}
    described = json.dumps(trained.description(made, batch=batch), indent=1, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made: {error.strerror or error}") from error
    write({folder / file: one.content for file, one in made.items()} | {folder / f"{name}.json": described.encode()})
    return {folder / file: one for file, one in made.items()}


def _announced(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's configuration on the CPU, its dataset announcing what the data turned out to be."""
    config, data = dict(record["config"]), record["data"]
    dataset = dict(config["dataset"])
    dataset["channels"] = dataset.get("channels") or len(data["mean"])
    dataset["num_classes"] = dataset.get("num_classes") or len(data["classes"])
    # What is no square image has its shape in the record.
    sizes = data["shape"][1:] if "shape" in data else None
    dataset["image_size"] = dataset.get("image_size") or sizes or open_dataset(config["dataset"]).image_size
    trainer = {**(config.get("trainer") or {}), "accelerator": "cpu"}
    # The CPU trains in no float16; what is exported is float32.
    protocol = {**config["protocol"], "precision": "float32"}
    return config | {"dataset": dataset, "trainer": trainer, "protocol": protocol}
