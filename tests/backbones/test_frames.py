"""Invariance of codon_cnn under shifts of the frame: exact where theory says so, and broken where it does not."""

from typing import Any

import pytest
import torch

from poolbench.backbones import Assembled, CodonCNN, assemble
from poolbench.errors import ConfigurationError, UnsupportedError

EXACT = 1e-5
HEADS: list[dict[str, Any] | None] = [
    None,
    {"_target_": "poolbench.pooling.GlobalMaxPool2d"},
    {"_target_": "poolbench.pooling.GlobalLogSumExp2d"},
]


def made(head: dict[str, Any] | None = None, length: int = 60, **changes: Any) -> Assembled:
    spec = {"_target_": "poolbench.backbones.CodonCNN", "name": "codon_cnn", **changes}
    return assemble(spec, {"head": head}, in_channels=4, image_size=(length,), num_classes=2, seed=0)


def sequences(length: int = 60) -> torch.Tensor:
    letters = torch.randint(4, (8, length), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.one_hot(letters, 4).transpose(1, 2).float()


@torch.no_grad()
def differences(network: torch.nn.Module, shifts: range, length: int = 60) -> list[float]:
    """Return the largest difference of logits for each cyclic shift, over the largest logit."""
    x, network = sequences(length), network.eval()
    before = network(x)
    return [float((network(x.roll(shift, 2)) - before).abs().max() / before.abs().max()) for shift in shifts]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("frames", ["symmetrised", "equivariant"])
def test_no_cyclic_shift_changes_what_a_symmetric_network_says(frames, head):
    assert max(differences(made(head, frames=frames).network, range(1, 60))) < EXACT


@pytest.mark.parametrize("pool", ["average", "max", {"_target_": "poolbench.pooling.GlobalLogSumExp1d", "channels": 2}])
def test_any_pool_over_the_frames_keeps_the_symmetry(pool):
    assert max(differences(made(frames="symmetrised", frame_pool=pool).network, range(1, 7))) < EXACT


def test_without_symmetry_whole_codons_alone_change_nothing():
    found = differences(made(frames="none").network, range(1, 13))
    assert max(found[2::3]) < EXACT
    assert min(found[0::3] + found[1::3]) > 1e-3


@pytest.mark.parametrize("frames", ["symmetrised", "equivariant"])
def test_zeros_at_the_ends_break_the_symmetry(frames):
    assert min(differences(made(frames=frames, padding="zeros").network, range(1, 4))) > 1e-4


@pytest.mark.parametrize("frames", ["symmetrised", "equivariant"])
def test_a_head_that_knows_places_breaks_the_symmetry(frames):
    head = {"_target_": "poolbench.pooling.AdaptiveAvgPool2dFlatten", "output_size": 4}
    assert min(differences(made(head, frames=frames).network, range(1, 4))) > 1e-4


def test_frames_are_read_as_the_sequence_begun_at_each_letter():
    """The symmetrised network is the plain one on three sequences, averaged."""
    both = {frames: made(frames=frames).network.eval() for frames in ("symmetrised", "none")}
    both["symmetrised"].load_state_dict(both["none"].state_dict())
    x = sequences()
    with torch.no_grad():
        alone = torch.stack([both["none"](x.roll(-shift, 2)) for shift in range(3)]).mean(0)
        torch.testing.assert_close(both["symmetrised"](x), alone)


def test_an_equivariant_map_holds_what_the_three_frames_have_side_by_side():
    plain, every = (CodonCNN(4, 2, (60,), frames=frames).eval() for frames in ("none", "equivariant"))
    with torch.no_grad():
        # Channels of three letters in the one are places of a kernel in the other.
        every.read.weight.copy_(plain.read.weight.view(32, 4, 3))
        every.read.bias.copy_(plain.read.bias)
        every.join.load_state_dict(plain.join.state_dict())
        every.classifier.load_state_dict(plain.classifier.state_dict())
        x = sequences()
        heads = {}
        for name, net in {"plain": plain, "every": every}.items():
            net.head.register_forward_pre_hook(lambda _, given, name=name: heads.__setitem__(name, given[0]))
            net(x)
        torch.testing.assert_close(heads["every"][..., ::3], heads["plain"])


@pytest.mark.parametrize("length", [61, 62, 3])
def test_lengths_that_it_cannot_serve_are_named(length):
    with pytest.raises(UnsupportedError, match=f"sequences of length {length}: it must be a multiple of 3"):
        made(length=length)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": "all"}, "unknown `backbone.frames` 'all'"),
        ({"frame_pool": "mean"}, "unknown `backbone.frame_pool` 'mean'"),
        ({"frames": "none", "frame_pool": "max"}, "`backbone.frame_pool=max` does nothing with backbone.frames=none"),
        ({"padding": "reflect"}, "unknown `backbone.padding` 'reflect'"),
        ({"codons": 2}, "`backbone.codons` must be an odd whole number"),
        ({"width": 0}, "`backbone.width` must be"),
    ],
)
def test_wrong_arguments_are_named(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        made(**changes)
