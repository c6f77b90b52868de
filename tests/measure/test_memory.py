"""Memory of a training step: by hand, by a pass that is run, and by torch's profiler."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from poolbench.backbones import Assembled, assemble
from poolbench.measure.cost import cost
from poolbench.measure.memory import StepMemory, step_memory
from poolbench.paths import conf_dir
from poolbench.pooling import AvgPool2d, MaxPool2d

POOLINGS = sorted(path.stem for path in (conf_dir() / "pooling").glob("*.yaml"))
FLOAT, INDEX = 4, 8


def spec(group: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())
    return found


def made(backbone: str, pooling: str, shape: tuple[int, int, int]) -> Assembled:
    return assemble(
        spec("backbone", backbone),
        spec("pooling", pooling),
        in_channels=shape[0],
        image_size=shape[1:],
        num_classes=10,
        seed=0,
    )


def kept(*layers: nn.Module) -> int:
    return step_memory(nn.Sequential(*layers), torch.zeros(2, 1, 4, 4)).kept


def conv() -> nn.Conv2d:
    return nn.Conv2d(1, 2, 3, padding=1)


def test_a_linear_layer_by_hand() -> None:
    found = step_memory(nn.Linear(4, 3), torch.zeros(2, 4))
    own, images, output = FLOAT * (4 * 3 + 3), FLOAT * 2 * 4, FLOAT * 2 * 3
    # At the end there are a gradient for each parameter, the sum of the outputs and its own gradient beside them.
    assert found == StepMemory(kept=images, peak=2 * own + images + output + 2 * FLOAT)


def test_what_autograd_keeps_by_hand() -> None:
    images, maps, results = FLOAT * 2 * 16, FLOAT * 2 * 2 * 16, 2 * 2 * 4
    assert kept(nn.Flatten(), nn.Linear(16, 3), nn.Sigmoid()) == images + FLOAT * 2 * 3
    assert kept(conv()) == images
    assert kept(conv(), nn.ReLU()) == images + maps
    # What two operations keep counts once: the ReLU's result is what the pooling was given.
    assert kept(conv(), nn.ReLU(), nn.MaxPool2d(2)) == images + maps + INDEX * results
    assert kept(conv(), nn.ReLU(), MaxPool2d(2)) == images + maps
    assert kept(conv(), MaxPool2d(2)) == images + maps
    # torch's mean keeps a map that it needs no value of; this package's keeps nothing.
    assert kept(conv(), nn.AvgPool2d(2)) == images + maps
    assert kept(conv(), AvgPool2d(2)) == images
    assert kept(nn.MaxPool2d(2)) == kept(nn.Flatten()) == 0


def test_memory_grows_by_the_image() -> None:
    network = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2))
    one, three = (step_memory(network, torch.zeros(batch, 1, 4, 4)) for batch in (1, 3))
    assert three.kept == 3 * one.kept
    own = FLOAT * (2 * 9 + 2)
    # Parameters and their gradients do not grow, the two numbers of the loss neither.
    assert three.peak - 2 * own - 2 * FLOAT <= 3 * (one.peak - own)
    assert one.peak < three.peak < 3 * one.peak


class Item(nn.Module):
    """Asks for a number."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.abs().max().item() >= 0 else -x


@pytest.mark.quick(4)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pass_that_computes_nothing_finds_what_one_that_is_run_finds(pooling: str) -> None:
    arm = made("slides", pooling, (1, 16, 16))
    before = torch.get_rng_state()
    found = cost(arm.network, arm.input_shape, operators=arm.operators, batch_size=3)
    assert torch.equal(torch.get_rng_state(), before)
    run = step_memory(arm.network.train(), torch.zeros(3, 1, 16, 16))
    assert found["memory_method"] == "fake"
    assert (found["kept_bytes"], found["peak_bytes"]) == (run.kept, run.peak)
    own = FLOAT * found["parameters"]
    assert found["peak_bytes"] >= found["kept_bytes"] + own


def test_where_a_number_is_asked_for_the_pass_is_run() -> None:
    layers = conv(), nn.ReLU(), nn.MaxPool2d(2)
    plain = cost(nn.Sequential(*layers), (1, 4, 4), batch_size=2)
    asking = cost(nn.Sequential(*layers, Item()), (1, 4, 4), batch_size=2)
    assert (plain["memory_method"], asking["memory_method"]) == ("fake", "run")
    assert asking["kept_bytes"] == plain["kept_bytes"] == kept(*layers)


def profiled_peak(network: nn.Module, images: Tensor) -> int:
    """Return the most bytes that torch's allocator had given out in a step, what was there before included."""
    there = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())) + images.nbytes
    network.train().zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        network(images).sum().backward()
    network.zero_grad(set_to_none=True)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert len(events) > 100
    alive = most = there
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


# In a convolution's backward pass the profiler sees one or two maps of 512 KiB more, which the kernel takes for itself.
@pytest.mark.quick(1)
@pytest.mark.parametrize(("pooling", "least"), [("max", 0.97), ("avg", 0.93), ("lip", 0.97)])
def test_the_peak_is_what_torchs_profiler_sees_save_for_kernels_own_memory(pooling: str, least: float) -> None:
    arm = made("resnet20", pooling, (3, 32, 32))
    counted = cost(arm.network, arm.input_shape, batch_size=8)["peak_bytes"]
    measured = profiled_peak(arm.network, torch.zeros(8, 3, 32, 32))
    assert least * measured <= counted <= measured


WEIGHTS_OF_VGG16 = FLOAT * 138_357_544
GROWTH = """
import json, resource, sys, torch, torchvision
from poolbench.measure.cost import cost
unit = 1 if sys.platform == "darwin" else 1024
most = lambda: unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cost(torchvision.models.vgg11(num_classes=10).features, (3, 32, 32))  # what is loaded at the first pass
network = torchvision.models.vgg16()
before = most()
found = cost(network, (3, 224, 224), batch_size=64)
print(json.dumps([found["memory_method"], found["peak_bytes"], most() - before]))
"""


@pytest.mark.slow
def test_counting_a_large_network_takes_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GROWTH], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    method, peak, grown = json.loads(done.stdout)
    assert method == "fake"
    assert peak > 4e9
    assert grown < WEIGHTS_OF_VGG16 / 10


def test_a_step_clears_gradients_and_keeps_none() -> None:
    network = nn.Linear(4, 3)
    network.weight.grad = torch.ones(3, 4)
    step_memory(network, torch.zeros(2, 4))
    assert network.weight.grad is None


def test_what_is_shared_counts_once() -> None:
    shared = nn.Linear(4, 4, bias=False)
    own = FLOAT * 16
    twice = step_memory(nn.Sequential(shared, nn.Identity(), shared), torch.zeros(2, 4))
    # Images and the first result are kept; the weight and its gradient are there once, a second gradient for a moment.
    assert twice.kept == 2 * FLOAT * 8
    assert twice.peak >= 2 * own + twice.kept
    assert twice.peak < 4 * own + 3 * twice.kept


def test_an_impossible_step_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        step_memory(nn.Linear(5, 3), torch.zeros(2, 4))
