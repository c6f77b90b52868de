"""One cell: a resolved configuration with its identity, and the checks that need no data.

Everything here happens before training: a wrong argument, a window larger than its map or a device that is not there
is found for every cell of a sweep before the first one runs.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from poolbench.backbones import OWN_WIDTH, Assembled, Width, assemble, file_digests
from poolbench.data import Dataset, open_dataset
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.measure.matching import KINDS, Match, match
from poolbench.record import Identity, identify, records_folder, speed_folder
from poolbench.spec import own_code
from poolbench.training import Mirrors, Protocol, resolve_device, trainer_arguments

GROUPS = ("backbone", "pooling", "head", "dataset", "protocol", "trainer")
MATCH = "match"


@dataclass(frozen=True)
class Settings:
    """What a sweep asks beside its cells; none of it changes a figure.

    Args:
        results_dir: where experiments' folders lie.
        name: the experiment's name.
        reference: the variant that others are compared with.
        margin: a difference up to this, either way, is a tie; fraction of 1.
        force: run finished cells again.
        loggers: logger specifications by name.
        command: the command line, for the record.
    """

    results_dir: Path
    name: str
    reference: str
    margin: float = 0.005
    force: bool = False
    loggers: Mapping[str, Mapping[str, Any]] | None = None
    command: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The experiment's folder."""
        return self.results_dir / self.name


@dataclass(frozen=True)
class Design:
    """What can be known of a cell without its data: its network for images as the dataset's YAML announces them."""

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    device: torch.device

    @classmethod
    def of(cls, config: Mapping[str, Any], labels: Mapping[str, str]) -> "Design":
        """Return the design of this configuration; raise `ConfigurationError` for what is wrong in it.

        `config` holds what that of a `Cell` holds.
        """
        kept = _checked(config)
        Protocol.of(kept["protocol"])
        return cls(kept, dict(labels), resolve_device(kept["trainer"] or {}))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        size = self._announced("image_size")
        return self._announced("channels"), size, size

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._announced("num_classes")

    @property
    def title(self) -> str:
        """The design in a line."""
        return f"{self.labels['backbone']} · {self.labels['variant']} · {self.labels['dataset']}"

    def protocol(self) -> Protocol:
        """Return the recipe."""
        return Protocol.of(self.config["protocol"])

    def assemble(self) -> Assembled:
        """Build the network with the variant in it, its starting weights drawn for the configuration's seed."""
        return _assembled(self.config, self.input_shape, self.num_classes)

    def with_reference(self, pooling: Mapping[str, Any], label: str) -> "Design":
        """Return the design of the reference: this one with `pooling` and no head of its own."""
        config = _of_reference(self.config, pooling)
        return replace(self, config=config, labels={**self.labels, "variant": label})

    def _announced(self, key: str) -> int:
        value = self.config["dataset"].get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigurationError(
                f"`dataset.{key}` must be a whole number of at least 1 where no data is opened, got {value!r}: "
                f"give dataset.{key}=…"
            )
        return value


@dataclass(frozen=True)
class Cell:
    """What is trained once: backbone × variant × dataset × seed, everything resolved."""

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    settings: Settings
    identity: Identity
    device: torch.device

    @classmethod
    def of(cls, config: Mapping[str, Any], labels: Mapping[str, str], settings: Settings) -> "Cell":
        """Return the cell of this configuration; raise `ConfigurationError` for what is wrong in it.

        `config` holds the groups (backbone, pooling, head or None, dataset, protocol, trainer) and `seed`; and where
        the arm is matched with the reference, `match`: `by` (`params` or `macs`) and `reference`, its pooling.
        """
        kept = _checked(config)
        trainer = config.get("trainer") or {}
        device = resolve_device(trainer)
        trainer_arguments(trainer)
        Protocol.of(config["protocol"])
        Mirrors.check(settings.loggers or {})
        fingerprint = open_dataset(config["dataset"]).fingerprint()
        own = own_code(kept)
        identity = identify(
            kept, labels, fingerprint=fingerprint, device=device.type, own_code=own, files=file_digests(kept)
        )
        return cls(kept, dict(labels), settings, identity, device)

    @property
    def seed(self) -> int:
        """The cell's seed."""
        return int(self.config["seed"])

    @property
    def folder(self) -> Path:
        """The record's folder."""
        return records_folder(self.settings.results_dir, self.settings.name) / self.identity.run_id

    @property
    def speed_folder(self) -> Path:
        """The folder of the experiment's speed records."""
        return speed_folder(self.settings.results_dir, self.settings.name)

    @property
    def title(self) -> str:
        """The cell in a line."""
        return f"{self.labels['backbone']} · {self.labels['variant']} · {self.labels['dataset']} · seed {self.seed}"

    def dataset(self) -> Dataset:
        """Open the dataset; no image is read."""
        return open_dataset(self.config["dataset"])

    def protocol(self) -> Protocol:
        """Return the recipe."""
        return Protocol.of(self.config["protocol"])

    def assemble(self) -> Assembled:
        """Build the network with the variant in it, its starting weights drawn for the cell's seed."""
        dataset = self.dataset()
        shape = (dataset.channels, dataset.image_size, dataset.image_size)
        return _assembled(self.config, shape, dataset.num_classes)

    def with_reference(self, pooling: Mapping[str, Any], label: str) -> "Cell":
        """Return the reference's cell of the same block and seed: this one with `pooling` and no head of its own."""
        config = _of_reference(self.config, pooling)
        labels = {**self.labels, "variant": label}
        return Cell.of(config, labels, replace(self.settings, loggers=None))


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups and the seed of a configuration that has all that a network needs."""
    seed = config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigurationError(f"`seed` must be a whole number of at least 0, got {seed!r}")
    for group in ("backbone", "pooling", "dataset", "protocol"):
        if not isinstance(config.get(group), Mapping):
            raise ConfigurationError(f"`{group}` must be chosen: {group}=NAME, got {config.get(group)!r}")
    wanted = config.get(MATCH)
    if wanted is not None and wanted.get("by") not in KINDS:
        raise unknown_name("`match`", str(wanted.get("by")), KINDS)
    kept = {group: config.get(group) for group in GROUPS} | {"seed": seed}
    return kept if wanted is None else kept | {MATCH: wanted}


def _of_reference(config: Mapping[str, Any], pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the reference's pooling, which has no head of its own and is matched with nothing."""
    return {key: value for key, value in config.items() if key != MATCH} | {"pooling": pooling, "head": None}


def _assembled(config: Mapping[str, Any], shape: tuple[int, int, int], num_classes: int) -> Assembled:
    """Return the network of a configuration, matched with the reference's where that is asked for."""
    groups = json.dumps([config["backbone"], config["pooling"], config.get("head")], sort_keys=True)
    wanted = config.get(MATCH)
    if wanted is None:
        return _build(groups, shape, num_classes, seed=int(config["seed"]))
    found = _matched(groups, json.dumps(wanted, sort_keys=True), shape, num_classes)
    made = _build(groups, shape, num_classes, seed=int(config["seed"]), width=Width(found.width, found.phase))
    return replace(made, match=found.shown())


def _build(
    groups: str, shape: tuple[int, int, int], num_classes: int, *, seed: int, width: Width = OWN_WIDTH
) -> Assembled:
    backbone, pooling, head = json.loads(groups)
    size = (shape[1], shape[2])
    return assemble(
        backbone, pooling, head, in_channels=shape[0], image_size=size, num_classes=num_classes, seed=seed, width=width
    )


@functools.lru_cache(maxsize=1024)
def _matched(groups: str, wanted: str, shape: tuple[int, int, int], num_classes: int) -> Match:
    """Return the arm's width; it is the same for every seed, and looked for once."""
    asked = json.loads(wanted)
    backbone = json.loads(groups)[0]
    reference = _build(json.dumps([backbone, asked["reference"], None]), shape, num_classes, seed=0)
    return match(asked["by"], lambda width: _build(groups, shape, num_classes, seed=0, width=width), reference)
