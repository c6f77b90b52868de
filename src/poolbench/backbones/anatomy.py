"""Where a network can be operated on: its sites, its head, its classifier.

A network of the project declares it (`self.anatomy = Anatomy(...)`); for any other module it is found out.
"""

from dataclasses import dataclass

from torch import nn

from poolbench.backbones.subsample import Subsample2d

HEAD_NAMES = ("head", "avgpool", "global_pool")
CLASSIFIER_NAMES = ("classifier", "fc")


@dataclass(frozen=True)
class Anatomy:
    """Qualified names of the modules that surgery may touch.

    Args:
        sites: places where a window operator goes, in the order of the forward pass.
        head: the module between the last map and the classifier's input; None where there is none to exchange.
        classifier: the module whose first `nn.Linear` follows the head's width and whose last one gives the logits;
            None where the head's output already is the logits.
    """

    sites: tuple[str, ...]
    head: str | None
    classifier: str | None


def discover(network: nn.Module) -> Anatomy:
    """Find the anatomy of a network that declares none.

    The head is the module `head`, `avgpool` or `global_pool` (the first of these that holds no `nn.Linear`), the
    classifier is the module `classifier` or `fc`. Sites are, outside the head, in the order in which the network
    holds them: max and average poolings with a stride above 1, strided convolutions, and `Subsample2d`. What a
    network calls as a function is not seen.
    """
    children = dict(network.named_children())
    heads = [name for name in HEAD_NAMES if name in children and first_linear(children[name]) is None]
    classifiers = [name for name in CLASSIFIER_NAMES if name in children and first_linear(children[name]) is not None]
    head = heads[0] if heads else None
    sites = tuple(
        name for name, module in network.named_modules() if _is_site(module) and (not head or not _within(name, head))
    )
    return Anatomy(sites, head, classifiers[0] if classifiers else None)


def declared_anatomy(network: nn.Module) -> Anatomy | None:
    """Return the anatomy that a network declares, if it does."""
    declared = getattr(network, "anatomy", None)
    return declared if isinstance(declared, Anatomy) else None


def first_linear(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """Return name and module of the first `nn.Linear` inside `module` (the name is empty if it is one itself)."""
    return next(((name, inner) for name, inner in module.named_modules() if isinstance(inner, nn.Linear)), None)


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _is_site(module: nn.Module) -> bool:
    if isinstance(module, Subsample2d):
        return True
    # A pooling with dilation or with indices has no counterpart among the operators.
    if isinstance(module, nn.MaxPool2d) and (module.return_indices or module.dilation not in (1, (1, 1))):
        return False
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d | nn.Conv2d):
        stride = module.stride if isinstance(module.stride, tuple) else (module.stride,)
        return max(stride) > 1
    return False
