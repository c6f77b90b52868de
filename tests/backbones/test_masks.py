"""Networks that give a class for every place: sizes, ways up, what stands beside the poolings, matched widths."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from poolbench.backbones import FPN, OWN_WIDTH, Assembled, Hypercolumn, UNet, Width, assemble
from poolbench.backbones.encoder import InterMap, PyramidContext
from poolbench.backbones.mask_network import cropped, padded
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.measure.audit import audited
from poolbench.measure.matching import TOLERANCE, match

NETWORKS = {"unet": UNet, "fpn": FPN, "hypercolumn": Hypercolumn}
AVG = {"downsample": {"_target_": "poolbench.pooling.AvgPool2d"}}


def made(
    name: str,
    size: tuple[int, int] = (24, 24),
    pooling: dict[str, Any] | None = None,
    breadth: Width = OWN_WIDTH,
    **changes: Any,
) -> Assembled:
    kind = NETWORKS[name].__name__
    spec = {"_target_": f"poolbench.backbones.{kind}", "name": name, "width": 4, **changes}
    return assemble(
        spec,
        pooling or {"downsample": None},
        in_channels=1,
        image_size=size,
        num_classes=3,
        seed=0,
        width=breadth,
        output_shape=(3, *size),
    )


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("size", [(24, 24), (8, 8), (23, 17), (9, 30)])
def test_every_place_gets_classes_whatever_the_size(name, size):
    network = made(name, size).network
    logits = network(torch.randn(2, 1, *size))
    assert logits.shape == (2, 3, *size)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("size", [(5, 8), (7, 7), (8, 8), (1, 9)])
def test_padding_goes_equally_to_both_sides_and_is_cropped_again(size):
    images = torch.rand(1, 1, *size) + 1
    around, before = padded(images, 4)
    assert all(side % 4 == 0 and side - own < 4 for side, own in zip(around.shape[2:], size, strict=True))
    assert all(first == (-own % 4) // 2 for first, own in zip(before, size, strict=True))
    assert torch.equal(cropped(around, size, before), images)
    assert around.sum() == pytest.approx(float(images.sum()))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_size_that_does_not_divide_is_the_padded_one_cropped(name):
    network = made(name, (24, 24)).network.eval()
    images = torch.randn(1, 1, 21, 18)
    with torch.no_grad():
        whole = network(F.pad(images, (3, 3, 1, 2)))[..., 1:22, 3:21]
        torch.testing.assert_close(network(images), whole)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_audit_shows_every_level_and_the_pooling_acts_at_each(name):
    audit, cost = audited(made(name, pooling=AVG), batch_size=2, device=torch.device("cpu"))
    assert [row["name"] for row in audit["sites"]] == [f"encoder.pools.{level}" for level in range(3)]
    assert [row["input_shape"] for row in audit["sites"]] == [[4, 24, 24], [8, 12, 12], [16, 6, 6]]
    assert {row["operator"] for row in audit["sites"]} == {"AvgPool2d"}
    assert cost["multiply_adds"] > 0
    images = torch.randn(2, 1, 24, 24)
    with torch.no_grad():
        assert not torch.allclose(made(name).network(images), made(name, pooling=AVG).network(images))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_heads_are_unsupported(name):
    with pytest.raises(UnsupportedError, match=f"`pooling.head`: {name} has no head to act on"):
        made(name, pooling={"head": {"_target_": "poolbench.pooling.GlobalAvgPool2d"}})


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_images_too_small_for_the_levels_are_refused(name):
    with pytest.raises(UnsupportedError, match=rf"{name} cannot take images of 7x9: 3 levels need at least 8x8"):
        made(name, (7, 9))
    assert made(name, (7, 9), levels=2).sites


@pytest.mark.quick(1)
@pytest.mark.parametrize("by", ["params", "macs"])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("unet", {}),
        ("unet", {"up": "interpolated", "inter_map": 2, "pyramid_context": [3]}),
        ("fpn", {}),
        ("hypercolumn", {}),
    ],
)
def test_an_arm_with_more_parameters_is_made_as_large_as_the_reference(name, changes, by):
    strided = {"downsample": {"_target_": "poolbench.pooling.StridedConv2d"}}

    def arm(width: Width) -> Assembled:
        return made(name, pooling=strided, breadth=width, **changes | {"width": 16})

    found = match(by, arm, made(name, **changes | {"width": 16}))
    assert abs(found.difference) <= TOLERANCE
    assert found.width < 1
    network = arm(Width(found.width, found.phase)).network
    assert network(torch.zeros(1, 1, 24, 24)).shape == (1, 3, 24, 24)


def test_unpooled_values_go_back_to_where_they_came_from():
    network = made("unet", up="unpooled", levels=1).network.eval()
    seen: dict[str, torch.Tensor] = {}
    network.encoder.blocks[0].register_forward_hook(lambda *given: seen.__setitem__("own", given[2]))
    network.rise[0].register_forward_hook(lambda *given: seen.__setitem__("below", given[2]))
    network.join[0].register_forward_pre_hook(lambda _, given: seen.__setitem__("joined", given[0]))
    with torch.no_grad():
        network(torch.randn(1, 1, 8, 8))
    raised = seen["joined"][:, 4:]
    windows = F.unfold(seen["own"].transpose(0, 1), 2, stride=2).argmax(1)  # (channels, windows)
    found = F.unfold(raised.transpose(0, 1), 2, stride=2)
    at_maximum = found.gather(1, windows[:, None])[:, 0]
    assert torch.equal(at_maximum.view(4, 4, 4), seen["below"][0])
    assert found.abs().sum() == pytest.approx(float(at_maximum.abs().sum()), rel=1e-6)


@pytest.mark.parametrize(
    "pooling",
    [AVG, {"downsample": {"_target_": "poolbench.pooling.MaxPool2d", "kernel_size": 3, "stride": 2, "padding": 1}}],
)
def test_poolings_without_places_to_unpool_to_are_unsupported(pooling):
    with pytest.raises(UnsupportedError, match=r"up=unpooled needs max pooling in windows side by side"):
        made("unet", up="unpooled", pooling=pooling)


def test_ways_up_are_different_networks_with_equal_ways_down():
    ways = {up: made("unet", up=up).network for up in ("transposed", "interpolated", "unpooled")}
    images = torch.randn(1, 1, 24, 24)
    outputs = [network.eval()(images) for network in ways.values()]
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])
    first = [network.state_dict()["encoder.blocks.0.0.weight"] for network in ways.values()]
    assert torch.equal(first[0], first[1])


def test_inter_map_is_the_largest_of_each_group():
    maps = torch.randn(2, 6, 3, 3)
    assert torch.equal(InterMap(3)(maps), torch.stack([maps[:, :3].amax(1), maps[:, 3:].amax(1)], dim=1))
    assert torch.equal(InterMap(1)(maps), maps)
    with pytest.raises(UnsupportedError, match=r"inter_map=4 needs a multiple of 4 channels, got 6"):
        InterMap(4)(maps)


def test_pyramid_context_is_the_mean_over_the_places_that_there_are():
    maps = torch.randn(1, 2, 5, 4)
    around = PyramidContext([3])(maps)[:, 2:]
    for y in range(5):
        for x in range(4):
            window = maps[..., max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            torch.testing.assert_close(around[..., y, x], window.mean((2, 3)))
    assert PyramidContext([3, 5])(maps).shape == (1, 6, 5, 4)
    assert torch.equal(PyramidContext([])(maps), maps)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"up": "nearest"}, "unknown `backbone.up` 'nearest'"),
        ({"levels": 0}, "`backbone.levels` must be"),
        ({"inter_map": 0}, "`backbone.inter_map` must be"),
        ({"pyramid_context": [2]}, "`backbone.pyramid_context` must be a list of odd whole numbers"),
        ({"pyramid_context": "35"}, "`backbone.pyramid_context`"),
        ({"pyramid_context": 3}, "`backbone.pyramid_context` must be a list"),
    ],
)
def test_wrong_arguments_are_named(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        made("unet", **changes)


def test_sequences_are_refused():
    with pytest.raises(UnsupportedError, match="unet takes images"):
        UNet(1, 2, (48,))  # type: ignore[arg-type]
