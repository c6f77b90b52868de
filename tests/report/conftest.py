"""A results folder with made-up records of the schema that the program writes."""

import io
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolbench.record import OUTCOMES_FILE, SCHEMA, digest, identify, write_bytes, write_json, write_record

CLASSES = {
    "max": "MaxPool2d",
    "avg": "AvgPool2d",
    "avg_topk": "AvgTopKPool2d",
    "strided_conv": "StridedConv2d",
    "gap": "MaxPool2d",
    "adaptive": "MaxPool2d",
}
GRID_IMAGES = 500
PARAMETERS = {"slides": 270_942, "resnet18": 11_173_962}
PROVENANCE: dict[str, Any] = {
    "poolbench": "0.1.0",
    "revision": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "versions": {"torch": "2.15.0", "lightning": "2.6.6"},
    "python": "3.11.2",
    "platform": "Linux-6.1",
    "machine": "Example CPU @ 3 GHz",
    "machine_id": "abcdef012345",
    "device": "cpu",
    "device_name": "Example CPU @ 3 GHz",
    "threads": 2,
    "allocator": "keep",
    "command": ["/somewhere/bin/poolbench", "train", "-m", "pooling=glob(*)", "name=example"],
}


class Results:
    """Writes records into a folder; `add` and `speed` give back what they wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def add(
        self,
        variant: str = "max",
        seed: int = 0,
        accuracy: float | None = 0.9,
        *,
        backbone: str = "slides",
        dataset: str = "digits",
        status: str = "ok",
        reason: str = "",
        reference: str = "max",
        config: dict[str, dict[str, Any]] | None = None,
        fingerprint: str = "content",
        metrics: dict[str, Any] | None = None,
        cost: dict[str, Any] | None = None,
        audit: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        right: Any = None,
        margin: float | None = None,
        groups: Any = None,
    ) -> dict[str, Any]:
        """Write a record; with `right`, 1 or 0 for each test image, also its outcomes, and the accuracy is theirs.

        `groups` are the images'.
        """
        labels = {"backbone": backbone, "variant": variant, "dataset": dataset}
        whole = _config(variant, backbone, dataset, seed, config or {})
        origin = deepcopy(PROVENANCE) | (provenance or {})
        identity = identify(whole, labels, fingerprint=fingerprint, device=origin["device"])
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "run_id": identity.run_id,
            "arm_id": identity.arm_id,
            "block_id": identity.block_id,
            "status": status,
            "reason": reason,
            "experiment": self.folder.name,
            "labels": labels,
            "reference": reference,
            "seed": seed,
            "config": whole,
            "metrics": {},
            "cost": {},
            "audit": {},
            "history": [],
            "streams": {},
            "times": {"total_s": 2.5, "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:02+00:00"},
            "provenance": origin,
            "files": {},
        }
        if status == "ok":
            record["metrics"] = {
                "test_accuracy": accuracy,
                "test_loss": 0.2,
                "ece": 0.02,
                "val_accuracy": 0.96,
                "val_loss": 0.1,
                "selected_epoch": 7,
                "epochs": 10,
            } | (metrics or {})
            record["cost"] = _cost(variant, backbone) | (cost or {})
            record["audit"] = _audit(variant, backbone) | (audit or {})
            record["history"] = [
                {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
                for epoch in range(10)
            ]
            record["data"] = {"test_images": 360} if data is None else data
        if margin is not None:
            record["margin"] = margin
        if right is not None:
            record["metrics"]["test_accuracy"] = float(np.mean(right))
            record["data"] = {"test_images": len(right)}
            record["files"][OUTCOMES_FILE] = self.outcomes(record, right, groups)
        self.write(record)
        return record

    def outcomes(self, record: dict[str, Any], right: Any, groups: Any = None) -> str:
        """Write the outcomes of a record's images; return the file's digest."""
        target = np.arange(len(right), dtype=np.int16) % 10
        buffer = io.BytesIO()
        named = {} if groups is None else {"group": np.asarray(groups)}
        np.savez_compressed(buffer, target=target, predicted=np.where(right, target, 10).astype(np.int16), **named)
        write_bytes(self.folder / "records" / record["run_id"] / OUTCOMES_FILE, buffer.getvalue())
        return sha256(buffer.getvalue()).hexdigest()

    def write(self, record: dict[str, Any]) -> Path:
        path = self.folder / "records" / record["run_id"] / "record.json"
        write_record(path, record)
        return path

    def speed(
        self,
        record: dict[str, Any],
        reference: dict[str, Any],
        *,
        training: float = 12_345.6,
        ratio: float = 0.87,
        settled: bool = True,
        **changes: Any,
    ) -> dict[str, Any]:
        """Write the speed of a record's arm."""
        itself = record["arm_id"] == reference["arm_id"]

        def quantity(unit: str, median: float, ratio: float) -> dict[str, Any]:
            return {
                "unit": unit,
                "median": median,
                "ci95_low": median * 0.98,
                "ci95_high": median * 1.02,
                "ratio": 1.0 if itself else ratio,
                "ratio_ci95_low": None if itself else ratio * 0.99,
                "ratio_ci95_high": None if itself else ratio * 1.01,
                "repeats": 31,
                "settled": settled,
            }

        speed: dict[str, Any] = {
            "schema": SCHEMA,
            "arm_id": record["arm_id"],
            "block_id": record["block_id"],
            "reference_arm_id": reference["arm_id"],
            "machine_id": "abcdef012345",
            "labels": record["labels"],
            "reference": record["reference"],
            "device": "cpu",
            "device_name": "Example CPU @ 3 GHz",
            "threads": 2,
            "memory_format": "channels_last",
            "precision": "float32",
            "batch_size": 64,
            "allocator": "keep",
            "versions": {"torch": "2.15.0"},
            "quantities": {
                "training": quantity("images/s", training, ratio),
                "inference": quantity("images/s", training * 3, ratio),
                "latency": quantity("ms", 0.4321, 1 / ratio),
            },
            "measured": "2026-01-01T00:01:00+00:00",
        } | changes
        write_json(self.folder / "speed" / f"{speed['arm_id']}-{speed['machine_id']}.json", speed)
        return speed

    def grid(
        self,
        *,
        blocks: list[tuple[str, str]],
        variants: list[str],
        seeds: int,
        speed: bool = True,
        base: float = 0.93,
    ) -> None:
        """Write a whole comparison; accuracies differ by block, variant and seed in a fixed way."""
        for b, (backbone, dataset) in enumerate(blocks):
            first = None
            for v, variant in enumerate(variants):
                for seed in range(seeds):
                    accuracy = base - 0.05 * b - 0.012 * v + 0.004 * ((7 * seed + 3 * v) % 5) - 0.002 * seed
                    right = np.arange(GRID_IMAGES) < round(accuracy * GRID_IMAGES)
                    record = self.add(variant, seed, backbone=backbone, dataset=dataset, right=right)
                first = first or record
                if speed:
                    self.speed(record, first, ratio=1 - 0.03 * v)


def _config(variant: str, backbone: str, dataset: str, seed: int, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    plain = variant.partition("[")[0]
    config: dict[str, Any] = {
        "backbone": {"name": backbone, "_target_": f"poolbench.backbones.{backbone}"},
        "pooling": {
            "name": variant,
            "downsample": {"_target_": f"poolbench.pooling.{CLASSES.get(plain, 'MaxPool2d')}"},
            "head": None,
        },
        "head": None,
        "dataset": {"name": dataset, "_target_": "poolbench.data.Digits", "root": "/data"},
        "protocol": {"epochs": 10, "precision": "float32", "optimizer": {"name": "adamw", "lr": 0.003}},
        "trainer": {"accelerator": "cpu", "gradient_clip_val": None},
        "seed": seed,
    }
    for group, content in changes.items():
        old = config[group]
        config[group] = old | content if isinstance(old, dict) and isinstance(content, dict) else content
    return config


def _cost(variant: str, backbone: str) -> dict[str, Any]:
    pooling = 3_968 if variant.startswith("strided_conv") else 0
    total = PARAMETERS.get(backbone, 100_000) + pooling
    return {
        "parameters": total,
        "parameters_trainable": total,
        "parameters_pooling": pooling,
        "multiply_adds": 4_380_000 if backbone == "slides" else 556_651_520,
    }


def _audit(variant: str, backbone: str) -> dict[str, Any]:
    site = {
        "native": "MaxPool2d",
        "operator": CLASSES.get(variant.partition("[")[0], "MaxPool2d"),
        "arguments": "k=2" if variant.startswith("avg_topk") else "",
        "kernel_size": [2, 2],
        "stride": [2, 2],
        "padding": [0, 0],
        "ceil_mode": False,
        "geometry": "equal",
        "input_shape": [16, 32, 32],
        "output_shape": [16, 16, 16],
    }
    return {
        "sites": [{"name": name, **site} for name in ("pool1", "pool2")],
        "head": {
            "native": "Flatten",
            "operator": "GlobalAvgPool2d" if variant == "gap" else "Flatten",
            "arguments": "",
            "features": 64,
            "gives_logits": False,
        },
        "network_digest": digest([variant, backbone]),
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results" / "example")


@pytest.fixture
def new_results(tmp_path: Path) -> Callable[[str], Results]:
    """Give further results folders by name."""
    return lambda name: Results(tmp_path / "results" / name)
