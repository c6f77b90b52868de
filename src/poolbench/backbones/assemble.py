"""Surgery: a variant's operators into a network's sites, its head before the classifier, everything checked.

The network is built in its published form from one random stream, and only what is new draws from streams of its own
name: so two arms with the same seed start from equal values wherever both have the parameter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from torch import nn

from poolbench.backbones.anatomy import within
from poolbench.backbones.construct import NAME, Spec
from poolbench.backbones.digest import Placed, arm_digest
from poolbench.backbones.fill_head import fill_head, give_map
from poolbench.backbones.fill_sites import fill_sites
from poolbench.backbones.left_alone import Left
from poolbench.backbones.native import Native
from poolbench.backbones.trace import calls_reached, trace
from poolbench.backbones.widen import OWN_WIDTH, Width
from poolbench.errors import ConfigurationError, UnsupportedError, unknown_name
from poolbench.spec import TARGET
from poolbench.streams import drawing

SLOTS = ("downsample", "head")
# Whether a variant's window operator may give another size than the network's own pooling.
RESIZES = "resizes"


@dataclass(frozen=True)
class Assembled:
    """A network with a variant in it, and what was done to it.

    Args:
        network: images (B, C, H, W) → logits (B, num_classes).
        sites: a row for each site, in the order of the forward pass.
        head: what stands between the last map and the classifier.
        left: what pools or strides and is left as it is: its name, its kind and why.
        weights: which trained weights were loaded and survive; None where none were.
        width: of the network's layers.
        operators: the variant's modules inside the network.
        placed: these and the network's own head, each with its place.
        input_shape: (C, H, W) of an image, (C, L) of a sequence.
        again: builds the same for another `seed`.
        match: how its width was found, where the arm was matched with the reference.
    """

    network: nn.Module
    sites: list[dict[str, Any]]
    head: dict[str, Any]
    left: list[dict[str, Any]]
    weights: dict[str, Any] | None
    width: Width
    operators: list[nn.Module] = field(repr=False)
    placed: list[Placed] = field(repr=False)
    input_shape: tuple[int, ...]
    again: Callable[..., "Assembled"] = field(repr=False)
    match: dict[str, Any] | None = None

    @property
    def parameters_pooling(self) -> int:
        """Parameters of the operators: none where a network's own strided convolution is left as it was."""
        return sum(p.numel() for operator in self.operators for p in operator.parameters())

    def audit(self) -> dict[str, Any]:
        """Return sites, head and the network's digest, the same for every seed and for arms of equal networks."""
        # Starting values, and what a random operator draws, would differ from seed to seed.
        parts = [part.module for part in self.placed]
        drawn = any(True for part in parts for _ in part.parameters())
        random = any(getattr(module, "is_random", False) for part in parts for module in part.modules())
        made = self.again(seed=0) if drawn or random else self
        digest = arm_digest(made.network, made.placed)
        found = {"sites": self.sites, "head": self.head, "left_alone": self.left, "network_digest": digest}
        further = {"starting_weights": self.weights, "match": self.match}
        return found | {key: value for key, value in further.items() if value is not None}


def assemble(
    backbone: Spec,
    pooling: Spec,
    head: Spec | None = None,
    *,
    in_channels: int,
    image_size: tuple[int, ...],
    num_classes: int,
    seed: int,
    width: Width = OWN_WIDTH,
    output_shape: tuple[int, ...] | None = None,
) -> Assembled:
    """Build `backbone` with the variant `pooling` in it.

    Args:
        backbone: specification of a network; its constructor may take `in_channels`, `num_classes`, `image_size`.
        pooling: the variant: specifications `downsample` (of a window operator, for every site) and `head`; a slot
            that is null has the reference's filling, max pooling and the network's own head. With `resizes: true`
            the operator may give maps of another size than the network's own pooling does; the classifier follows.
        head: specification of a head that goes before the variant's.
        in_channels: channels of an image.
        image_size: (H, W) of an image, (L,) of a sequence.
        num_classes: width of the logits, or of what the task has in their place.
        seed: for the starting weights.
        width: of the network's layers.
        output_shape: of what the network must give for an example; None: (num_classes,), logits.

    Raises:
        ConfigurationError: a name or argument is wrong.
        UnsupportedError: the parts do not fit together for images of this size; site, sizes and rule are named.
    """
    images: dict[str, Any] = {"in_channels": in_channels, "image_size": image_size, "num_classes": num_classes}
    again = partial(assemble, backbone, pooling, head, **images, width=width, output_shape=output_shape)
    unknown = [key for key in pooling if key not in (NAME, RESIZES, *SLOTS)]
    if TARGET in unknown:
        raise ConfigurationError(
            f"`pooling` has `{TARGET}` at its top; a variant says what fills which slot: put `{TARGET}` and its "
            f"arguments under `downsample:` (every site), or under `head:`"
        )
    if unknown:
        raise unknown_name("slot in `pooling`", unknown[0], SLOTS)
    downsample = _slot(pooling.get("downsample"), "pooling.downsample")
    chosen_head = _slot(head, "head")
    resizes, shape = pooling.get(RESIZES, False), (in_channels, *image_size)
    if not isinstance(resizes, bool):
        raise ConfigurationError(f"`pooling.{RESIZES}` must be true or false, got {resizes!r}")
    # Trial passes may draw, be it in a layer that takes its shape from its first input.
    with drawing(seed, "assemble"):
        native = Native.of(backbone, **images, seed=seed, width=width)
        before = dict(native.network.named_parameters())
        left = [_shown(row) for row in native.left]
        own_head = native.anatomy.head and native.network.get_submodule(native.anatomy.head)
        sites, filled = fill_sites(native, downsample, seed=seed, resizes=shape if resizes else None)
        met = calls_reached(native.network, shape).get(native.anatomy.head or "", [None])[0] if resizes else None
        if chosen_head is None:
            chosen, where = _slot(pooling.get("head"), "pooling.head"), "pooling.head"
        else:
            chosen, where = chosen_head, "head"
        described, heads, exchanged = fill_head(
            native, chosen, where=where, num_classes=num_classes, seed=seed, met=met
        )
        _check_lost(native, before, exchanged)
        try:
            logits = trace(native.network, shape, name=native.name).out
        except ConfigurationError as error:
            others = [part for part in heads if part.module is not own_head]
            if not others:
                raise
            said = f"`{where}` ({type(others[0].module).__name__}) in the place of {native.anatomy.head!r}"
            refused = type(error)(f"{said} ({type(own_head).__name__}): {error}")
            if not give_map(native, others[0].module):
                raise refused from error
            try:
                logits = trace(native.network, shape, name=native.name).out
            except ConfigurationError:
                raise refused from error
    wanted = (num_classes,) if output_shape is None else output_shape
    if logits != wanted:
        asked = f"{num_classes} logits for an image of {num_classes} classes"
        if output_shape is not None and wanted != (num_classes,):
            asked = f"shape {wanted} for an example, as the data set's task says"
        instead = "a constructor that takes `num_classes` by name is given it"
        if wanted == (num_classes,) and len(logits) > 1:
            instead = "it gives something for each place: take a dataset with masks, or another backbone"
        raise UnsupportedError(f"{native.name} must give {asked}, got shape {logits}; {instead}")
    weights = None if native.weights is None else native.weights.kept(before, native.network)
    placed = filled + heads
    operators = [part.module for part in placed if part.module is not own_head]
    return Assembled(native.network.train(), sites, described, left, weights, width, operators, placed, shape, again)


def _check_lost(native: Native, before: Mapping[str, nn.Parameter], exchanged: Sequence[str]) -> None:
    """Raise where an arm lost parameters other than its head's, its sites' and of what was `exchanged` for the head."""
    now = {id(parameter) for parameter in native.network.parameters()}
    head = native.anatomy.head
    allowed = [*native.anatomy.sites, *exchanged, *([] if head is None else [head])]
    lost = {
        name: parameter.numel()
        for name, parameter in before.items()
        if id(parameter) not in now and not any(within(name, part) for part in allowed)
    }
    if lost:
        raise UnsupportedError(
            f"{native.name} would lose {sum(lost.values()):,} parameters outside of its head and its sites: "
            f"{', '.join(lost)}; this arm would be another network, not another pooling"
        )


def _shown(row: Left) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}


def _slot(value: Any, where: str) -> Spec | None:
    """Return the specification in a slot, None for an empty one."""
    if value is None or (isinstance(value, Mapping) and TARGET in value):
        return value
    raise ConfigurationError(f"`{where}` must be null or have `{TARGET}`, the dotted path of a class, got {value!r}")
