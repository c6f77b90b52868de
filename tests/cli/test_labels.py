"""What arms are called."""

from typing import Any

import pytest

from poolbench.cli.labels import labels, own_class

WRITTEN: dict[str, Any] = {
    "backbone": {"name": "allcnn", "_target_": "x.AllCNN", "width": 96},
    "dataset": {"name": "digits", "root": "data", "image_size": 16, "augment": {"flip": False}},
    "pooling": {"name": "avg_topk", "downsample": {"_target_": "poolbench.AvgTopK", "k": 2}, "head": None},
    "head": {"name": "adaptive", "_target_": "poolbench.Adaptive", "output_size": 2},
}


def composed(**changes: Any) -> dict[str, Any]:
    config = {**WRITTEN, "head": None}
    return config | {group: {**WRITTEN[group], **change} for group, change in changes.items()}


def pooling(**downsample: Any) -> dict[str, Any]:
    return {"downsample": {**WRITTEN["pooling"]["downsample"], **downsample}}


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "avg_topk"),
        ({"pooling": pooling(k=3)}, "avg_topk[k=3]"),
        ({"pooling": pooling(k=3, kernel_size=[3, 3])}, "avg_topk[k=3,kernel_size=[3,3]]"),
        ({"pooling": {"name": "mine"} | pooling(k=3)}, "mine"),
        ({"pooling": {"head": {"_target_": "poolbench.Gap"}}}, "avg_topk+Gap"),
        ({"pooling": {"downsample": None}}, "avg_topk[downsample=null]"),
        ({"pooling": {"downsample": {"_target_": "my.pools.MyPool"}}}, "MyPool"),
        ({"pooling": {"downsample": {"_target_": "my.pools.MyPool", "beta": 2}}}, "MyPool[beta=2]"),
    ],
)
def test_variant(changes: dict, label: str) -> None:
    assert labels(composed(**changes), WRITTEN, {})["variant"] == label


def test_the_optional_head_is_in_the_label() -> None:
    assert labels(composed(head={}), WRITTEN, {"head": "adaptive"})["variant"] == "avg_topk[head=adaptive]"
    assert labels(composed(head={"output_size": 3}), WRITTEN, {"head": "adaptive"})["variant"] == (
        "avg_topk[head=adaptive,head.output_size=3]"
    )


def test_backbone_and_dataset_say_what_was_changed_but_not_where_files_lie() -> None:
    named = labels(composed(backbone={"width": 16}, dataset={"root": "/elsewhere", "image_size": 8}), WRITTEN, {})
    assert (named["backbone"], named["dataset"]) == ("allcnn[width=16]", "digits[image_size=8]")


def test_a_dataset_named_by_the_user_is_called_so() -> None:
    assert (
        labels(composed(dataset={"name": "cifar10-jpeg75", "image_size": 8}), WRITTEN, {})["dataset"]
        == "cifar10-jpeg75"
    )


def test_an_operator_of_ones_own_does_not_inherit_arguments() -> None:
    mine = composed(pooling=pooling(_target_="my.MyPool"))["pooling"]
    assert own_class(mine, WRITTEN["pooling"], [])["downsample"] == {"_target_": "my.MyPool"}
    given = own_class(mine, WRITTEN["pooling"], ["pooling.downsample.k=2"])
    assert given["downsample"] == {"_target_": "my.MyPool", "k": 2}
    at_once = own_class(mine, WRITTEN["pooling"], ["pooling.downsample={_target_:my.MyPool,k:2}"])
    assert at_once == given
    same = composed(pooling=pooling(k=3))["pooling"]
    assert own_class(same, WRITTEN["pooling"], []) == same
