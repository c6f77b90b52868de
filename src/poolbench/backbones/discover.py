"""The anatomy of a network that declares none."""

from dataclasses import dataclass

from torch import nn

from poolbench.backbones.anatomy import Anatomy, Calls, sites_of
from poolbench.backbones.find_head import Head, find_classifier, find_head
from poolbench.backbones.flow import Flow


@dataclass(frozen=True)
class Discovered:
    """What was found.

    Args:
        anatomy: where the network can be operated on.
        head: how its head was found, or why there is none.
    """

    anatomy: Anatomy
    head: Head


def discover(network: nn.Module, calls: Calls, flow: Flow, spatial: int) -> Discovered:
    """Find the anatomy of a network: its sites (`sites_of`), its head (`find_head`), its classifier.

    Args:
        network: in which poolings that are called as functions have been made modules.
        calls: what a pass through it showed, see `trace`. What it did not come through is nothing.
        flow: of the same pass.
        spatial: in how many dimensions its examples extend: 2 for images, 1 for sequences.
    """
    head = find_head(network, calls, flow, spatial)
    classifier = None if head.name is None else find_classifier(network, calls, head.name)
    return Discovered(Anatomy(sites_of(network, calls, head.name, flow, spatial), head.name, classifier), head)
