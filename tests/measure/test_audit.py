"""The audit with what each site costs, by hand."""

from typing import Any

import pytest
import torch
import yaml

from poolbench.backbones import Assembled, assemble
from poolbench.measure.audit import audited
from poolbench.measure.cost import cost
from poolbench.paths import conf_dir

CPU = torch.device("cpu")


def arm(backbone: str, pooling: str, head: str | None = None) -> Assembled:
    def spec(group: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())
        return found

    return assemble(
        spec("backbone", backbone),
        spec("pooling", pooling),
        head and spec("head", head),
        in_channels=3,
        image_size=(32, 32),
        num_classes=10,
        seed=0,
    )


def test_sites_by_hand() -> None:
    made = arm("slides", "lip")
    audit, figures = audited(made, batch_size=2, device=CPU)
    before = made.audit()
    # The convolution of the importance is 3 x 3; its window is 2, so a result sees 4 of the map that comes to it:
    # conv 5 x 5, 3 more: 8; conv at step 2, 4·2 more: 16, 3·2 more: 22.
    expected = [
        {"parameters": 9 * 16 * 16 + 32, "multiply_adds": 9 * 16 * 16 * 1024, "receptive_field": [8, 8]},
        {"parameters": 9 * 32 * 32 + 64, "multiply_adds": 9 * 32 * 32 * 256, "receptive_field": [22, 22]},
    ]
    work = [operator.work((c, n, n)) for operator, c, n in zip(made.operators, (16, 32), (32, 16), strict=True)]
    for more, own in zip(expected, work, strict=True):
        more |= {
            "pooling_operations": own.operations,
            "pooling_bytes_read": own.bytes_read,
            "pooling_bytes_written": own.bytes_written,
        }
    assert audit == before | {"sites": [row | more for row, more in zip(before["sites"], expected, strict=True)]}
    assert figures["pooling_operations"] == sum(own.operations for own in work)
    assert figures["parameters_pooling"] == made.parameters_pooling == sum(row["parameters"] for row in expected)
    assert figures == cost(made.network, (3, 32, 32), operators=made.operators) | {"parameters_pooling": 11_616}


def test_where_a_convolution_was_parted_its_cost_is_the_sites() -> None:
    audit, figures = audited(arm("resnet20", "strided_conv"), batch_size=4, device=CPU)
    found = {row["name"]: row for row in audit["sites"]}
    conv = found["layer2.0.conv1"]
    assert (conv["parameters"], conv["receptive_field"]) == (9 * 16 * 32, [17, 17])
    assert conv["multiply_adds"] == 9 * 16 * 32 * 16 * 16
    parted = audited(arm("resnet20", "avg"), batch_size=4, device=CPU)[0]["sites"][0]
    assert (parted["parameters"], parted["receptive_field"]) == (9 * 16 * 32, [18, 18])
    assert parted["multiply_adds"] == 9 * 16 * 32 * 32 * 32
    assert figures["memory_batch_size"] == 4


@pytest.mark.parametrize("head", ["attention", "second_order"])
def test_a_heads_parameters_count_among_the_poolings(head: str) -> None:
    made, plain = arm("slides", "max", head), arm("slides", "max")
    figures = audited(made, batch_size=2, device=CPU)[1]
    own = sum(p.numel() for p in made.network.get_submodule("head").parameters())
    assert figures["parameters_pooling"] == own
    assert audited(plain, batch_size=2, device=CPU)[1]["parameters_pooling"] == 0
    # The head's own work is in the sum, that of the sites is the same.
    others = audited(plain, batch_size=2, device=CPU)[1]
    assert figures["pooling_operations"] > others["pooling_operations"]


def test_nothing_of_the_network_changes() -> None:
    made = arm("slides", "mixed")
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    state = torch.get_rng_state()
    audited(made, batch_size=2, device=CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in made.network.state_dict().items())
    assert made.network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.network.modules())
