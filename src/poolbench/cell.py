"""One cell: a resolved configuration with its identity, and the checks that need no data.

Everything here happens before training: a wrong argument, a window larger than its map or a device that is not there
is found for every cell of a sweep before the first one runs. What was checked is kept: a cell holds its design with
the recipe, and the dataset that was opened.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from poolbench.backbones import OWN_WIDTH, Assembled, Width, assemble, file_digests
from poolbench.checks import is_whole, whole_number
from poolbench.data import Datasets, OpenDataset, Task, sizes_of, step_ms, task_for
from poolbench.errors import ConfigurationError, UnsupportedError, unknown_name
from poolbench.loggers import Mirrors
from poolbench.measure.matching import KINDS, Match, match
from poolbench.own_code import own_code
from poolbench.record import GROUPS, Identity, identify, title
from poolbench.settings import Settings
from poolbench.spec import TARGET, check_values, locate
from poolbench.training import Protocol, resolve_device

MATCH = "match"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Design:
    """What can be known of a cell without its data: its network for examples as the dataset's YAML announces them."""

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    device: torch.device
    protocol: Protocol

    @classmethod
    def of(cls, config: Mapping[str, Any], labels: Mapping[str, str]) -> "Design":
        """Return the design of this configuration; raise `ConfigurationError` for what is wrong in it.

        `config` holds the groups (backbone, pooling, head or None, dataset, protocol, trainer) and `seed`; and where
        the arm is matched with the reference, `match`: `by` (`params` or `macs`) and `reference`, its pooling.
        """
        kept = _checked(config)
        device = resolve_device(kept["trainer"] or {})
        protocol = Protocol.of(kept["protocol"])
        protocol.check_device(device)
        return cls(kept, dict(labels), device, protocol)

    @property
    def input_shape(self) -> Shape:
        """(C, H, W) of an image, (C, L) of a sequence."""
        size = self.config["dataset"].get("image_size")
        if size is None:
            raise ConfigurationError(
                "`dataset.image_size` must be given where no data is opened, a whole number or a list of one for each "
                "dimension, got None: give dataset.image_size=…"
            )
        return self._announced("channels"), *sizes_of(size)

    @property
    def num_classes(self) -> int:
        """Number of classes, or of the numbers that a target has."""
        return self._announced("num_classes")

    @property
    def task(self) -> Task:
        """What targets are and how outputs are judged, as the dataset's YAML or class announces it."""
        spec = self.config["dataset"]
        return task_for(spec, locate(spec.get(TARGET, "")))

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.config["seed"])

    @property
    def title(self) -> str:
        """The design in a line."""
        return title(self.labels)

    @property
    def step_ms(self) -> float | None:
        """Milliseconds between neighbouring values along the example's last dimension, where the YAML says so."""
        return step_ms(self.config["dataset"])

    def assemble(
        self, input_shape: Shape | None = None, num_classes: int | None = None, task: Task | None = None
    ) -> Assembled:
        """Build the network with the variant in it, its starting weights drawn for the configuration's seed.

        Without the arguments, for what the dataset's YAML announces.
        """
        shape, width = input_shape or self.input_shape, num_classes or self.num_classes
        return _assembled(self.config, shape, width, (task or self.task).output_shape(shape, width))

    def with_reference(self, pooling: Mapping[str, Any], label: str) -> "Design":
        """Return the design of the reference: this one with `pooling` and no head of its own."""
        config = _of_reference(self.config, pooling)
        return replace(self, config=config, labels={**self.labels, "variant": label})

    def _announced(self, key: str) -> int:
        value = self.config["dataset"].get(key)
        if not is_whole(value) or value < 1:
            raise ConfigurationError(
                f"`dataset.{key}` must be a whole number of at least 1 where no data is opened, got {value!r}: "
                f"give dataset.{key}=…"
            )
        return value


@dataclass(frozen=True)
class Cell:
    """What is trained once: backbone × variant × dataset × seed, everything resolved and opened."""

    design: Design
    dataset: OpenDataset
    settings: Settings
    identity: Identity
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        labels: Mapping[str, str],
        settings: Settings,
        datasets: Datasets | None = None,
    ) -> "Cell":
        """Return the cell of this configuration; raise `ConfigurationError` for what is wrong in it.

        Args:
            config: what a `Design` is made of.
            labels: of backbone, variant and dataset.
            settings: what the sweep asks beside.
            datasets: those that are open already; equal ones are shared.
        """
        from poolbench.training.trainer_arguments import trainer_arguments  # loads Lightning

        design = Design.of(config, labels)
        trainer_arguments(design.config["trainer"] or {}, design.protocol)
        Mirrors.check(settings.loggers or {})
        dataset = (datasets or Datasets()).open(design.config["dataset"])
        dataset.task.check_recipe(design.protocol.label_smoothing)
        files = file_digests(design.config)
        identity = identity_of(design.config, labels, design.device, dataset, files)
        return cls(design, dataset, settings, identity, files)

    @property
    def config(self) -> Mapping[str, Any]:
        """The plain configuration: the groups, the seed, and perhaps what the arm is matched with."""
        return self.design.config

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of backbone, variant and dataset."""
        return self.design.labels

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.design.device

    @property
    def protocol(self) -> Protocol:
        """The recipe."""
        return self.design.protocol

    @property
    def seed(self) -> int:
        """The cell's seed."""
        return self.design.seed

    @property
    def input_shape(self) -> Shape:
        """(C, H, W) of an image, (C, L) of a sequence."""
        return self.dataset.shape

    @property
    def task(self) -> Task:
        """What targets are and how outputs are judged."""
        return self.dataset.task

    @property
    def step_ms(self) -> float | None:
        """Milliseconds between neighbouring values along the example's last dimension; None where that is no time."""
        return self.dataset.step_ms

    @property
    def folder(self) -> Path:
        """The record's folder."""
        return self.settings.records / self.identity.run_id

    @property
    def title(self) -> str:
        """The cell in a line."""
        return title(self.labels, self.seed)

    def assemble(self) -> Assembled:
        """Build the network with the variant in it, its starting weights drawn for the cell's seed."""
        return self.design.assemble(self.input_shape, self.dataset.num_classes, self.task)

    def with_reference(self, pooling: Mapping[str, Any], label: str) -> "Cell":
        """Return the reference's cell of the same block and seed: this one with `pooling` and no head of its own."""
        design = self.design.with_reference(pooling, label)
        settings, files = replace(self.settings, loggers=None), file_digests(design.config)
        identity = identity_of(design.config, design.labels, design.device, self.dataset, files)
        return Cell(design, self.dataset, settings, identity, files)

    def require_files(self) -> None:
        """Raise `ConfigurationError` where a file that the cell is made of is no longer the one of its identity.

        To be asked when the file has been read: what is then as it was, was read.
        """
        now = file_digests(self.config)
        changed = sorted(key for key in {*self.files, *now} if self.files.get(key) != now.get(key))
        if changed:
            raise ConfigurationError(
                f"`{changed[0]}`: the file was changed or removed after the cell was planned, and the cell's identity "
                "includes its content: put it back, or start the sweep again for the new one"
            )


def identity_of(
    config: Mapping[str, Any],
    labels: Mapping[str, str],
    device: torch.device,
    dataset: OpenDataset,
    files: Mapping[str, str] | None = None,
) -> Identity:
    """Return the identity of the cell of a configuration that was checked; `files` are its own by digest, if known."""
    fingerprint, own = dataset.fingerprint(), own_code(config)
    files = file_digests(config) if files is None else files
    return identify(config, labels, fingerprint=fingerprint, device=device.type, own_code=own, files=files)


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups and the seed of a configuration that has all that a network needs."""
    seed = whole_number("seed", config.get("seed"), least=0)
    for group in ("backbone", "pooling", "dataset", "protocol"):
        if not isinstance(config.get(group), Mapping):
            raise ConfigurationError(f"`{group}` must be chosen: {group}=NAME, got {config.get(group)!r}")
    wanted = config.get(MATCH)
    if wanted is not None and wanted.get("by") not in KINDS:
        raise unknown_name("`match`", str(wanted.get("by")), KINDS)
    for group in GROUPS:
        check_values(config.get(group), group)
    kept = {group: config.get(group) for group in GROUPS} | {"seed": seed}
    return kept if wanted is None else kept | {MATCH: wanted}


def _of_reference(config: Mapping[str, Any], pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the reference's pooling, which has no head of its own and is matched with nothing."""
    return {key: value for key, value in config.items() if key != MATCH} | {"pooling": pooling, "head": None}


def _assembled(config: Mapping[str, Any], shape: Shape, num_classes: int, output: Shape) -> Assembled:
    """Return the network of a configuration, matched with the reference's where that is asked for."""
    if config.get("head") is not None and config["pooling"].get("head") is not None:
        raise UnsupportedError(
            "`head` and `pooling.head` both fill the head, and one of them would do nothing; leave out head=NAME, or "
            "take a pooling without a head of its own"
        )
    groups = json.dumps([config["backbone"], config["pooling"], config.get("head")], sort_keys=True)
    wanted = config.get(MATCH)
    if wanted is None:
        return _build(groups, shape, num_classes, output, seed=int(config["seed"]))
    found = _matched(groups, json.dumps(wanted, sort_keys=True), shape, num_classes, output)
    made = _build(groups, shape, num_classes, output, seed=int(config["seed"]), width=Width(found.width, found.phase))
    return replace(made, match=found.shown())


def _build(
    groups: str, shape: Shape, num_classes: int, output: Shape, *, seed: int, width: Width = OWN_WIDTH
) -> Assembled:
    backbone, pooling, head = json.loads(groups)
    sizes: dict[str, Any] = {"in_channels": shape[0], "image_size": shape[1:], "num_classes": num_classes}
    return assemble(backbone, pooling, head, **sizes, seed=seed, width=width, output_shape=output)


@functools.lru_cache(maxsize=1024)
def _matched(groups: str, wanted: str, shape: Shape, num_classes: int, output: Shape) -> Match:
    """Return the arm's width; it is the same for every seed, and looked for once."""
    asked = json.loads(wanted)
    backbone = json.loads(groups)[0]
    size = (shape, num_classes, output)
    reference = _build(json.dumps([backbone, asked["reference"], None]), *size, seed=0)
    return match(asked["by"], lambda width: _build(groups, *size, seed=0, width=width), reference)
