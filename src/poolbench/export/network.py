"""A network as ONNX or as a program of `torch.export`, compared with the network it was made from.

What is exported is evaluation, in float32, on the CPU. A file needs nothing of poolbench where it is used: compiled
kernels are left out of a graph in favour of torch's own operations, and the comparison says that both give the same.
A file is made in memory, loaded again, compared, and only then written, whole.
"""

import importlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from poolbench.checks import whole_number
from poolbench.environment import onnxruntime_import
from poolbench.errors import ConfigurationError, UnsupportedError, unknown_name
from poolbench.whole_file import replacing

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
# What ONNX needs beside torch; the last only for the comparison.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
EXTRA = "export"
INPUT, OUTPUT = "images", "logits"
# The largest difference that is let pass, as a share of the largest logit of the batch.
TOLERANCE = 1e-4
# Sizes of the batches compared where the size is left open: one image is what exporters get wrong most easily.
BATCH_SIZES = (1, 3, 16)
BATCHES_OF_FIXED_SIZE = 3

Runner = Callable[[Tensor], Tensor]


class DifferenceError(Exception):
    """What was exported does not give what the network gives."""


@dataclass(frozen=True)
class Exported:
    """A network in a format.

    Args:
        format: `"onnx"` or `"torch"`.
        content: of the file.
        difference: the largest absolute difference of a logit to the network's, None where nothing was compared.
        opset: of ONNX, None for `"torch"`.
    """

    format: str
    content: bytes = field(repr=False)
    difference: float | None
    opset: int | None = None


def export_network(
    network: nn.Module,
    input_shape: tuple[int, ...],
    path: str | Path,
    *,
    format: str = "onnx",
    input_dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    check: bool = True,
) -> Exported:
    """Write `network` to `path` and return what was written; nothing is written where anything went wrong.

    Args:
        network: examples (B, C, H, W) or (B, C, L) → outputs, float32, on the CPU; exported as in evaluation.
        input_shape: (C, H, W) of an image, (C, L) of a sequence.
        path: of the file; its folder must exist.
        format: `"onnx"`, or `"torch"` for a program of `torch.export`.
        input_dtype: of the images; uint8 for a network that normalises (`Normalised`).
        batch: images a batch; None leaves it open.
        check: run what was exported (ONNX by onnxruntime) on random batches, and compare with the network.

    Raises:
        ConfigurationError: `format` or `batch` is wrong, a package is missing, or `path` cannot be written.
        UnsupportedError: the network cannot be exported; the innermost module that cannot is named.
        DifferenceError: what was exported gives other logits than the network: further than `TOLERANCE` of the
            largest logit away.
    """
    made = exported(network, input_shape, format=format, input_dtype=input_dtype, batch=batch, check=check)
    write({Path(path): made.content})
    return made


def exported(
    network: nn.Module,
    input_shape: tuple[int, ...],
    *,
    format: str,
    input_dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    check: bool = True,
) -> Exported:
    """Return `network` in a format, in memory; arguments and errors are those of `export_network`."""
    require(format, check=check)
    whole_number("batch", batch, or_null="any size")
    # Of two: a size of one is always taken for a constant.
    example = images(batch or 2, input_shape, input_dtype, seed=0)
    with _evaluating(network):
        network(example)  # a network that does not run at all says so itself
        try:
            content, opset = _content(network, example, format=format, any_batch=batch is None)
        except Exception as error:
            raise _unsupported(network, example, error, format=format, any_batch=batch is None) from error
        difference = None
        if check:
            batches = [images(n, input_shape, input_dtype, seed=i) for i, n in enumerate(sizes_compared(batch))]
            difference = _largest_difference(network, content, batches, format=format)
    return Exported(format, content, difference, opset)


def sizes_compared(batch: int | None) -> tuple[int, ...]:
    """Return the sizes of the batches that are compared."""
    return BATCH_SIZES if batch is None else (batch,) * BATCHES_OF_FIXED_SIZE


def require(format: str, *, check: bool) -> None:
    """Raise `ConfigurationError` where `format` is unknown or a package that it needs is not installed."""
    if format not in SUFFIXES:
        raise unknown_name("format", format, SUFFIXES)
    if format != "onnx":
        return
    for name in ONNX_PACKAGES if check else ONNX_PACKAGES[:-1]:
        try:
            with onnxruntime_import():
                importlib.import_module(name)
        except ImportError as error:
            raise ConfigurationError(
                f"ONNX needs the package {name}, which cannot be imported ({error}): "
                f"install poolbench with its extra, pip install '.[{EXTRA}]' in its checkout, or take format=torch"
            ) from error


def images(count: int, shape: tuple[int, ...], dtype: torch.dtype, *, seed: int) -> Tensor:
    """Return random examples (count, C, …): levels 0..255 in an integer dtype, else standard normal values."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(count, *shape, generator=generator).to(dtype)
    return torch.randint(256, (count, *shape), generator=generator).to(dtype)


def _largest_difference(network: nn.Module, content: bytes, batches: Sequence[Tensor], *, format: str) -> float:
    """Return the largest absolute difference of a logit; raise `DifferenceError` where it is more than `TOLERANCE`."""
    try:
        run = RUNNERS[format](content)
    except Exception as error:
        raise DifferenceError(f"what was exported ({format}) cannot be loaded: {_line(error)}") from error
    largest = 0.0
    for x in batches:
        try:
            expected = network(x)
        except Exception as error:
            raise UnsupportedError(
                f"{type(network).__name__} takes no batch of {len(x)}, give `batch`: {_line(error)}"
            ) from error
        if not torch.isfinite(expected).all():
            raise DifferenceError("the network itself gives logits that are no numbers for random images")
        try:
            found = run(x)
        except Exception as error:
            raise DifferenceError(
                f"what was exported ({format}) does not run on {len(x)} images: {_line(error)}"
            ) from error
        if found.shape != expected.shape:
            raise DifferenceError(
                f"what was exported ({format}) gives {tuple(found.shape)} for {len(x)} images, "
                f"the network {tuple(expected.shape)}"
            )
        difference = (found - expected).abs().max().item()
        allowed = TOLERANCE * expected.abs().max().item()
        if not difference <= allowed:  # not a number is a difference too
            raise DifferenceError(
                f"what was exported ({format}) gives other logits than the network for {len(x)} images: "
                f"they differ by {difference:.3g}, allowed is {allowed:.3g}"
            )
        largest = max(largest, difference)
    return largest


def write(contents: Mapping[Path, bytes]) -> None:
    """Write files, each whole; where one cannot be, none of them stays and a `ConfigurationError` says why."""
    written: list[Path] = []
    try:
        for path, content in contents.items():
            with replacing(path) as file:
                file.write(content)
            written.append(path)
    except OSError as error:
        for done in written:
            done.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network into evaluation, without gradients, and back into what each of its modules was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _content(
    network: nn.Module, example: Tensor, *, format: str, any_batch: bool, outputs: Sequence[str] | None = (OUTPUT,)
) -> tuple[bytes, int | None]:
    """Return the file's content, and ONNX's opset."""
    shapes = ({0: Dim("batch")},) if any_batch else None
    with _quiet():
        if format == "torch":
            return _saved(torch.export.export(network, (example,), dynamic_shapes=shapes)), None
        # Of the module, not of the program above: an operator may have another way where ONNX lacks an operation.
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            dynamic_shapes=shapes,
            input_names=[INPUT],
            output_names=outputs,
            custom_translation_table={torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max},
        )
        assert program is not None
        return _serialised(program.model_proto), program.model_proto.opset_import[0].version


def _adaptive_max(x: Any, output_size: Sequence[int]) -> tuple[Any, Any]:
    """Return `F.adaptive_max_pool2d` in operations of ONNX, which has it only where the cells are of one size.

    Cell i of n begins at floor(i·H/n) and ends before ceil((i+1)·H/n). The indices, which nothing here asks for, are
    not made.
    """
    import onnxscript

    op: Any = onnxscript.opset18
    for axis, size, count in zip((-2, -1), x.shape[-2:], output_size, strict=True):
        cells = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        parts = [op.ReduceMax(op.Slice(x, [begin], [end], [axis]), [axis], keepdims=1) for begin, end in cells]
        x = op.Concat(*parts, axis=axis)
    return x, x


def _saved(program: ExportedProgram) -> bytes:
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _serialised(model: Any) -> bytes:
    for part in (model.graph, *model.functions):
        for node in part.node:
            del node.metadata_props[:]  # paths of this machine, and most of a small file
    return model.SerializeToString()


def _run_onnx(content: bytes) -> Runner:
    with onnxruntime_import():
        import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])


def _run_torch(content: bytes) -> Runner:
    return torch.export.load(io.BytesIO(content)).module()


RUNNERS: Mapping[str, Callable[[bytes], Runner]] = {"onnx": _run_onnx, "torch": _run_torch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' reports of their progress, and their calls of what is deprecated elsewhere, to themselves."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _unsupported(
    network: nn.Module, example: Tensor, error: Exception, *, format: str, any_batch: bool
) -> UnsupportedError:
    """Return the error for a network that cannot be exported, the innermost module that cannot be in it."""

    def attempt(part: nn.Module, x: Tensor) -> object:
        return _content(part, x, format=format, any_batch=any_batch, outputs=None)

    place, module = _innermost(network, example, attempt)
    where = f"{type(module).__name__} at {place.removeprefix('network.')}" if place else type(module).__name__
    kind = "ONNX" if format == "onnx" else "torch.export"
    return UnsupportedError(f"{where} cannot be exported ({kind}): {_line(error)}")


def _innermost(
    network: nn.Module, example: Tensor, attempt: Callable[[nn.Module, Tensor], object]
) -> tuple[str, nn.Module]:
    """Return name and module of the innermost part that `attempt` fails on by itself, the first of them."""
    found, inside = ("", network), ""
    for name, (module, x) in _calls(network, example).items():
        # What torch has itself can be exported; below a part that cannot be, only what is inside of it matters.
        own_layer = type(module).__module__.startswith("torch.") and not list(module.children())
        if own_layer or not name.startswith(inside):
            continue
        try:
            attempt(module, x)
        except Exception:
            found, inside = (name, module), f"{name}."
    return found


def _calls(network: nn.Module, example: Tensor) -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the parts that are called with one tensor, each with the first that it was given, outer ones first."""
    given: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments) == 1 and isinstance(arguments[0], Tensor):
            given.setdefault(module, arguments[0].clone())

    parts = {name: module for name, module in network.named_modules() if name}
    hooks = [module.register_forward_pre_hook(keep) for module in parts.values()]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (module, given[module]) for name, module in parts.items() if module in given}


def _line(error: BaseException) -> str:
    """Return the first line of what an error comes from: the exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return f"{type(error).__name__}: {text.splitlines()[0].strip()}" if text else type(error).__name__
