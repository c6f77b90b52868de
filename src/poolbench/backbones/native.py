"""A network in its published form, before anything is exchanged in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from poolbench.backbones.anatomy import Anatomy, declared_anatomy, discover
from poolbench.backbones.construct import NAME, Spec, construct
from poolbench.backbones.trace import Call, trace
from poolbench.errors import ConfigurationError


@dataclass(frozen=True)
class Native:
    """A network as it was built, and what one pass of zeros showed of it.

    Args:
        network: the network; surgery changes it.
        name: what messages call it.
        anatomy: where it can be operated on; sites in the order of the forward pass.
        calls: the calls of each site and of the head.
    """

    network: nn.Module
    name: str
    anatomy: Anatomy
    calls: Mapping[str, list[Call]]

    @classmethod
    def of(cls, spec: Spec, *, in_channels: int, image_size: tuple[int, int], num_classes: int, seed: int) -> "Native":
        """Build the network of `spec`, its starting weights drawn from (seed, "backbone"), and trace it.

        Raises:
            ConfigurationError: an argument is wrong, or the anatomy names what is not there.
            UnsupportedError: the network cannot serve images of this size.
        """
        name = str(spec.get(NAME, "backbone"))
        context = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
        network = construct(spec, context, where="backbone", seed=seed, stream="backbone")
        declared = declared_anatomy(network)
        anatomy = declared or discover(network)
        modules = dict(network.named_modules(remove_duplicate=False))
        for part in (*anatomy.sites, anatomy.head, anatomy.classifier):
            if part is not None and part not in modules:
                raise ConfigurationError(f"`backbone`: the anatomy of {name} names {part!r}, but it has no such module")
        watched = [*anatomy.sites, *([anatomy.head] if anatomy.head else [])]
        calls = trace(network, (in_channels, *image_size), watched=watched, name=name).calls
        for part in watched:
            if declared and part not in calls:
                raise ConfigurationError(
                    f"`backbone`: the anatomy of {name} names {part!r}, but its forward pass takes no map through it"
                )
        reached = Anatomy(
            sites=tuple(part for part in calls if part in anatomy.sites),
            head=anatomy.head if anatomy.head in calls else None,
            classifier=anatomy.classifier,
        )
        return cls(network, name, reached, calls)

    def replace(self, part: str, module: nn.Module) -> None:
        """Put `module` in the place of `part`, under every name that the network has for it."""
        old = self.network.get_submodule(part)
        names = [name for name, found in self.network.named_modules(remove_duplicate=False) if found is old]
        for name in names:
            self.network.set_submodule(name, module)
