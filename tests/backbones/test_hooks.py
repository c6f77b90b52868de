"""Hooks and classes of modules that are exchanged or rewritten stay, or the exchange is refused."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

from poolbench.backbones import Assembled
from poolbench.errors import UnsupportedError

Assemble = Callable[..., Assembled]
IMAGE = (3, 16, 16)


def net(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "_target_": f"{__name__}.{kind}", **arguments}


class Hooked(nn.Module):
    """A pooling by a function, a max pooling, a strided convolution, a mean; 52 is added to what one of them gives."""

    def __init__(self, num_classes: int, where: str) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.MaxPool2d(2)
        self.gap, self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(4, num_classes)
        self.avgpool = nn.Sequential(nn.Identity(), self.gap)
        if where.startswith("weight_norm"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # much code still uses it
                weight_norm(self.conv if where == "weight_norm" else self.fc)
        elif where == "spectral_norm":
            spectral_norm(self.conv)
        elif where != "nowhere":
            self.get_submodule(where).register_forward_hook(lambda _, __, output: output + 52)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.pool(F.max_pool2d(self.conv(x), 2)))) * self.scale()

    def scale(self) -> int:
        return 2


def logits(made: Assembled) -> Tensor:
    return made.network.eval()(torch.randn(2, *IMAGE, generator=torch.Generator().manual_seed(0)))


@pytest.mark.quick(4)
@pytest.mark.parametrize("where", ["", "conv", "pool", "fc", "avgpool"])
@pytest.mark.parametrize("variant", ["max", "avg", "gmp"])
def test_forward_hooks_are_called_in_every_arm(assemble: Assemble, where: str, variant: str) -> None:
    with_hook, without = (assemble(net("Hooked", where=one), variant, shape=IMAGE) for one in (where, "nowhere"))
    assert type(with_hook.network) is Hooked, "its class stays, and with it its methods"
    difference = logits(with_hook) - logits(without)
    weights = with_hook.network.get_parameter("fc.weight").sum(1)
    # What adds 52 to each channel of a map or of the features adds 52 times a row of weights to a logit.
    expected = {"": torch.full_like(weights, 52), "fc": torch.full_like(weights, 104)}.get(where, 104 * weights)
    torch.testing.assert_close(difference, expected.expand_as(difference), atol=1e-3, rtol=1e-3)


def test_a_hook_inside_of_what_is_exchanged_is_refused(assemble: Assemble) -> None:
    with pytest.raises(UnsupportedError, match=r"avgpool \(Sequential\) cannot be exchanged: avgpool\.0 inside of it"):
        assemble(net("Hooked", where="avgpool.0"), "gap", shape=IMAGE)
    assert assemble(net("Hooked", where="avgpool.0"), "avg", shape=IMAGE).sites


@pytest.mark.parametrize("where", ["weight_norm", "spectral_norm"])
def test_weights_that_a_hook_computes_are_still_learned(assemble: Assemble, where: str) -> None:
    made = assemble(net("Hooked", where=where), "avg", shape=IMAGE)
    assert [row["name"] for row in made.sites] == ["conv", "max_pool2d", "pool"]
    own = dict(Hooked(10, where).named_parameters())
    now = dict(made.network.named_parameters())
    assert now.keys() == own.keys()
    made.network(torch.randn(2, *IMAGE)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in now.values())


def test_what_computes_more_does_not_follow_a_heads_width(assemble: Assemble) -> None:
    spec = net("Hooked", where="weight_norm of the classifier")
    with pytest.raises(
        UnsupportedError, match=r"fc \(Linear\) behind the head must follow its width, 16, but is no plain"
    ):
        assemble(spec, "adaptive", shape=IMAGE)
    assert assemble(spec, "gmp", shape=IMAGE).head["features"] == 4


class Scaled(nn.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        return 52 * super().forward(x)


class Plain(nn.MaxPool2d):
    pass


class Subclassed(Hooked):
    def __init__(self, num_classes: int, pooling: str) -> None:
        super().__init__(num_classes, "nowhere")
        self.pool = {"Scaled": Scaled, "Plain": Plain}[pooling](2)


@pytest.mark.parametrize(("kind", "site"), [("Scaled", "pool.max_pool2d"), ("Plain", "pool")])
def test_what_a_subclass_adds_stays(assemble: Assemble, kind: str, site: str) -> None:
    made = assemble(net("Subclassed", pooling=kind), "avg", shape=IMAGE)
    assert [row["name"] for row in made.sites] == ["conv", "max_pool2d", site]
    assert made.left == []
    given = made.network.get_submodule("pool")(torch.ones(1, 4, 4, 4))
    assert given.unique().tolist() == [52 if kind == "Scaled" else 1]
