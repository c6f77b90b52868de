"""Every window operator under torch.compile, exported by torch.export and run as ONNX: the same results as eagerly."""

import copy
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, OTHERS, SEQUENCES, Case, as_configured, each, each_geometry
from torch import Tensor, nn
from torch.export import Dim

# What the fast part exports to ONNX; the slow part takes all.
SOME = ("max", "softpool", "strided_conv")


def each_mode(condition: Callable[[Case], bool], *, specs: Mapping[str, Case] = CASES) -> Any:
    """Run a test for every case, and in training where what draws is another thing than in evaluation."""
    chosen = {
        f"{name}-{'training' if training else 'evaluation'}": (case, training)
        for name, case in specs.items()
        for training in (False, True)
        if condition(case) and (case.kind.is_random or not training)
    }
    return pytest.mark.parametrize(("case", "training"), chosen.values(), ids=chosen)


def example(case: Case) -> Tensor:
    """Make a map, or a sequence."""
    return case.images(2, CHANNELS, *((8, 6) if case.kind.spatial == 2 else (9,)))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def result_and_gradients(operator: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor) -> list[Any]:
    x = x.detach().clone().requires_grad_()
    pooled = operator(x)
    return [pooled, *torch.autograd.grad(pooled.square().sum(), [x, *parameters], allow_unused=True)]


def check_compiled(operator: Any, *maps: Tensor, backend: str) -> None:
    """Compare an operator with its compiled self, which is not allowed a way back to Python.

    Traced but not rewritten, it has the same operations in the same order as plain torch. Kernels round a product and
    a sum at once, so that the last bit may differ where weights are no powers of two.
    """
    other = copy.deepcopy(operator)
    compiled = torch.compile(other, backend=backend, fullgraph=True)
    for x in maps:
        expected = result_and_gradients(operator, list(operator.parameters()), x)
        found = result_and_gradients(compiled, list(other.parameters()), x)
        if backend != "inductor":
            torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
        for one, two in zip(found, expected, strict=True):
            if one is None or two is None:
                assert one is two
            else:
                # A weight's gradient is a sum that nearly cancels, and inductor sums in another order.
                torch.testing.assert_close(one, two, rtol=1e-4, atol=3e-5 if backend == "inductor" else 1e-5)


@pytest.mark.quick(1)
@each(as_configured)
def test_compiled_equals_eager(case: Case) -> None:
    check_compiled(case.operator(), example(case), backend="aot_eager")


@pytest.mark.slow
@each_mode(as_configured, specs=SEQUENCES | OTHERS)
def test_compiled_sequences_and_other_arguments_equal_eager(case: Case, training: bool) -> None:
    check_compiled(case.operator().train(training), example(case), backend="aot_eager")


@pytest.mark.slow
@each_mode(lambda case: True)
def test_compiled_equals_eager_at_several_sizes(case: Case, training: bool) -> None:
    """From the second size on sizes are unknown numbers to the compiler; draws are those that eager ones would be."""
    maps = [case.images(2, CHANNELS, 8, 6), case.images(2, CHANNELS, 9, 7), case.images(3, CHANNELS, 10, 11)]
    check_compiled(case.operator().train(training), *maps, backend="aot_eager")


@pytest.mark.slow
@each(lambda case: case.kind.is_random)
def test_compiled_draws_are_those_of_eager_ones(case: Case) -> None:
    operator, x = case.operator().train(), example(case)
    check_compiled(operator, x, x, x, backend="aot_eager")
    assert not torch.equal(operator(x), operator(x))


@pytest.mark.slow
@each_mode(as_configured, specs=CASES | SEQUENCES | OTHERS)
def test_compiled_by_inductor_equals_eager(case: Case, training: bool) -> None:
    assert shutil.which("g++") or shutil.which("clang++"), "inductor needs a C++ compiler: install g++ or clang++"
    x = example(case)
    check_compiled(case.operator().train(training), x, x, backend="inductor")


def check_exported(case: Case) -> None:
    """What is exported is computed as plain torch computes it."""
    x = example(case)
    program = torch.export.export(case.operator(), (x,))
    assert not [node.target for node in program.graph.nodes if "poolbench" in str(node.target)]
    plainly = Case(case.name, case.spec | {"implementation": "torch"}, "torch").operator()
    assert torch.equal(program.module()(x), plainly(x))


@pytest.mark.quick(2)
@each(as_configured)
def test_exported_equals_plain_torch_and_holds_no_operation_of_our_own(case: Case) -> None:
    check_exported(case)


@pytest.mark.slow
@each(as_configured, specs=SEQUENCES | OTHERS)
def test_exported_sequences_and_other_arguments_equal_plain_torch(case: Case) -> None:
    check_exported(case)


@pytest.mark.slow
@each()
def test_exported_with_sizes_left_open_equals_eager(case: Case) -> None:
    # Large enough that no number of rows or frequencies is 0 or 1: those are always taken for constants.
    operator, x = case.operator(), case.images(2, CHANNELS, 20, 16)
    names = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    module = torch.export.export(operator, (x,), dynamic_shapes=(names,)).module()
    for y in (x, case.images(3, CHANNELS, 28, 24)):
        torch.testing.assert_close(module(y), operator(y), rtol=1e-4, atol=1e-5)


def check_exported_for_any_size(case: Case, geometry: dict[str, Any], *, strict: bool = False) -> None:
    """Export once, for sizes of every remainder."""
    operator = case.operator(**geometry)
    open_sizes = {0: Dim("batch", min=2, max=16)} | {
        dim + 2: Dim(name, min=8, max=64) for dim, name in enumerate(("height", "width")[: operator.spatial])
    }
    x = case.images(2, CHANNELS, *(12, 10)[: operator.spatial])
    program = torch.export.export(operator, (x,), dynamic_shapes=(open_sizes,), strict=strict)
    for batch, *sizes in ((2, 12, 10), (3, 9, 11), (4, 13, 16), (2, 15, 8)):
        x = case.images(batch, CHANNELS, *sizes[: operator.spatial])
        torch.testing.assert_close(program.module()(x), operator(x), rtol=1e-4, atol=1e-5)


@pytest.mark.quick(2)
@each(lambda case: case.name in (*SOME, "max_blur", "aps") and as_configured(case))
def test_exported_once_for_any_size(case: Case) -> None:
    check_exported_for_any_size(case, case.usual)


@pytest.mark.slow
@each(lambda case: case.name in ("median", "s3pool", "wavelet") and as_configured(case))
def test_exported_strictly_for_any_size(case: Case) -> None:
    check_exported_for_any_size(case, case.usual, strict=True)


@pytest.mark.slow
@each_geometry(as_configured, specs=CASES | OTHERS)
def test_exported_strictly_for_any_size_in_every_geometry(case: Case, geometry: dict[str, Any]) -> None:
    check_exported_for_any_size(case, geometry, strict=True)


@pytest.mark.slow
@each_geometry(as_configured, specs=CASES | OTHERS)
def test_exported_once_for_any_size_in_every_geometry(case: Case, geometry: dict[str, Any]) -> None:
    check_exported_for_any_size(case, geometry)


@pytest.mark.slow
@each(as_configured, specs=SEQUENCES)
def test_exported_once_for_sequences_of_any_length(case: Case) -> None:
    check_exported_for_any_size(case, case.usual)


@pytest.mark.quick(3)
@each(lambda case: case.name in (*SOME, "max_blur", "aps") and as_configured(case))
def test_traced_equals_eager(case: Case) -> None:
    check_traced(case)


@pytest.mark.slow
@each(as_configured)
def test_the_others_traced_equal_eager(case: Case) -> None:
    check_traced(case)


def check_traced(case: Case) -> None:
    operator, x = case.operator(), example(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it calls deprecated and of sizes that it keeps
        traced = torch.jit.trace(operator, (x,))
    torch.testing.assert_close(traced(x), operator(x), rtol=1e-4, atol=1e-5)


@pytest.mark.quick(2)
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each(lambda case: case.kind.is_random and as_configured(case))
def test_what_draws_is_not_traced(case: Case) -> None:
    with pytest.raises(RuntimeError, match=r"torch.jit.trace cannot follow an operator that draws: call eval"):
        torch.jit.trace(case.operator().train(), (example(case),))


def onnx_result(operator: nn.Module, x: Tensor) -> Tensor:
    import onnxruntime  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        # The exporter's own calls of what is deprecated elsewhere.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(operator, (x,), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(found)


def check_onnx(case: Case) -> None:
    """What is exported gives the same results; what says that it cannot be exported cannot."""
    operator, x = case.operator(), example(case)
    if case.kind.onnx is not None:
        with pytest.raises(torch.onnx.errors.OnnxExporterError):
            onnx_result(operator, x)
        return
    torch.testing.assert_close(onnx_result(operator, x), operator(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@each(lambda case: case.name in SOME and as_configured(case))
def test_onnx_equals_eager(case: Case) -> None:
    check_onnx(case)


@pytest.mark.slow
@each(lambda case: case.name not in SOME and as_configured(case))
def test_onnx_of_the_others_equals_eager(case: Case) -> None:
    check_onnx(case)


@pytest.mark.slow
@each(as_configured, specs=SEQUENCES | OTHERS)
def test_onnx_of_sequences_and_other_arguments_equals_eager(case: Case) -> None:
    check_onnx(case)
