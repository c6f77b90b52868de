"""Compiled kernels: equal to plain torch, whatever the layout, dtype, size and number of threads; kept on disk."""

import copy
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from poolbench.kernels import compiled
from poolbench.kernels.cpu import launch, library, team
from poolbench.kernels.cpu.approximations import interpolated
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Value, Window, exp, exp2, log, log2, sum_of
from poolbench.measure.operators import kept_bytes
from poolbench.pooling import (
    AvgPool2d,
    AvgTopKPool2d,
    LpPool2d,
    MAMPool2d,
    MaxPool2d,
    MinPool2d,
    MixedPool2d,
    RankWeightedPool2d,
    SoftPool2d,
    StochasticPool2d,
    TapPool2d,
    TMaxAvgPool2d,
)

layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 1e-2}


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(7)).relu().to(dtype)


def both(pool: TapPool2d, x: Tensor) -> list[list[Tensor]]:
    """Return result and gradients by the kernel, then by torch."""
    found = []
    for implementation in ("fast", "torch"):
        pool.implementation = implementation
        assert pool.implementation_for(x)[0] == implementation
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = pool(leaf)
        gradient = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
        found.append([y, *torch.autograd.grad(y, [leaf, *pool.parameters()], gradient)])
    return found


GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": (1, 4), "stride": (1, 5)},
    {"kernel_size": (4, 2), "stride": (1, 2), "padding": (2, 0), "ceil_mode": True},
    {"kernel_size": 2, "stride": 2, "dilation": 3},
    {"kernel_size": 3, "stride": (7, 40), "padding": 1},
    {"kernel_size": 2, "stride": (1, 70)},
]


@pytest.mark.quick(3)
@layouts
@dtypes
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("size", [(2, 3, 9, 83), (1, 16, 21, 7), (3, 40, 8, 36)], ids=str)
def test_equals_plain_torch(
    geometry: dict[str, Any], size: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    if size[-1] < 10 and geometry.get("stride") in ((1, 70), (7, 40)):
        geometry = geometry | {"stride": (7, 4)}
    x = images(*size, dtype=dtype).contiguous(memory_format=layout)
    fast, plain = both(AvgTopKPool2d(**geometry, k=2), x)
    for one, other in zip(fast, plain, strict=True):
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


@pytest.mark.quick(3)
@dtypes
@pytest.mark.parametrize(
    ("geometry", "size", "layout", "streams"),
    [
        ({"kernel_size": 2}, (2, 3, 16, 32), "contiguous", True),
        ({"kernel_size": 2}, (2, 3, 16, 64), "contiguous", True),
        ({"kernel_size": 4}, (2, 3, 16, 96), "contiguous", True),
        ({"kernel_size": 2}, (2, 3, 16, 36), "contiguous", False),  # rows begin within a cache line
        ({"kernel_size": 2}, (2, 3, 17, 32), "contiguous", False),  # the last row belongs to no window
        ({"kernel_size": 3, "stride": 2, "padding": 1}, (2, 3, 16, 32), "contiguous", False),
        ({"kernel_size": 2}, (2, 48, 6, 8), "channels_last", True),
        ({"kernel_size": 2}, (2, 48, 7, 8), "channels_last", False),  # the last row belongs to no window
        ({"kernel_size": 2}, (2, 18, 6, 8), "channels_last", False),  # vectors of 2 channels
        # Windows overlap: sums are written when they are whole, also those of rows that no window has.
        ({"kernel_size": 3, "stride": 2, "padding": 1}, (3, 32, 9, 7), "channels_last", True),
        ({"kernel_size": 3, "stride": 1, "dilation": 3}, (3, 16, 20, 8), "channels_last", True),
        ({"kernel_size": (3, 1), "stride": (2, 3)}, (2, 16, 12, 8), "channels_last", True),
        ({"kernel_size": 3, "stride": 2, "ceil_mode": True}, (2, 16, 10, 8), "channels_last", True),
    ],
    ids=str,
)
@pytest.mark.usefixtures("fresh_plans")
def test_gradients_that_bypass_the_caches(
    geometry: dict[str, Any],
    size: tuple[int, ...],
    layout: str,
    streams: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "STREAMED", 0)
    specs = []
    monkeypatch.setattr(launch, "kernel", lambda program, spec: specs.append(spec) or library.kernel(program, spec))
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    fast, plain = both(
        AvgTopKPool2d(**geometry, k=2), images(*size, dtype=dtype).contiguous(memory_format=memory_format)
    )
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    assert [spec.streaming for spec in specs] == [False, streams]


@pytest.mark.parametrize(("channels", "streams"), [(24, False), (48, True)])
def test_threads_that_share_an_image_do_not_share_cache_lines(
    channels: int, streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (1, channels, 32, 32)
    geometry = Geometry((3, 3), (2, 2), (1, 1), (1, 1), (16, 16))
    monkeypatch.setattr(launch, "STREAMED", 0)
    specs: list[Any] = []
    monkeypatch.setattr(launch, "kernel", lambda program, spec: specs.append(spec) or library.kernel(program, spec))
    for threads in (1, 2):
        program = MaxPool2d(3, 2, 1).program
        launch._plan(program, geometry, size, torch.float32, True, True, derivative=True, most_threads=threads)
    assert [spec.streaming for spec in specs] == [True, streams]


@pytest.mark.quick(3)
@layouts
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 64, 64, 64), (5, 48, 40, 24)], ids=str)
def test_threads_change_nothing(threads: int, size: tuple[int, ...], layout: torch.memory_format) -> None:
    x, pool = images(*size).contiguous(memory_format=layout), MixedPool2d(3, 2, 1, per="channel", channels=size[1])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        fast, _ = both(pool, x)
        torch.set_num_threads(1)
        alone, _ = both(pool, x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(fast[0], alone[0])
    assert torch.equal(fast[1], alone[1])
    torch.testing.assert_close(fast[2], alone[2], rtol=1e-4, atol=1e-3)  # summed in another order


@pytest.mark.usefixtures("fresh_plans")
def test_threads_of_python_do_where_there_is_no_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "openmp", lambda: None)
    monkeypatch.setattr(team, "LEAST_WORK", 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        fast, plain = both(LpPool2d(2), images(4, 8, 16, 16))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(fast, plain)


class Elementwise(TapPool2d):
    """One function of each value: what a kernel computes for it."""

    def __init__(self, function: Callable[[Value], Value]) -> None:
        super().__init__(1)
        self.function = function
        self.trace()

    def formula(self, window: Window) -> Value:
        return self.function(window.values[0])


@pytest.fixture(params=[False, True], ids=["by polynomials", "by tables"])
def tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fresh_plans: None) -> bool:
    """Functions as processors with tables compute them, or as all others do; here there may be the latter alone."""
    there = request.param and launch.has_tables()
    monkeypatch.setattr(launch, "has_tables", lambda: there)
    return there


# In units of what the dtype tells apart at 1, and of what it rounds a result to.
UNITS = {torch.float32: (4, 2**-23), torch.float64: (20, 2**-52), torch.bfloat16: (0.53, 2**-7)}


@pytest.mark.quick(4)
@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("dtype", UNITS, ids=str)
@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (exp, torch.exp, -87, 88),
        (exp2, torch.exp2, -125, 127),
        (log, torch.log, 1e-37, 1e38),
        (log2, torch.log2, 1e-37, 1e38),
        (log, torch.log, 0.7, 1.4),
        (log2, torch.log2, 0.7, 1.4),
    ],
)
def test_functions_are_close_to_exact_ones(
    function: Callable[[Value], Value],
    exact: Callable[[Tensor], Tensor],
    low: float,
    high: float,
    dtype: torch.dtype,
) -> None:
    x = torch.linspace(low, high, 20001, dtype=torch.float64)
    if high > 1e3:
        x = torch.logspace(math.log10(low), math.log10(high), 20001, dtype=torch.float64)
    x = x.to(dtype)
    found = Elementwise(function)(x.view(1, 1, 1, -1)).flatten().double()
    units, unit = UNITS[dtype]
    torch.testing.assert_close(found, exact(x.double()), rtol=units * unit, atol=0)


@pytest.mark.usefixtures("tables")
def test_functions_at_their_ends() -> None:
    x = torch.tensor([0.0, math.inf, -math.inf, math.nan, 200.0, -200.0]).view(1, 1, 1, -1)
    for function in (exp, exp2):
        found = Elementwise(function)(x).flatten()
        assert found[:3].tolist() == [1, math.inf, 0]
        assert found[3].isnan()
        assert found[4:].tolist() == [math.inf, 0]
    x = torch.tensor([0.0, math.inf, -1.0, math.nan, 1.0, 1e-42]).view(1, 1, 1, -1)
    found = Elementwise(log)(x).flatten()
    assert found[:2].tolist() == [-math.inf, math.inf]
    assert found[2:4].isnan().all()
    assert found[4].item() == 0
    assert found[5].item() == pytest.approx(math.log(1e-42), rel=1e-3)
    found = Elementwise(log2)(x).flatten()
    assert found[1].item() == math.inf
    assert found[3].isnan()


def test_interpolation_is_exact_for_polynomials_of_its_degree() -> None:
    terms = interpolated(lambda x: 2 * x**3 - x + 5, -1, 3, 3)
    assert terms == pytest.approx([2, 0, -1, 5], abs=1e-12)


def test_bfloat16_is_rounded_to_the_nearest() -> None:
    # Between 256 and 512 bfloat16 holds even numbers: 257 lies half-way, and goes to the even mantissa.
    x = torch.tensor([256.0, 258.0, 258.0, 260.0], dtype=torch.bfloat16).view(1, 1, 1, 4)
    assert AvgPool2d((1, 2))(x).flatten().tolist() == [256.0, 260.0]
    assert MaxPool2d(1)(torch.full((1, 1, 1, 1), math.nan, dtype=torch.bfloat16)).isnan().all()


def test_sums_of_overlapping_windows_are_made_in_float32() -> None:
    # 81 gradients of 1/81 meet at each value; in bfloat16 their sum would stop growing.
    x = torch.zeros(1, 16, 40, 40, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last).requires_grad_()
    AvgPool2d(9, stride=1)(x).sum().backward()
    assert x.grad is not None
    assert x.grad[..., 20, 20].float().sub(1).abs().max().item() < 0.01


@pytest.mark.parametrize(
    ("pool", "allowed"),
    [
        (MaxPool2d(2), 4),
        (AvgPool2d(2), 0),
        (AvgTopKPool2d(3, 2, 1, k=3), 4),
        (MixedPool2d(2), 4),
        (SoftPool2d(2), 4),
        (LpPool2d(2), 4),
    ],
)
def test_keeps_the_map_alone_and_an_average_not_even_that(pool: TapPool2d, allowed: int) -> None:
    x = images(2, 8, 32, 32)
    kept = kept_bytes(pool, x)
    parameters = sum(p.numel() * 4 * 32 for p in pool.parameters())
    assert kept <= allowed * x.numel() + parameters
    assert kept < kept_bytes(nn.MaxPool2d(2), x)


@pytest.mark.quick(3)
@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("geometry", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (MaxPool2d, {}),
        (MinPool2d, {}),
        (AvgPool2d, {}),
        (AvgTopKPool2d, {"k": 2}),
        (TMaxAvgPool2d, {"k": 2}),
        (MixedPool2d, {}),
        (MixedPool2d, {"per": "channel", "channels": 8}),
        (RankWeightedPool2d, {}),
        (MAMPool2d, {}),
    ],
    ids=str,
)
def test_keeps_no_more_than_torchs_max_pooling(
    kind: type[TapPool2d],
    own: dict[str, Any],
    geometry: dict[str, Any],
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> None:
    """That keeps the map, and the place of each largest value as a number of 8 bytes."""
    x = images(2, 8, 16, 16, dtype=dtype).contiguous(memory_format=layout)
    pool, theirs = kind(**geometry, **own), nn.MaxPool2d(**geometry)
    assert pool.implementation_for(x)[0] == "fast"
    assert kept_bytes(theirs, x) == x.nbytes + 8 * pool(x).numel()
    assert kept_bytes(pool, x) <= kept_bytes(theirs, x)


@pytest.mark.parametrize(
    ("x", "implementation", "expected"),
    [
        (torch.zeros(1, 1, 4, 4), "fast", ("fast", "")),
        (torch.zeros(1, 1, 4, 4), "torch", ("torch", "implementation=torch")),
        (torch.zeros(1, 1, 4, 4, dtype=torch.float16), "fast", ("torch", "no kernel for float16")),
        (
            torch.zeros(1, 1, 4, 4, device="meta"),
            "fast",
            ("torch", "kernels of implementation=fast run on cpu, the map is on meta"),
        ),
    ],
)
def test_says_what_computes_and_why(x: Tensor, implementation: str, expected: tuple[str, str]) -> None:
    assert MaxPool2d(2, implementation=implementation).implementation_for(x) == expected


def test_kernels_on_a_gpu_are_asked_for() -> None:
    with FakeTensorMode():
        x = torch.empty(1, 1, 4, 4, device="cuda")
    ran, reason = MaxPool2d(2).implementation_for(x)
    assert ran == "torch"
    assert reason.endswith("run on cpu, the map is on cuda: implementation=triton asks for kernels there")
    assert MaxPool2d(2, implementation="triton").implementation_for(x)[0] in ("triton", "torch")  # if it is installed
    here = MaxPool2d(2, implementation="triton").implementation_for(torch.zeros(1, 1, 4, 4))
    assert here == ("torch", "kernels of implementation=triton run on cuda, the map is on cpu")


def test_a_large_window_is_left_to_torch() -> None:
    pool, x = AvgTopKPool2d(17, k=20), images(1, 1, 17, 17)
    assert pool.implementation_for(x) == ("torch", "the window of 289 values is too large for a kernel")
    torch.testing.assert_close(pool(x).item(), x.flatten().topk(20).values.mean().item())


def test_without_kernels_torch_does_it_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("no llvmlite")

    monkeypatch.setattr(library, "_machine", missing)
    pool, x = MaxPool2d(2), images(1, 1, 4, 4)
    assert pool.implementation_for(x) == ("torch", "no kernels on this machine: ImportError: no llvmlite")
    assert torch.equal(pool(x), nn.MaxPool2d(2)(x))


def test_a_gradient_without_memory_of_its_own() -> None:
    x = images(2, 4, 8, 8).requires_grad_()
    MaxPool2d(2)(x).sum().backward()  # the gradient is one number, expanded
    assert x.grad is not None
    assert x.grad.sum().item() == 2 * 4 * 16


def test_the_second_derivative_is_that_of_plain_torch() -> None:
    x = images(1, 2, 5, 5, dtype=torch.float64).add(0.1).requires_grad_()
    found = []
    for implementation in ("fast", "torch"):
        pool = LpPool2d(3, 2, 1, p=3.0, implementation=implementation)
        (first,) = torch.autograd.grad(pool(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    assert found[0].abs().sum() > 0
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["window", "window_gradient"])
@layouts
def test_is_a_good_operator_of_torch(name: str, layout: torch.memory_format) -> None:
    pool = MixedPool2d(2)
    x = images(2, 4, 6, 6).contiguous(memory_format=layout)
    geometry, params = [2, 2, 2, 2, 0, 0, 1, 1, 3, 3], torch.full((1, 4), 0.3)
    if name == "window":
        arguments: tuple[Any, ...] = (x, params, None, pool.program.digest, geometry)
    else:
        last = layout is torch.channels_last
        gradient = torch.ones(2, 4, 3, 3).contiguous(memory_format=layout)
        arguments = (gradient, x, params, None, pool.program.digest, geometry, list(x.shape), last)
    torch.library.opcheck(getattr(torch.ops.poolbench, name).default, arguments)


def test_an_operator_can_be_copied_and_pickled() -> None:
    pool, x = StochasticPool2d(2), images(2, 3, 8, 8)
    for same in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert torch.equal(same.eval()(x), copy.deepcopy(pool).eval()(x))


def test_a_pickled_operator_runs_in_a_new_process(tmp_path: Path) -> None:
    path = tmp_path / "pool.pickle"
    path.write_bytes(pickle.dumps(AvgTopKPool2d(2, k=3)))
    code = f"import pickle, torch; print(pickle.load(open({str(path)!r}, 'rb'))(torch.eye(4).view(1, 1, 4, 4)).sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1.3333" in done.stdout


# ---- the cache ----


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "kernels"
    monkeypatch.setenv(compiled.FOLDER, str(folder))
    fresh = compiled.Compiled()
    for module in (compiled, library):
        monkeypatch.setattr(module, "COMPILED", fresh)
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    """Do as in a new process: nothing is loaded."""
    library.kernel.cache_clear()
    launch._ready.cache_clear()
    library._machine.cache_clear()


def _pool() -> None:
    assert AvgTopKPool2d(2, k=2)(torch.eye(4).view(1, 1, 4, 4)).sum().item() == 2.0
    _forget()


def test_a_kernel_is_compiled_once_and_taken_from_the_cache_later(empty_cache: Path) -> None:
    _pool()
    assert (library.COMPILED.made, library.COMPILED.loaded) == (1, 0)
    assert len(list(empty_cache.iterdir())) == 1
    _pool()
    assert (library.COMPILED.made, library.COMPILED.loaded) == (1, 1)
    assert library.COMPILED.seconds > 0
    assert not library.COMPILED.unkept


@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"\0" * 5000])
def test_a_broken_file_is_made_anew(empty_cache: Path, content: bytes) -> None:
    _pool()
    (path,) = empty_cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(content)
    _pool()
    assert library.COMPILED.made == 2
    assert path.stat().st_size == len(whole)


def test_a_truncated_file_is_made_anew(empty_cache: Path) -> None:
    _pool()
    (path,) = empty_cache.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    _pool()
    assert library.COMPILED.made == 2


def test_where_nothing_can_be_kept_it_still_runs_and_says_so(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv(compiled.FOLDER, str(file / "below"))
    _pool()
    assert library.COMPILED.made == 1
    assert str(file / "below") in library.COMPILED.unkept


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without a home folder and without an account, as a container's."""
    for name in ("HOME", "XDG_CACHE_HOME", compiled.FOLDER):
        monkeypatch.delenv(name, raising=False)

    def none(user: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr("pwd.getpwuid", none)


def test_without_a_home_it_still_runs_and_says_so(empty_cache: Path, no_home: None) -> None:
    assert compiled.cache_folder() is None
    _pool()
    assert (library.COMPILED.made, library.COMPILED.loaded) == (1, 0)
    assert "no home folder" in library.COMPILED.unkept


def test_an_unwritable_cache_home_keeps_nothing(
    tmp_path: Path, empty_cache: Path, no_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    _pool()
    assert library.COMPILED.made == 1
    assert str(file) in library.COMPILED.unkept


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(compiled.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.cache_folder() == tmp_path / "poolbench" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compiled.cache_folder() == Path.home() / ".cache" / "poolbench" / "kernels"


class _MaskedLate(TapPool2d):
    """A formula that makes an infinite slope of what is outside the map before it leaves it out."""

    def formula(self, window: Window) -> Value:
        return sum_of(window.mask([log(value) for value in window.values], 0.0))


@pytest.mark.quick(2)
@layouts
@pytest.mark.parametrize("implementation", ["fast", "torch"])
def test_what_is_outside_the_map_gives_nothing_to_what_is_inside(
    implementation: str, layout: torch.memory_format
) -> None:
    x = torch.ones(1, 16, 6, 6).contiguous(memory_format=layout)
    x[..., 0, 0] = 0  # in no window, but the nearest of what is outside
    x.requires_grad_()
    _MaskedLate(3, 2, 1, dilation=2, implementation=implementation)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[..., 0, 0].count_nonzero() == 0


@pytest.mark.slow
def test_another_process_takes_the_kernel_from_the_cache(empty_cache: Path) -> None:
    code = (
        "import torch; from poolbench.pooling import MaxPool2d;"
        "from poolbench.kernels.compiled import COMPILED;"
        "MaxPool2d(2)(torch.zeros(1, 1, 4, 4)); print(COMPILED.made, COMPILED.loaded)"
    )
    for expected in ("1 0", "0 1"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        assert done.stdout.strip() == expected


class DrawnTwice(TapPool2d):
    is_random = True

    def formula(self, window: Window) -> Value:
        return window.values[0] + (window.uniform() - window.uniform())


@layouts
@pytest.mark.parametrize("padding", [0, 1])
def test_a_formula_that_draws_twice_gets_two_numbers(padding: int, layout: torch.memory_format) -> None:
    x = torch.zeros(2, 3, 6, 11).contiguous(memory_format=layout)
    pool = DrawnTwice(2, padding=padding)
    plain = copy.deepcopy(pool)
    plain.implementation = "torch"
    pooled = pool(x)
    assert pool.implementation_for(x)[0] == "fast"
    assert pooled.abs().min() > 0
    torch.testing.assert_close(plain(x), pooled, rtol=0, atol=1e-6)
