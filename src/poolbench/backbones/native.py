"""A network in its published form, before anything is exchanged in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from poolbench.backbones.anatomy import Anatomy, declared_anatomy
from poolbench.backbones.channels_last import takes_channels_last
from poolbench.backbones.construct import NAME, Spec, construct
from poolbench.backbones.discover import discover
from poolbench.backbones.flow import Flow, following
from poolbench.backbones.function_pools import expose_pools
from poolbench.backbones.hooks import hand_over_hooks
from poolbench.backbones.left_alone import Left, left_alone
from poolbench.backbones.site import is_strided
from poolbench.backbones.starting_weights import StartingWeights, starting_weights
from poolbench.backbones.trace import Call, trace
from poolbench.backbones.widen import OWN_WIDTH, Width, widen
from poolbench.errors import ConfigurationError, unknown_name

# What becomes of the strided convolutions: an operator stands for their stride, or they are left as they are.
STRIDED = "strided_convolutions"
POOLED, KEPT = "pooled", "kept"


@dataclass(frozen=True)
class Native:
    """A network as it was built, and what one pass of zeros showed of it.

    Args:
        network: the network; surgery changes it.
        name: what messages call it.
        anatomy: where it can be operated on; sites in the order of the forward pass.
        calls: the calls of each module.
        left: what pools or makes a map smaller and is left as it is, and why.
        why_no_head: what is said where there is none to exchange.
        weights: where trained weights came from, None where there are none.
        spatial: in how many dimensions its examples extend: 2 for images, 1 for sequences.
        channels_last: whether the map that the head is given is (H, W, C).
    """

    network: nn.Module
    name: str
    anatomy: Anatomy
    calls: Mapping[str, list[Call]]
    left: Sequence[Left] = ()
    why_no_head: str = ""
    weights: StartingWeights | None = None
    spatial: int = 2
    channels_last: bool = False

    @classmethod
    def of(
        cls,
        spec: Spec,
        *,
        in_channels: int,
        image_size: tuple[int, ...],
        num_classes: int,
        seed: int,
        width: Width = OWN_WIDTH,
    ) -> "Native":
        """Build the network of `spec`, its starting weights drawn from (seed, "backbone"), and trace it.

        Another `width` makes it wider or narrower, see `widen`.

        Raises:
            ConfigurationError: an argument is wrong, or the anatomy names what is not there.
            UnsupportedError: the network cannot take images of this size.
        """
        name = str(spec.get("model") or spec.get(NAME, "backbone"))
        strided = spec.get(STRIDED, POOLED)
        if strided not in (POOLED, KEPT):
            raise unknown_name(f"`backbone.{STRIDED}`", str(strided), (POOLED, KEPT))
        context = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
        own = {key: value for key, value in spec.items() if key != STRIDED}
        network = construct(own, context, where="backbone", seed=seed, stream="backbone")
        weights, shape = starting_weights(network), (in_channels, *image_size)
        declared, reasons = declared_anatomy(network), dict[str, str]()
        if declared is None:
            network, reasons = expose_pools(network, shape)
        else:
            _check(declared, network, name)
        calls, flow = _passed(network, shape, name)
        if width.factor != 1:
            if weights is not None:
                raise ConfigurationError("`match` changes the network's width: it has no use for `backbone.weights`")
            widen(network, calls, width, shape, seed=seed, name=name)
            calls, flow = _passed(network, shape, name)
        if declared is None:
            found = discover(network, calls, flow, len(image_size))
            anatomy, why_no_head, not_head = found.anatomy, found.head.why_none, found.head.others
        else:
            anatomy, not_head = _reached(declared, calls, name), {}
            why_no_head = "its anatomy declares none"
        kept = [part for part in anatomy.sites if strided == KEPT and is_strided(network.get_submodule(part))]
        if kept:
            pooled = tuple(part for part in anatomy.sites if part not in kept)
            anatomy = Anatomy(pooled, anatomy.head, anatomy.classifier)
        left = left_alone(
            network,
            anatomy,
            calls,
            flow,
            name=name,
            given=dict.fromkeys(kept, f"strided convolutions are kept (backbone.{STRIDED}={KEPT})"),
            not_head=not_head,
            unreadable=reasons,
            spatial=len(image_size),
        )
        is_last = _is_given_channels_last(network, anatomy.head, calls, flow)
        return cls(network, name, anatomy, calls, left, why_no_head, weights, len(image_size), is_last)

    def replace(self, part: str, module: nn.Module) -> None:
        """Put `module` in the place of `part`, under every name that the network has for it."""
        old = self.network.get_submodule(part)
        hand_over_hooks(part, old, module)
        names = [name for name, found in self.network.named_modules(remove_duplicate=False) if found is old]
        for name in names:
            self.network.set_submodule(name, module)


def _passed(network: nn.Module, shape: tuple[int, ...], name: str) -> tuple[Mapping[str, list[Call]], Flow]:
    with following(network) as flow:
        calls = trace(network, shape, name=name).calls
    return calls, flow


def _is_given_channels_last(network: nn.Module, head: str | None, calls: Mapping[str, list[Call]], flow: Flow) -> bool:
    """Whether a head takes maps (H, W, C): as is seen by trying it, or else by what it is given."""
    if head is None:
        return False
    tried = takes_channels_last(network.get_submodule(head), calls[head][0].into)
    return flow.is_given_last(head) if tried is None else tried


def _check(anatomy: Anatomy, network: nn.Module, name: str) -> None:
    modules = dict(network.named_modules(remove_duplicate=False))
    for part in (*anatomy.sites, anatomy.head, anatomy.classifier):
        if part is not None and part not in modules:
            raise ConfigurationError(f"`backbone`: the anatomy of {name} names {part!r}, but it has no such module")


def _reached(anatomy: Anatomy, calls: Mapping[str, list[Call]], name: str) -> Anatomy:
    """Return a declared anatomy, its sites in the order of the forward pass."""
    for part in (*anatomy.sites, *([anatomy.head] if anatomy.head else [])):
        if part not in calls:
            raise ConfigurationError(
                f"`backbone`: the anatomy of {name} names {part!r}, but its forward pass takes no map through it"
            )
    return Anatomy(tuple(part for part in calls if part in anatomy.sites), anatomy.head, anatomy.classifier)
