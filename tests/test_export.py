"""Networks as ONNX and as programs of torch.export: equal to what they were made from, or refused with a reason."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
import torch.nn.functional as F
import yaml
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument  # type: ignore[import-untyped]
from torch import Tensor, nn

from poolbench.backbones import assemble
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.export import DifferenceError, Normalised, export_network
from poolbench.export import network as exporting
from poolbench.paths import conf_dir

SHAPE = (1, 16, 16)
VARIANTS = sorted(path.stem for path in (conf_dir() / "pooling").glob("*.yaml"))
FORMATS = pytest.mark.parametrize("format", ["onnx", "torch"])


class LooksAtValues(nn.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class TakesTwo(nn.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(2, *x.shape[1:]))


class Cells(nn.Module):
    def __init__(self, size: tuple[int, int], pool: Callable[..., Tensor] = F.adaptive_max_pool2d) -> None:
        super().__init__()
        self.size, self.pool = size, pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x, self.size).flatten(1)


class Adds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) + 1


def spec(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def network(
    backbone: str,
    variant: str | type[nn.Module],
    shape: tuple[int, int, int] = SHAPE,
    *,
    normalised: bool = True,
) -> nn.Module:
    """Return a network in training, as it comes."""
    if isinstance(variant, str):
        pooling = spec("pooling", variant)
    else:
        pooling = {"name": "own", "downsample": {"_target_": f"{__name__}.{variant.__name__}"}, "head": None}
    size: dict[str, Any] = {"in_channels": shape[0], "image_size": shape[1:], "num_classes": 10}
    made = assemble(spec("backbone", backbone), pooling, **size, seed=0).network
    return Normalised(made, mean=[0.3], std=[0.4]) if normalised else made


@pytest.mark.quick(1)
@FORMATS
@pytest.mark.parametrize(
    ("backbone", "variant"),
    [
        ("slides", "max"),
        ("slides", "avg_topk"),
        ("slides", "stochastic"),
        ("slides", "gamp"),
        ("lenet5", "max_blur"),
        ("lenet5", "gap"),
        pytest.param("resnet20", "strided_conv"),
        pytest.param("resnet20", "max_blur", marks=pytest.mark.slow),
    ],
)
def test_what_is_exported_equals_the_network(backbone: str, variant: str, format: str, tmp_path: Path) -> None:
    made, path = network(backbone, variant), tmp_path / "network"
    done = export_network(made, SHAPE, path, format=format, input_dtype=torch.uint8)
    assert path.read_bytes() == done.content
    assert done.difference is not None
    x = torch.randint(256, (5, *SHAPE), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    made.eval()
    with torch.no_grad():
        expected = made(x)
        found = run(path, format)(x)
    largest = expected.abs().max().item()
    assert expected.std(0).max() > 0.02 * largest, "one image is another than the next"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * largest)


def run(path: Path, format: str, batch: int | str = "batch") -> Any:
    if format == "torch":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape[0] == batch
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_be_exported(variant: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / "network"
    done = export_network(network("slides", variant), SHAPE, path, format=format, input_dtype=torch.uint8)
    assert done.difference is not None
    assert done.difference < 1e-4


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize(
    ("backbone", "variant"),
    [
        *((name, "avg_topk") for name in ("slides", "keras_cnn", "lenet5", "allcnn", "resnet20", "resnet18")),
        *((name, "global_gem") for name in ("keras_cnn", "allcnn", "resnet18")),
        *(("lenet5", name) for name in ("adaptive", "adaptive_max", "spatial_pyramid")),
    ],
)
def test_every_native_backbone_can_be_exported(backbone: str, variant: str, format: str, tmp_path: Path) -> None:
    made = network(backbone, variant, (1, 20, 20))
    done = export_network(made, (1, 20, 20), tmp_path / "network", format=format, input_dtype=torch.uint8)
    assert done.difference is not None


@pytest.mark.quick(1)
@FORMATS
@pytest.mark.parametrize(
    ("backbone", "variant", "shape", "dtype", "output_shape"),
    [
        ("ecg_cnn", "avg_topk", (1, 512), torch.float32, (5,)),
        ("motif_cnn", "gmp", (4, 200), torch.uint8, (5,)),
        ("codon_cnn", "gmp", (4, 99), torch.uint8, (2,)),
        ("audio_cnn", "avg_topk", (1, 40, 33), torch.float32, (5,)),
        ("unet", "avg_topk", (1, 50, 47), torch.uint8, (5, 50, 47)),
        ("fpn", "avg_topk", (1, 50, 47), torch.uint8, (5, 50, 47)),
        ("hypercolumn", "avg_topk", (3, 48, 48), torch.uint8, (5, 48, 48)),
        ("line_cnn", "avg_topk", (1, 32, 32), torch.uint8, (1,)),
    ],
)
def test_networks_of_other_examples_can_be_exported(
    backbone: str,
    variant: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    output_shape: tuple[int, ...],
    format: str,
    tmp_path: Path,
) -> None:
    channels, *sizes = shape
    size: dict[str, Any] = {"in_channels": channels, "image_size": tuple(sizes), "num_classes": output_shape[0]}
    of_backbone, pooling = spec("backbone", backbone), spec("pooling", variant)
    made = assemble(of_backbone, pooling, **size, output_shape=output_shape, seed=0).network
    kind: dict[str, Any] = {"spatial": len(sizes), "levels": dtype == torch.uint8}
    taking = Normalised(made, mean=[0.3] * channels, std=[0.4] * channels, **kind)
    done = export_network(taking, shape, tmp_path / "network", format=format, input_dtype=dtype)
    assert done.difference is not None
    assert done.difference < 1e-4


TORCHVISION = (
    *("alexnet", "vgg11_bn", "vgg16_bn", "resnet18", "resnet50", "densenet121", "googlenet", "squeezenet1_1"),
    *("mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "regnet_y_400mf"),
)


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("variant", ["max", "avg", "strided_conv", "avg_topk", "max_blur", "gap", "adaptive"])
@pytest.mark.parametrize(("library", "model"), [*(("torchvision", m) for m in TORCHVISION), ("timm", "resnet26d")])
def test_networks_of_the_libraries_can_be_exported(
    library: str, model: str, variant: str, format: str, tmp_path: Path
) -> None:
    size: dict[str, Any] = {"in_channels": 3, "image_size": (64, 64), "num_classes": 10}
    made = assemble(spec("backbone", library) | {"model": model}, spec("pooling", variant), **size, seed=0).network
    exported = export_network(made.eval(), (3, 64, 64), tmp_path / "network", format=format)
    assert exported.difference is not None


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_a_network_of_a_library_can_be_exported(variant: str, format: str, tmp_path: Path) -> None:
    size: dict[str, Any] = {"in_channels": 3, "image_size": (64, 64), "num_classes": 10}
    chosen = spec("backbone", "torchvision") | {"model": "resnet18"}
    try:
        made = assemble(chosen, spec("pooling", variant), **size, seed=0).network
    except UnsupportedError:
        return  # its windows are of odd size alone
    exported = export_network(made.eval(), (3, 64, 64), tmp_path / "network", format=format)
    assert exported.difference is not None


@pytest.mark.slow
def test_files_need_neither_poolbench_nor_the_paths_of_this_machine(tmp_path: Path) -> None:
    made = network("slides", "avg_topk").eval()
    x = torch.arange(3 * 256, dtype=torch.int64).remainder(251).to(torch.uint8).view(3, *SHAPE)
    for format, name in (("onnx", "a.onnx"), ("torch", "a.pt2")):
        export_network(made, SHAPE, tmp_path / name, format=format, input_dtype=torch.uint8)
        assert str(Path(__file__).resolve().parents[1]).encode() not in (tmp_path / name).read_bytes()
    torch.save({"x": x, "expected": made(x).detach()}, tmp_path / "pair.pt")
    code = (
        "import sys; sys.modules['poolbench'] = None\n"
        "import onnxruntime, torch\n"
        "pair = torch.load('pair.pt', weights_only=True)\n"
        "session = onnxruntime.InferenceSession('a.onnx')\n"
        "torch.testing.assert_close(torch.from_numpy(session.run(None, {'images': pair['x'].numpy()})[0]), "
        "pair['expected'], rtol=1e-4, atol=1e-5)\n"
        "found = torch.export.load('a.pt2').module()(pair['x'])\n"
        "torch.testing.assert_close(found, pair['expected'], rtol=1e-4, atol=1e-5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (7, 9)])
def test_cells_of_unequal_sizes_which_onnx_lacks(size: tuple[int, int], tmp_path: Path) -> None:
    done = export_network(Cells(size), (2, 5, 7), tmp_path / "a")
    assert done.difference == 0
    done = export_network(Cells(size), (2, 5, 7), tmp_path / "a", batch=1)
    assert done.difference == 0


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("size", [(2, 3), (7, 9)])
def test_means_of_cells_of_unequal_sizes(size: tuple[int, int], format: str, tmp_path: Path) -> None:
    done = export_network(Cells(size, F.adaptive_avg_pool2d), (2, 5, 7), tmp_path / "a", format=format)
    assert done.difference is not None
    assert done.difference < 1e-6


@pytest.mark.quick(1)
@FORMATS
@pytest.mark.parametrize("variant", ["adaptive", "avg_max_concat"])
def test_a_classifier_that_was_added_is_exported(variant: str, format: str, tmp_path: Path) -> None:
    made = network("allcnn", variant, (1, 16, 16))
    assert "network.head.linear.weight" in made.state_dict()
    done = export_network(made, (1, 16, 16), tmp_path / "a", format=format, input_dtype=torch.uint8)
    assert done.difference is not None


def test_normalisation_is_that_of_the_batches() -> None:
    from poolbench.data import Batches, open_dataset

    images = open_dataset({"_target_": "poolbench.data.digits.Digits", "val_fraction": 0.1}).load()
    batches = Batches(images.test, torch.arange(4), 4, seed=0, mean=images.mean, std=images.std)
    ((expected, _),) = batches
    raw = next(iter(images.test.batches([torch.arange(4)])))
    assert raw.dtype == torch.uint8
    found = Normalised(nn.Identity(), mean=images.mean, std=images.std)(raw)
    assert torch.equal(found, expected)


@pytest.mark.quick(1)
@FORMATS
def test_float_images_and_a_fixed_batch(format: str, tmp_path: Path) -> None:
    made = network("slides", "max", normalised=False)
    done = export_network(made, SHAPE, tmp_path / "network", format=format, batch=2)
    assert done.difference is not None
    assert done.difference < 1e-5
    x = torch.zeros(3, *SHAPE)
    other = run(tmp_path / "network", format, batch=2)
    kind, message = {
        "onnx": (InvalidArgument, r"for input: images .*\n index: 0 Got: 3 Expected: 2\n"),
        "torch": (AssertionError, r"^Guard failed: \w+\.size\(\)\[0\] == 2$"),
    }[format]
    with pytest.raises(kind, match=message):
        other(x)


@pytest.mark.slow
def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    made = network("slides", "mixed").train()
    made.get_submodule("network").eval()
    before = {name: module.training for name, module in made.named_modules()}
    state = {name: value.clone() for name, value in made.state_dict().items()}
    export_network(made, SHAPE, tmp_path / "network", format="torch", input_dtype=torch.uint8)
    assert {name: module.training for name, module in made.named_modules()} == before
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())
    assert all(not module._forward_pre_hooks for module in made.modules())


@pytest.mark.quick(1)
@FORMATS
def test_an_operator_that_cannot_be_exported_is_named_and_leaves_nothing(
    format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedError, match=r"^LooksAtValues at \S+ cannot be exported .*data-dependent") as caught:
        export_network(network("slides", LooksAtValues), SHAPE, tmp_path / "a", format=format, input_dtype=torch.uint8)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@FORMATS
def test_what_takes_one_size_of_batch_is_exported_for_that_size_alone(format: str, tmp_path: Path) -> None:
    made = nn.Sequential(TakesTwo(2), nn.Flatten())
    with pytest.raises(UnsupportedError, match=r"^TakesTwo at 0 cannot be exported|Sequential takes no batch of 1"):
        export_network(made, SHAPE, tmp_path / "a", format=format)
    assert list(tmp_path.iterdir()) == []
    export_network(made, SHAPE, tmp_path / "a", format=format, batch=2)


@pytest.mark.quick(2)
@FORMATS
@pytest.mark.parametrize("wrong", ["a little", "not a number", "its shape"])
def test_a_difference_is_an_error_and_leaves_nothing(
    format: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoils = {
        "a little": lambda logits: logits * 1.001,
        "not a number": lambda logits: logits * torch.nan,
        "its shape": lambda logits: logits[:, :-1],
    }
    runner = exporting.RUNNERS[format]

    def spoilt(content: bytes) -> exporting.Runner:
        right = runner(content)
        return lambda x: spoils[wrong](right(x))

    monkeypatch.setitem(exporting.RUNNERS, format, spoilt)  # type: ignore[arg-type]
    with pytest.raises(DifferenceError, match="for 1 images"):
        export_network(Adds(), SHAPE, tmp_path / "a", format=format)
    assert list(tmp_path.iterdir()) == []
    done = export_network(Adds(), SHAPE, tmp_path / "a", format=format, check=False)
    assert done.difference is None


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    class Divides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x.flatten(1)) * torch.inf

    with pytest.raises(DifferenceError, match="no numbers"):
        export_network(Divides(), SHAPE, tmp_path / "a", format="torch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"package {package}\b.*pip install .\.\[export\]"):
        export_network(Adds(), SHAPE, tmp_path / "a")
    export_network(Adds(), SHAPE, tmp_path / "a", format="torch")


def test_what_is_asked_wrongly(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'onx'; did you mean onnx"):
        export_network(Adds(), SHAPE, tmp_path / "a", format="onx")
    for batch in (0, -1, True, 1.5):
        with pytest.raises(ConfigurationError, match="`batch` must be a whole number of at least 1"):
            export_network(Adds(), SHAPE, tmp_path / "a", format="torch", batch=batch)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="nowhere/a cannot be written: No such file"):
        export_network(Adds(), SHAPE, tmp_path / "nowhere" / "a", format="torch")
    assert list(tmp_path.iterdir()) == []


def test_the_extra_is_what_onnx_needs() -> None:
    import tomllib

    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert sorted(line.split(">=")[0] for line in extras["export"]) == sorted(exporting.ONNX_PACKAGES)
    assert set(extras["export"]) <= set(extras["dev"]), json.dumps(extras)


@pytest.mark.slow
def test_onnxruntime_sends_nothing(tmp_path: Path) -> None:
    """It reports the models that it runs by itself, some seconds after it was imported: a proxy would be asked."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), url)
        program = (
            "import time\n"
            "from torch import nn\n"
            "from poolbench.export import export_network\n"
            "network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))\n"
            "export_network(network, (1, 8, 8), 'a.onnx')\n"
            "time.sleep(12)"
        )
        environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
        done = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment | proxies)
        try:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(200))
        except TimeoutError:
            pass
        assert done.wait(60) == 0
    assert asked == []
