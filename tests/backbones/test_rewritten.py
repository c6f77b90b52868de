"""Forward methods that are rewritten do what they did, and those that cannot be are left alone, with a true reason."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from poolbench.backbones import Assembled
from poolbench.backbones.function_pools import expose_pools
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.measure.audit import audited

Assemble = Callable[..., Assembled]
SIZE = (3, 16, 16)


x0 = torch.zeros(1)


def first(values: Any) -> Tensor:
    found, _ = values
    return found


def unpacked(x: Tensor) -> Tensor:
    n, c, *_ = x.shape
    return x.view(n, c, -1).mean(2)


# Features of a map (B, 8, 8, 8): the ways of a mean, of a maximum, and of what is another pooling.
MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "sizes": lambda x: F.avg_pool2d(x, (x.size(2), x.size(3))).flatten(1),
    "length": lambda x: x.mean((2, 3)) if len(x.shape) == 4 and x.ndim == 4 and x.dim() == 4 else x,
    "stars": lambda x: x.reshape(*x.shape[:2], -1).mean(-1),
    "star": unpacked,
    "turned": lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "turned twice": lambda x: x.movedim(1, -1).flatten(1, 2).mean(1),
    "made on the spot": lambda x: nn.AdaptiveAvgPool2d(1)(x).flatten(1),
    "made for its size": lambda x: nn.AvgPool2d(x.shape[2:])(x).flatten(1),
}
MAXIMA: dict[str, Callable[[Tensor], Tensor]] = {
    "sizes": lambda x: F.max_pool2d(x, (x.size(2), x.size(3))).flatten(1),
    "unpacked": lambda x: first(x.flatten(2).max(-1)),
    "turned": lambda x: x.permute(0, 2, 3, 1).amax((1, 2)),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "pow": lambda x: x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3),
    "pow of a window": lambda x: F.avg_pool2d(x.pow(3), (x.size(-2), x.size(-1))).pow(1 / 3).flatten(1),
    "square": lambda x: (x * x).mean((2, 3)).sqrt(),
    "exp": lambda x: x.exp().mean((2, 3)).log(),
    "variance": lambda x: ((x - x.mean((2, 3), keepdim=True)) ** 2).mean((2, 3)),
}
WAYS = {"mean": MEANS, "max": MAXIMA, "other": OTHERS}


class Ends(nn.Module):
    """Two convolutions around a max pooling, and features in one of the ways."""

    def __init__(self, num_classes: int, kind: str, way: str) -> None:
        super().__init__()
        self.conv, self.pool, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 1)
        self.fc, self.way = nn.Linear(8, num_classes), WAYS[kind][way]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.way(torch.relu(self.conv2(self.pool(self.conv(x))))))


def net(of: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "_target_": f"{__name__}.{of}", **arguments}


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind in ("mean", "max") for way in WAYS[kind]])
def test_a_head_in_code_is_what_it_was(assemble: Assemble, kind: str, way: str) -> None:
    made = assemble(net("Ends", kind=kind, way=way), "gap" if kind == "mean" else "gmp", shape=SIZE)
    assert [row["name"] for row in made.sites] == ["pool"]
    assert made.left == []
    plain, x = Ends(10, kind, way).eval(), torch.randn(2, *SIZE)
    plain.load_state_dict(made.network.state_dict())
    torch.testing.assert_close(made.network.eval()(x), plain(x))


@pytest.mark.parametrize("way", OTHERS)
def test_a_mean_inside_of_another_pooling_is_no_head(assemble: Assemble, way: str) -> None:
    with pytest.raises(UnsupportedError, match=r"before it, it is a part of another pooling.*make it a module"):
        assemble(net("Ends", kind="other", way=way), "gap", shape=SIZE)


class Tail(nn.Module):
    """A map in other forms, with modules at its end."""

    def __init__(self, num_classes: int, case: str, part: str = "tail") -> None:
        super().__init__()
        self.conv, self.pool, self.case, self.part = nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2), case, part
        tails: dict[str, Callable[[], nn.Module]] = {
            "normed": lambda: nn.Sequential(nn.LayerNorm(6), Last()),
            "flat": nn.Flatten,
            "tokens": lambda: nn.Sequential(nn.Flatten(1, 2), Tokens()),
            "back": lambda: nn.Sequential(
                nn.Flatten(), nn.Unflatten(1, (8, 48)), nn.AdaptiveAvgPool1d(1), nn.Flatten()
            ),
            "two": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.AvgPool2d(2), nn.Flatten()),
        }
        self.add_module(part, tails[case]())
        self.fc = nn.Linear({"flat": 6 * 64, "back": 8}.get(case, 6), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x))
        if self.case != "two":
            x = x.permute(0, 2, 3, 1)
        return self.fc(self.get_submodule(self.part)(x))


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@pytest.mark.parametrize(("case", "head"), [("normed", "tail.1.mean"), ("flat", "tail")])
def test_maps_whose_channels_come_last(assemble: Assemble, case: str, head: str) -> None:
    made = assemble(net("Tail", case=case), "gap", shape=SIZE)
    assert (made.head["name"], made.head["features"]) == (head, 6)
    x, seen = torch.randn(2, *SIZE), list[Tensor]()
    made.network.get_submodule(f"{head}.1").register_forward_hook(lambda _, given, out: seen.extend((*given, out)))
    made.network.eval()(x)
    assert seen[0].shape == (2, 6, 8, 8)
    torch.testing.assert_close(seen[1], seen[0].mean((2, 3)))


class Line(nn.Module):
    """A sequence (B, L, C) at its end."""

    def __init__(self, num_classes: int, flat: bool) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv1d(3, 6, 3, padding=1), nn.MaxPool1d(2)
        self.tail, self.fc = nn.Flatten() if flat else nn.LayerNorm(6), nn.Linear(6 * 8 if flat else 6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tail(self.pool(self.conv(x)).transpose(1, 2))
        return self.fc(x if x.ndim == 2 else x.mean(1))


@pytest.mark.parametrize(("flat", "head"), [(False, "mean"), (True, "tail")])
def test_sequences_whose_channels_come_last(assemble: Assemble, flat: bool, head: str) -> None:
    made = assemble(net("Line", flat=flat), "gap", shape=(3, 16))
    assert (made.head["name"], made.head["features"]) == (head, 6)
    x, seen = torch.randn(2, 3, 16), list[Tensor]()
    made.network.get_submodule(f"{head}.1").register_forward_hook(lambda _, given, out: seen.extend((*given, out)))
    made.network.eval()(x)
    assert seen[0].shape == (2, 6, 8)
    torch.testing.assert_close(seen[1], seen[0].mean(2))


@pytest.mark.parametrize("case", ["tokens", "back"])
def test_what_flattens_but_gives_no_features_is_no_head(assemble: Assemble, case: str) -> None:
    assert assemble(net("Tail", case=case), "max", shape=SIZE).head["name"] == ""


def test_a_head_that_pools_twice_is_exchanged_as_a_whole(assemble: Assemble) -> None:
    made = assemble(net("Tail", case="two", part="global_pool"), "gmp", shape=SIZE)
    assert (made.head["name"], [row["name"] for row in made.sites]) == ("global_pool", ["pool"])


class Way(nn.Module):
    """Functions, and what rewriting a forward method might lose."""

    def __init__(self, num_classes: int, case: str = "") -> None:
        super().__init__()
        self.conv, self.fc, self.case, self.seen = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, num_classes), case, []

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.case == "no_grad":
            with torch.no_grad():
                x = x * 2
        elif self.case == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                x = self.conv(x[:, :3]).float()
        elif self.case == "checkpoint":
            x = checkpoint(torch.relu, x, use_reentrant=False)
        elif self.case == "torch":
            x = x * torch.rand(1)
        elif self.case == "random":
            x = x * random.random()
        elif self.case == "attribute":
            self.features = x
        elif self.case == "list":
            self.seen.append(x)
        elif self.case == "windows":
            x = (x + torch.ones(1)).unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
        elif self.case == "auxiliary" and self.training:
            return self.fc(x.mean((2, 3))), x
        elif self.case == "mode":
            x = F.max_pool2d(x, 2) if self.training else F.avg_pool2d(x, 2)
        else:
            x = F.dropout(F.max_pool2d(x, 2), 0.5, self.training)
        if self.training and self.case == "noise":
            x = x + torch.randn_like(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no_grad", "part of it runs without gradients"),
        ("autocast", "part of it runs without gradients, under autocast"),
        ("checkpoint", "recomputed"),
        ("torch", "draws random numbers"),
        ("random", "draws random numbers"),
        ("attribute", "it sets features of its module"),
        ("list", "it sets seen of its module"),
        ("mode", "it pools otherwise in training"),
    ],
)
def test_what_rewriting_would_lose_is_left_alone(assemble: Assemble, case: str, reason: str) -> None:
    made = assemble(net("Way", case=case), "max", shape=SIZE)
    assert (made.sites, made.head["name"]) == ([], "")
    assert all(reason in row["reason"] for row in made.left)
    assert set(vars(made.network)) - set(vars(Way(10))) == ({"features"} if case == "attribute" else set())
    assert all(isinstance(one, Tensor) for one in (*made.network.seen, getattr(made.network, "features", x0)))
    assert [name for name, _ in made.network.named_children()] == ["conv", "fc"]


@pytest.mark.parametrize("case", ["", "noise", "windows"])
def test_rewritten_it_does_the_same_in_training_and_in_evaluation(assemble: Assemble, case: str) -> None:
    made = assemble(net("Way", case=case), "max", shape=SIZE)
    assert (made.head["name"], [row["name"] for row in made.sites]) == ("mean", ["max_pool2d"][: case != "windows"])
    plain, x = Way(10, case), torch.randn(2, *SIZE)
    plain.load_state_dict(made.network.state_dict())
    for training in (True, False):
        given = []
        for network in (made.network, plain):
            torch.manual_seed(0)
            given.append(network.train(training)(x))
        torch.testing.assert_close(*given)


class Asking(nn.Module):
    """Code that asks what its arguments are, which a stand-in answers otherwise."""

    def __init__(self, num_classes: int, case: str) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, num_classes)
        self.case = case

    def forward(self, x: Tensor, frozen: Tensor | None = None, scale: float = 2.0, twice: bool = False) -> Tensor:
        x = self.conv(x)
        if frozen is not None:
            x = x.detach() * frozen
        if twice or scale != 2.0:
            x = x * 2
        if self.case == "kind" and isinstance(x, Tensor):
            x = self.norm(x + 1)
        x = F.max_pool2d(x, 2)
        if self.case == "type":
            return self.fc(x.mean((2, 3), dtype=torch.float32))
        return self.fc(x.flatten(2).amax(-1))


def test_arguments_that_are_left_out_are_their_defaults(assemble: Assemble) -> None:
    made = assemble(net("Asking", case="default"), "max", shape=SIZE).network.train()
    assert [name for name, _ in made.named_children()] == ["conv", "norm", "fc", "max_pool2d", "amax"]
    plain, x = Asking(10, "default"), torch.randn(2, *SIZE)
    plain.load_state_dict(made.state_dict())
    for network in (made, plain):
        network(x).square().sum().backward()
    torch.testing.assert_close(made.conv.weight.grad, plain.conv.weight.grad)
    torch.testing.assert_close(made(x, None, 2.0, False), plain(x))
    for given in ((torch.ones(1),), (None, 3.0), (None, 2.0, True)):
        with pytest.raises(RuntimeError, match=r"must be its default .*: this method was rewritten for calls without"):
            made(x, *given)


def test_what_a_stand_in_would_change_is_left_alone(assemble: Assemble) -> None:
    made = assemble(net("Asking", case="kind"), "max", shape=SIZE)
    assert made.sites == []
    assert any("it would compute something else" in row["reason"] for row in made.left)
    plain, x = Asking(10, "kind"), torch.randn(2, *SIZE)
    plain.load_state_dict(made.network.state_dict())
    torch.testing.assert_close(made.network.train()(x), plain(x))


def test_a_mean_of_a_type_of_its_own_is_no_head(assemble: Assemble) -> None:
    made = assemble(net("Asking", case="type"), "max", shape=SIZE)
    assert ([row["name"] for row in made.sites], made.head["name"]) == (["max_pool2d"], "")


def test_a_network_that_gives_more_in_training_is_told(assemble: Assemble) -> None:
    made = assemble(net("Way", case="auxiliary"), "max", shape=SIZE)
    with pytest.raises(ConfigurationError, match=r"a tensor of logits .* in training as in evaluation, got tuple"):
        audited(made, batch_size=2, device=torch.device("cpu"))


class Named(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.pool, self.gap = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.fc, self.fc2 = nn.Linear(8, num_classes), nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.gap(input=self.pool(input=self.conv(x))).flatten(1))


class Two(Named):
    def forward(self, x: Tensor) -> Tensor:
        x = self.gap(self.pool(self.conv(x))).flatten(1)
        return self.fc(x) + self.fc2(x)


def test_modules_that_are_given_their_map_by_name(assemble: Assemble) -> None:
    left = assemble(net("Named"), "max", shape=SIZE).left
    assert [(row["name"], row["reason"]) for row in left] == [
        (name, "it is given its map by name: no operator is") for name in ("pool", "gap")
    ]


def test_a_head_that_does_not_fit_what_follows_is_named(assemble: Assemble) -> None:
    text = r"`pooling.head` \(AdaptiveAvgPool2dFlatten\) in the place of 'gap' \(AdaptiveAvgPool2d\): mine cannot take"
    with pytest.raises(UnsupportedError, match=text):
        assemble(net("Two"), "adaptive", shape=SIZE)


def scripted(num_classes: int) -> nn.Module:
    return torch.jit.script(sequence(num_classes))


def traced(num_classes: int) -> nn.Module:
    return torch.jit.trace(sequence(num_classes), torch.zeros(1, *SIZE))


def sequence(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    )


def graph(num_classes: int) -> nn.Module:
    return torch.fx.symbolic_trace(Ends(num_classes, "mean", "turned"))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["scripted", "traced"])
def test_torchscript_as_a_whole(assemble: Assemble, kind: str) -> None:
    made = assemble(net(kind), "max", shape=SIZE)
    assert made.head["note"].startswith("it is TorchScript, of which no module can be exchanged")
    assert {row["reason"] for row in made.left} == {"it is TorchScript, of which no module can be exchanged"}


def test_a_graph_of_torch_fx(assemble: Assemble) -> None:
    made = assemble(net("graph"), "gap", shape=SIZE)
    assert (made.head["name"], [row["name"] for row in made.sites]) == ("mean", ["pool"])


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def test_many_modules_take_no_more_passes_than_one() -> None:
    network, passes = nn.Sequential(*(Gate() for _ in range(20))), list[Tensor]()
    network[0].register_forward_pre_hook(lambda _, args: passes.extend(args))
    exposed, reasons = expose_pools(network, SIZE)
    assert len(passes) == 2
    assert not reasons
    assert all(isinstance(gate.mean, nn.AdaptiveAvgPool2d) for gate in exposed)
