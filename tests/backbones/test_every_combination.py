"""Every backbone with every variant, found by listing the folders."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from backbones.shapes import output_for, shapes_for

from poolbench.backbones import Assembled
from poolbench.errors import UnsupportedError
from poolbench.paths import conf_dir

# Those that are any network of a library's are in test_any_network.
BACKBONES = sorted(path.stem for path in (conf_dir() / "backbone").glob("*.yaml") if "\nmodel:" not in path.read_text())
VARIANTS = sorted(path.stem for path in (conf_dir() / "pooling").glob("*.yaml"))
AUDIT_KEYS = {
    *("name", "native", "operator", "arguments", "geometry", "kernel_size", "stride", "padding", "ceil_mode"),
    *("input_shape", "output_shape"),
}


def test_an_operator_that_has_something_to_say_says_so_at_each_site(assemble: Callable[..., Assembled]) -> None:
    said = {variant: {row.get("note", "") for row in assemble("slides", variant).sites} for variant in ("tips", "max")}
    assert said == {"tips": {"trained without the two terms that the operator's article adds to the loss"}, "max": {""}}


def combinations() -> Iterator[Any]:
    """Yield every backbone with every variant in two shapes.

    The quick tests have every variant in the plainest network, and of the others one in turn, in one shape each.
    """
    for number, variant in enumerate(VARIANTS):
        for place, backbone in enumerate(BACKBONES):
            for at, shape in enumerate(shapes_for(backbone, [(3, 32, 32), (1, 16, 16)])):
                in_turn = place == number % len(BACKBONES) or backbone == "slides"
                quick = in_turn and at == (number + place) % 2
                marks = () if quick else pytest.mark.slow
                yield pytest.param(backbone, variant, shape, id=f"{backbone}-{variant}-{shape[1]}", marks=marks)


@pytest.mark.quick(8)
@pytest.mark.parametrize(("backbone", "variant", "shape"), list(combinations()))
def test_it_learns_or_says_why_not(
    assemble: Callable[..., Assembled], backbone: str, variant: str, shape: tuple[int, ...]
) -> None:
    refusal = None
    try:
        made = assemble(backbone, variant, shape=shape)
    except UnsupportedError as error:
        refusal = str(error)
    if refusal is not None:
        assert backbone in refusal
        assert re.search(r"\d+x\d+|length \d+|has no (site|head) to act on", refusal), "sizes are named"
        assert backbone != "slides", "the plainest network serves every variant"
        return
    assert made.network.training
    assert all(row.keys() - {"note"} == AUDIT_KEYS for row in made.sites)
    logits = made.network(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, *output_for(backbone, 10, shape))
    logits.logsumexp(1).sum().backward()
    bad = [n for n, p in made.network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not bad


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=pytest.mark.slow if name == "resnet18" else ()) for name in BACKBONES]
)
def test_parameters_that_two_arms_share_start_equal(assemble: Callable[..., Assembled], backbone: str) -> None:
    (shape,) = shapes_for(backbone, [(1, 18, 18)])
    seen: dict[int, dict[tuple[str, torch.Size], torch.Tensor]] = {0: {}, 1: {}}
    met_again = 0
    for variant in VARIANTS:
        for seed, known in seen.items():
            try:
                network = assemble(backbone, variant, shape=shape, seed=seed).network
            except UnsupportedError:
                continue
            for name, parameter in network.named_parameters():
                first = known.setdefault((name, parameter.shape), parameter)
                met_again += first is not parameter
                assert torch.equal(first, parameter), f"{variant}: {name} starts elsewhere"
    assert met_again > len(VARIANTS)
    convolutions = ("conv1.weight", "stages.0.conv.weight", "encoder.blocks.0.0.weight", "read.weight")
    weights = [key for key in seen[0] if key[0].endswith(convolutions)]
    assert weights
    assert not any(torch.equal(seen[0][key], seen[1][key]) for key in weights)


def test_rebuilt_linear_layer_keeps_its_bias_and_the_later_layers(assemble: Callable[..., Assembled]) -> None:
    flat, gap = (assemble("slides", variant).network.state_dict() for variant in ("max", "gap"))
    assert gap["classifier.0.weight"].shape == (120, 32)
    assert flat["classifier.0.weight"].shape == (120, 2048)
    kept = [name for name in flat if name != "classifier.0.weight"]
    assert "classifier.0.bias" in kept
    assert all(torch.equal(flat[name], gap[name]) for name in kept)


def test_rebuilt_linear_layer_depends_on_the_seed_and_the_width_alone(assemble: Callable[..., Assembled]) -> None:
    name = "classifier.0.weight"
    gap, gmp, other = (
        assemble("slides", variant, seed=seed).network.state_dict()[name]
        for variant, seed in (("gap", 0), ("gmp", 0), ("gap", 1))
    )
    assert torch.equal(gap, gmp)
    assert not torch.equal(gap, other)


@pytest.mark.parametrize("variant", ["max", "strided_conv", "class_maps_gap"])
def test_nothing_of_the_caller_is_drawn_from(assemble: Callable[..., Assembled], variant: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for backbone in ("allcnn", "resnet20"):
        assemble(backbone, variant).audit()
    assert torch.equal(torch.get_rng_state(), before)


def test_assembled_twice_is_equal_whatever_was_drawn_between(assemble: Callable[..., Assembled]) -> None:
    first = assemble("allcnn", "strided_conv").network.state_dict()
    torch.rand(7)
    second = assemble("allcnn", "strided_conv").network.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_parameters_of_the_pooling(assemble: Callable[..., Assembled]) -> None:
    counts = {
        variant: assemble(backbone, variant).parameters_pooling
        for backbone, variant in [
            ("slides", "max"),
            ("slides", "mixed"),
            ("slides", "strided_conv"),
            ("slides", "class_maps_gap"),
        ]
    }
    assert counts == {
        "max": 0,
        "mixed": 2,
        "strided_conv": 16 * 16 * 4 + 16 + 32 * 32 * 4 + 32,
        "class_maps_gap": 32 * 10 + 10,
    }
    assert assemble("resnet20", "strided_conv").parameters_pooling == 0


def test_head_group_goes_before_the_variants_own(assemble: Callable[..., Assembled]) -> None:
    made = assemble("slides", "adaptive", "gmp")
    assert made.head == {
        "name": "head",
        "native": "Flatten",
        "operator": "GlobalMaxPool2d",
        "arguments": "implementation=fast",
        "features": 32,
        "gives_logits": False,
        "note": "",
    }
    assert [row["operator"] for row in made.sites] == ["MaxPool2d", "MaxPool2d"]


def test_head_that_gives_logits_leaves_no_classifier(assemble: Callable[..., Assembled]) -> None:
    made = assemble("slides", "class_maps_gap")
    assert made.head["gives_logits"]
    assert made.head["arguments"] == "pool=GlobalAvgPool2d, implementation=fast"
    assert not any(name.startswith("classifier") for name in made.network.state_dict())
