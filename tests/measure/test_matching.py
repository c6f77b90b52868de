"""Arms made as large as the reference."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from poolbench.backbones import OWN_WIDTH, Assembled, Width, assemble
from poolbench.errors import UnsupportedError
from poolbench.measure.matching import TOLERANCE, match, size_of
from poolbench.paths import conf_dir


def spec(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def maker(backbone: str, pooling: str) -> Callable[[Width], Assembled]:
    images: dict[str, Any] = {"in_channels": 3, "image_size": (32, 32), "num_classes": 10}
    return lambda width: assemble(spec("backbone", backbone), spec("pooling", pooling), **images, seed=0, width=width)


@pytest.mark.quick(1)
@pytest.mark.parametrize("by", ["params", "macs"])
@pytest.mark.parametrize(
    ("backbone", "pooling"), [("slides", "strided_conv"), ("slides", "lip"), ("lenet5", "lip"), ("resnet20", "lip")]
)
def test_arms_agree_within_one_percent(backbone: str, pooling: str, by: str) -> None:
    reference = maker(backbone, "max")(OWN_WIDTH)
    found = match(by, maker(backbone, pooling), reference)
    reached = size_of(maker(backbone, pooling)(Width(found.width, found.phase)), by)
    assert (found.target, found.reached) == (size_of(reference, by), reached)
    assert abs(reached - found.target) <= TOLERANCE * found.target
    own = size_of(maker(backbone, pooling)(OWN_WIDTH), by)
    if abs(own - found.target) > TOLERANCE * found.target:
        assert (found.width < 1) == (own > found.target)
    else:
        assert found.width == 1


def test_arm_that_agrees_keeps_its_width() -> None:
    found = match("params", maker("resnet20", "gated"), maker("resnet20", "max")(OWN_WIDTH))
    assert found.width == 1
    assert 0 < found.difference < 0.001


@pytest.mark.slow
def test_what_cannot_be_reached_says_how_near_it_came() -> None:
    """Three of this network's layers have 64 outputs and change together: by some 3 % of its parameters."""
    text = (
        r"`match=params`: no width brings parameters within 1% of the reference's 122,570; "
        r"the nearest is 124,421 \(\+1\.5%\) at 0\.8\d+ times the width"
    )
    with pytest.raises(UnsupportedError, match=text):
        match("params", maker("keras_cnn", "lip"), maker("keras_cnn", "max")(OWN_WIDTH))
