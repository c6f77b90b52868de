"""One kernel as LLVM text: windows walked in memory order, a vector of results at a time.

In the channels-last layout a vector is that of neighbouring channels of one window. In the contiguous one it is that
of neighbouring windows of a row: their values lie `stride` apart, so a wider vector is loaded and taken apart. Windows
that lie wholly inside the map, most of them, run code that asks nothing; the others run code with a truth for each
value.

A kernel is a function `part_NAME(arguments, thread, threads)` and, for an OpenMP team, `team_NAME(arguments)`.
`ARGUMENTS` lists what stands in the table that `arguments` points to, 64 bits each.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from poolbench.pooling.kernels.lower import I1, I16, I32, I64, Code, Lanes
from poolbench.pooling.kernels.program import Program

ARGUMENTS = (
    "x", "out", "gradient", "params", "param_gradients", "scratch", "scratch_bytes", "key",
    "batch", "channels", "height", "width", "rows", "columns", "blocks", "zero_first", "thread_of", "threads_of",
)  # fmt: skip
POINTER = ir.PointerType()


@dataclass(frozen=True)
class KernelSpec:
    """What a kernel is made for; everything else it learns when it runs.

    Args:
        derivative: whether it spreads gradients instead of giving results.
        channels_last: the memory layout of all maps.
        dtype: `float32`, `float64` or `bfloat16`.
        kernel_size, stride, padding, dilation: the window.
        lanes: results at a time.
        masked: whether there are windows at a border, or rows that no whole number of vectors fills.
        disjoint: whether no value belongs to two windows.
        streaming: whether gradients are written past the caches; they are disjoint and fill whole cache lines.
    """

    derivative: bool
    channels_last: bool
    dtype: str
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    lanes: int
    masked: bool
    disjoint: bool
    streaming: bool = False

    @property
    def accumulates_apart(self) -> bool:
        """Whether gradients are summed in a scratch map, wider than what is stored."""
        return self.derivative and self.dtype == "bfloat16" and not self.disjoint

    def offsets(self, axis: int) -> list[int]:
        """Return where the window's rows or columns lie, from stride · window."""
        return [at * self.dilation[axis] - self.padding[axis] for at in range(self.kernel_size[axis])]

    def groups(self) -> dict[int, dict[int, int]]:
        """Return the columns by the wide vector they are taken from: {its start: {phase in it: column}}."""
        found: dict[int, dict[int, int]] = {}
        for column, offset in enumerate(self.offsets(1)):
            phase = offset % self.stride[1]
            found.setdefault(offset - phase, {})[phase] = column
        return found


def emit(program: Program, spec: KernelSpec, name: str) -> str:
    """Return a kernel as LLVM text, its functions `part_NAME` and `team_NAME`."""
    module = ir.Module(name=program.name)
    part = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, I64, I64]), f"part_{name}")
    part.attributes.add("nounwind")
    _Kernel(program, spec, part).write()
    _team(module, part, name)
    return str(module)


def _team(module: ir.Module, part: ir.Function, name: str) -> None:
    """Write `team`, which every thread of an OpenMP team calls: it asks which of how many it is."""
    team = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), f"team_{name}")
    b = ir.IRBuilder(team.append_basic_block())
    numbers = []
    for asking in ("thread_of", "threads_of"):
        place = b.gep(team.args[0], [ir.Constant(I64, ARGUMENTS.index(asking))], source_etype=I64)
        function = b.inttoptr(b.load(place, typ=I64), ir.FunctionType(I32, []).as_pointer())
        numbers.append(b.sext(b.call(function, []), I64))
    b.call(part, [team.args[0], *numbers])
    b.ret_void()


class _Kernel:
    """Writes the body of `part`."""

    # What the table of arguments holds, see ARGUMENTS.
    x: Code
    out: Code
    gradient: Code
    params: Code
    param_gradients: Code
    scratch: Code
    scratch_bytes: Code
    key: Code
    batch: Code
    channels: Code
    height: Code
    width: Code
    rows: Code
    columns: Code
    blocks: Code
    zero_first: Code

    def __init__(self, program: Program, spec: KernelSpec, function: ir.Function) -> None:
        self.program, self.spec, self.function = program, spec, function
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.lanes = Lanes(self.b, spec.dtype, spec.lanes)
        self.size = 2 if spec.dtype == "bfloat16" else 8 if spec.dtype == "float64" else 4
        self.taps = [(i, j) for i in range(spec.kernel_size[0]) for j in range(spec.kernel_size[1])]
        # What gradients are summed in: the output itself, or the scratch map.
        self.sum_kind = self.lanes.number if spec.accumulates_apart else self.lanes.stored

    def write(self) -> None:
        b = self.b
        for at, name in enumerate(ARGUMENTS):
            place = b.gep(self.function.args[0], [self.i(at)], source_etype=I64)
            kind = POINTER if name in ARGUMENTS[:6] else I64
            setattr(self, name, b.load(place, typ=kind, name=name))
        thread, threads = self.function.args[1:]
        self.scratch = self.at(self.scratch, b.mul(thread, self.scratch_bytes), ir.IntType(8))
        count = b.mul(b.mul(self.i(self.program.params), self.channels), thread)
        self.param_gradients = self.at(self.param_gradients, count, self.lanes.number)
        units = b.mul(self.batch, self.blocks if self.spec.channels_last else self.channels)
        first, last = (b.sdiv(b.mul(units, t), threads) for t in (thread, b.add(thread, self.i(1))))
        with self.loop(first, last) as unit:
            (self.channels_last if self.spec.channels_last else self.contiguous)(unit)
        if self.spec.streaming:
            b.fence("seq_cst")  # other threads may read what went past the caches only behind this
        b.ret_void()

    # ---- small words ----

    def i(self, number: int) -> ir.Constant:
        return ir.Constant(I64, number)

    def at(self, pointer: Code, index: Code, kind: Any) -> Code:
        return self.b.gep(pointer, [index], source_etype=kind)

    @contextmanager
    def loop(self, start: Code, stop: Code, step: Code | int = 1) -> Iterator[Code]:
        b = self.b
        step = self.i(step) if isinstance(step, int) else step
        head, body, done = (self.function.append_basic_block(n) for n in ("head", "body", "done"))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, done)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, step), b.block)
        b.branch(head)
        b.position_at_end(done)

    def inside(self, index: Code, size: Code) -> Code:
        """Whether 0 ≤ index < size: one comparison, since a negative number is a large one without its sign."""
        return self.b.icmp_unsigned("<", index, size)

    def clamped(self, index: Code, size: Code) -> Code:
        b = self.b
        low = b.select(b.icmp_signed("<", index, self.i(0)), self.i(0), index)
        return b.select(b.icmp_signed(">=", low, size), b.sub(size, self.i(1)), low)

    def along(self, axis: int, window: Code, size: Code) -> tuple[list[Code], list[Code]]:
        """Return the window's rows (or columns), kept inside the map, and whether each is inside it."""
        b = self.b
        start = b.mul(window, self.i(self.spec.stride[axis]))
        found = [b.add(start, self.i(offset)) for offset in self.spec.offsets(axis)]
        if not self.spec.masked:
            return found, []
        return [self.clamped(at, size) for at in found], [self.inside(at, size) for at in found]

    def whole_or_not(self, is_whole: Code | None, write: Callable[[bool], None]) -> None:
        """Write the code for whole windows and, where there may be others, that for the border."""
        if is_whole is None:
            write(False)
            return
        with self.b.if_else(is_whole) as (then, otherwise):
            with then:
                write(False)
            with otherwise:
                write(True)

    def all_of(self, truths: list[Code]) -> Code:
        return functools.reduce(self.b.and_, truths)

    def counted(self, truths: list[Code], kind: Any) -> Code:
        return functools.reduce(self.b.add, [self.b.zext(t, kind) for t in truths])

    def tape(self, masked: bool) -> Any:
        program = self.program
        if self.spec.derivative:
            return program.derivative_at_border if masked else program.derivative
        return program.value_at_border if masked else program.value

    # ---- channels last: a vector of channels ----

    def channels_last(self, unit: Code) -> None:
        b, spec, lanes = self.b, self.spec, self.lanes
        image, block = b.sdiv(unit, self.blocks), b.srem(unit, self.blocks)
        # Blocks are whole vectors.
        vectors = b.sdiv(self.channels, self.i(spec.lanes))
        first, last = (
            b.mul(b.sdiv(b.mul(vectors, at), self.blocks), self.i(spec.lanes))
            for at in (block, b.add(block, self.i(1)))
        )
        pixels = b.mul(self.height, self.width)
        origin = b.mul(image, pixels)
        # Where gradients are summed: pixel number and channel → place.
        if spec.accumulates_apart:
            pitch, summed = b.sub(last, first), self.scratch
            base = b.sub(b.mul(b.sub(self.i(0), origin), pitch), first)
        else:
            pitch, summed, base = self.channels, self.out, self.i(0)
        zero = ir.Constant(lanes.vector(self.sum_kind), None)

        def clear(pixel: Code, channel: Code) -> None:
            at = b.add(b.add(b.mul(pixel, pitch), base), channel)
            lanes.store(zero, self.at(summed, at, self.sum_kind))

        def finish(pixel: Code, channel: Code) -> None:
            at = b.add(b.add(b.mul(pixel, pitch), base), channel)
            sums = lanes.load(self.at(summed, at, lanes.number), lanes.number)
            out = b.add(b.mul(pixel, self.channels), channel)
            lanes.store(lanes.narrow(sums), self.at(self.out, out, lanes.stored))

        # Rows are cleared just before the first window needs them and finished just after the last: still in the cache.
        cleared = finished = None
        if spec.derivative:
            cleared = _Rows(self, clear, origin, first, last)
        if spec.accumulates_apart:
            finished = _Rows(self, finish, origin, first, last)
        with self.loop(self.i(0), self.rows) as row:
            rows, rows_ok = self.along(0, row, self.height)
            starts = [b.mul(b.add(b.mul(image, self.height), at), self.width) for at in rows]
            start = b.mul(row, self.i(spec.stride[0]))
            if cleared is not None:
                with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                    reach = max(spec.offsets(0)[-1] + 1, spec.stride[0] - spec.padding[0])
                    cleared.up_to(b.add(start, self.i(reach)))
            with self.loop(self.i(0), self.columns) as column:
                columns, columns_ok = self.along(1, column, self.width)
                places = [b.add(starts[i], columns[j]) for i, j in self.taps]
                ok = [b.and_(rows_ok[i], columns_ok[j]) for i, j in self.taps] if spec.masked else []
                count = b.mul(self.counted(rows_ok, I64), self.counted(columns_ok, I64)) if spec.masked else None
                window = b.add(b.mul(b.add(b.mul(image, self.rows), row), self.columns), column)
                place_in_channel = b.add(b.mul(row, self.columns), column)

                def write(masked: bool) -> None:
                    with self.loop(first, last, spec.lanes) as channel:
                        inputs = self.channel_inputs(image, channel, place_in_channel, places)
                        if masked:
                            inputs["valid"] = lambda at: lanes.splat(ok[at])
                            inputs["count"] = lambda _: lanes.splat(b.sitofp(count, lanes.number))
                        out = b.add(b.mul(window, self.channels), channel)
                        if spec.derivative:
                            gradient = lanes.widen(lanes.load(self.at(self.gradient, out, lanes.stored), lanes.stored))
                            parts = lanes.run(self.tape(masked), {**inputs, "gradient": lambda _: gradient})
                            targets = [
                                self.at(summed, b.add(b.add(b.mul(place, pitch), base), channel), self.sum_kind)
                                for place in places
                            ]
                            self.spread_channels(parts[: self.program.size], targets, ok if masked else None)
                            self.add_params(parts[self.program.size :], channel)
                        else:
                            (result,) = lanes.run(self.tape(masked), inputs)
                            lanes.store(lanes.narrow(result), self.at(self.out, out, lanes.stored))

                self.whole_or_not(self.all_of(rows_ok + columns_ok) if spec.masked else None, write)
            if finished is not None:
                finished.up_to(b.add(start, self.i(spec.stride[0] - spec.padding[0])))
        if cleared is not None:
            with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                cleared.up_to(self.height)
        if finished is not None:
            finished.up_to(self.height)

    def channel_inputs(self, image: Code, channel: Code, place: Code, places: list[Code]) -> dict[str, Any]:
        b, lanes = self.b, self.lanes

        def tap(at: int) -> Code:
            index = b.add(b.mul(places[at], self.channels), channel)
            return lanes.widen(lanes.load(self.at(self.x, index, lanes.stored), lanes.stored))

        def param(which: int) -> Code:
            index = b.add(b.mul(self.i(which), self.channels), channel)
            return lanes.load(self.at(self.params, index, lanes.number), lanes.number)

        def uniform(which: int) -> Code:
            # The place in the order (B, C, H', W'), whatever the layout.
            windows = b.mul(self.rows, self.columns)
            first = b.add(b.mul(b.add(b.mul(image, self.channels), channel), windows), place)
            steps = b.mul(lanes.steps(I32), lanes.splat(b.trunc(windows, I32)))
            return lanes.uniform(b.add(lanes.splat(b.trunc(first, I32)), steps), self.key_vector(which))

        return {"tap": tap, "param": param, "uniform": uniform}

    def key_vector(self, which: int) -> Code:
        return self.lanes.splat(self.b.trunc(self.b.add(self.key, self.i(which)), I32))

    def spread_channels(self, parts: list[Code], targets: list[Code], ok: list[Code] | None) -> None:
        lanes, spec = self.lanes, self.spec
        if ok is not None:
            for at, (part, target) in enumerate(zip(parts, targets, strict=True)):
                with self.b.if_then(ok[at]):
                    self.put(part, target)
            return
        if spec.disjoint:
            for part, target in zip(parts, targets, strict=True):
                self.put(part, target)
            return
        # The values of one window are different ones: all can be read before the first is written.
        sums = [self.b.fadd(lanes.load(t, self.sum_kind), part) for t, part in zip(targets, parts, strict=True)]
        for total, target in zip(sums, targets, strict=True):
            lanes.store(total, target)

    def put(self, part: Code, target: Code) -> None:
        lanes = self.lanes
        if self.spec.disjoint:
            lanes.store(lanes.narrow(part), target)
        else:
            self.add_to(target, part)

    def add_to(self, target: Code, part: Code) -> None:
        lanes = self.lanes
        lanes.store(self.b.fadd(lanes.load(target, lanes.number), part), target)

    def add_params(self, parts: list[Code], channel: Code) -> None:
        for which, part in enumerate(parts):
            at = self.b.add(self.b.mul(self.i(which), self.channels), channel)
            self.add_to(self.at(self.param_gradients, at, self.lanes.number), part)

    # ---- contiguous: a vector of windows in a row ----

    def contiguous(self, unit: Code) -> None:
        b, spec, lanes = self.b, self.spec, self.lanes
        channel = b.srem(unit, self.channels)
        pixels = b.mul(self.height, self.width)
        origin = b.mul(unit, pixels)
        summed, base = (self.scratch, self.i(0)) if spec.accumulates_apart else (self.out, origin)
        if spec.derivative:
            with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                self.clear(self.at(summed, base, self.sum_kind), pixels)
        sums = [self.accumulator() for _ in range(self.program.params)] if spec.derivative else []
        with self.loop(self.i(0), self.rows) as row:
            rows, rows_ok = self.along(0, row, self.height)
            starts = [b.mul(at, self.width) for at in rows]
            with self.loop(self.i(0), self.columns, spec.lanes) as column:
                window = b.add(b.mul(b.add(b.mul(unit, self.rows), row), self.columns), column)
                first = b.mul(column, self.i(spec.stride[1]))

                def write(masked: bool) -> None:
                    line = _Line(self, masked, column, first, rows_ok)
                    inputs = self.line_inputs(line, channel, window, origin, starts)
                    if not spec.derivative:
                        (result,) = lanes.run(self.tape(masked), inputs)
                        lanes.store(lanes.narrow(result), self.at(self.out, window, lanes.stored), line.active)
                        return
                    place = self.at(self.gradient, window, lanes.stored)
                    gradient = lanes.widen(lanes.load(place, lanes.stored, mask=line.active))
                    parts = lanes.run(self.tape(masked), {**inputs, "gradient": lambda _: gradient})
                    self.spread_line(line, parts[: self.program.size], summed, [b.add(base, at) for at in starts])
                    for sum_, part in zip(sums, parts[self.program.size :], strict=True):
                        if line.active is not None:
                            part = b.select(line.active, part, lanes.const(0.0))
                        lanes.store(b.fadd(lanes.load(sum_, lanes.number), part), sum_)

                self.whole_or_not(self.is_whole(column, first, rows_ok), write)
        for which, sum_ in enumerate(sums):
            at = self.at(self.param_gradients, b.add(b.mul(self.i(which), self.channels), channel), lanes.number)
            added = self.sum_of(lanes.load(sum_, lanes.number))
            b.store(b.fadd(b.load(at, typ=lanes.number), added), at)
        if spec.accumulates_apart:
            with self.loop(self.i(0), pixels, spec.lanes) as pixel:
                mask = self.below(pixel, pixels)
                total = lanes.load(self.at(summed, pixel, lanes.number), lanes.number, mask=mask)
                lanes.store(lanes.narrow(total), self.at(self.out, b.add(origin, pixel), lanes.stored), mask)

    def is_whole(self, column: Code, first: Code, rows_ok: list[Code]) -> Code | None:
        """Whether a vector of windows lies inside the map, and so do the wide vectors that it is taken from."""
        b, spec = self.b, self.spec
        if not spec.masked:
            return None
        starts = list(spec.groups())
        wide = spec.lanes * spec.stride[1]
        return self.all_of(
            [
                *rows_ok,
                b.icmp_signed(">=", b.add(first, self.i(min(starts))), self.i(0)),
                b.icmp_signed("<=", b.add(first, self.i(max(starts) + wide)), self.width),
                b.icmp_signed("<=", b.add(column, self.i(spec.lanes)), self.columns),
            ]
        )

    def line_inputs(
        self, line: "_Line", channel: Code, window: Code, origin: Code, starts: list[Code]
    ) -> dict[str, Any]:
        b, spec, lanes = self.b, self.spec, self.lanes
        stride = spec.stride[1]
        groups = spec.groups()
        group_of = {column: (start, phase) for start, g in groups.items() for phase, column in g.items()}
        wide: dict[tuple[int, int], Code] = {}

        def tap(at: int) -> Code:
            i, j = self.taps[at]
            start, phase = group_of[j]
            if (i, start) not in wide:
                place = b.add(b.add(origin, starts[i]), b.add(line.first, self.i(start)))
                wide[i, start] = lanes.load(
                    self.at(self.x, place, lanes.stored), lanes.stored, spec.lanes * stride, mask=line.inside(start)
                )
            taken = wide[i, start]
            if stride > 1:
                chosen = ir.Constant(ir.VectorType(I32, spec.lanes), [at * stride + phase for at in range(spec.lanes)])
                taken = b.shuffle_vector(taken, ir.Constant(taken.type, ir.Undefined), chosen)
            return lanes.widen(taken)

        def param(which: int) -> Code:
            place = self.at(self.params, b.add(b.mul(self.i(which), self.channels), channel), lanes.number)
            return lanes.splat(b.load(place, typ=lanes.number))

        def uniform(which: int) -> Code:
            place = b.add(lanes.splat(b.trunc(window, I32)), lanes.steps(I32))
            return lanes.uniform(place, self.key_vector(which))

        return {
            "tap": tap,
            "valid": lambda at: line.valid(*self.taps[at]),
            "count": lambda _: line.count(),
            "param": param,
            "uniform": uniform,
        }

    def spread_line(self, line: "_Line", parts: list[Code], summed: Code, starts: list[Code]) -> None:
        """Add (or write) what the values of a vector of windows get, wide vector by wide vector."""
        b, spec, lanes = self.b, self.spec, self.lanes
        by_tap = dict(zip(self.taps, parts, strict=True))
        for i in range(spec.kernel_size[0]):

            def row(i: int = i) -> None:
                for start, group in spec.groups().items():
                    place = self.at(summed, b.add(starts[i], b.add(line.first, self.i(start))), self.sum_kind)
                    mask = line.belongs(start, group)
                    wide = self.interleaved({phase: by_tap[i, column] for phase, column in group.items()})
                    if spec.streaming and mask is None:
                        lanes.stream(lanes.narrow(wide), place)
                    elif spec.disjoint:
                        lanes.store(lanes.narrow(wide), place, mask)
                    else:
                        known = lanes.load(place, lanes.number, wide.type.count, mask)
                        lanes.store(b.fadd(known, wide), place, mask)

            if line.rows_ok:
                with b.if_then(line.rows_ok[i]):
                    row()
            else:
                row()

    def interleaved(self, parts: dict[int, Code]) -> Code:
        """Return the wide vector whose every `stride`-th number is a part's, by phase; zeros where no part is."""
        b, lanes, stride = self.b, self.lanes, self.spec.stride[1]
        if stride == 1:
            return parts[0]
        count = lanes.count * stride
        wide = lanes.const(0.0, count=count)
        for phase, part in parts.items():
            spread = ir.Constant(ir.VectorType(I32, count), [min(at, lanes.count) for at in range(count)])
            longer = b.shuffle_vector(part, lanes.const(0.0), spread)
            order = [count + at // stride if at % stride == phase else at for at in range(count)]
            wide = b.shuffle_vector(wide, longer, ir.Constant(ir.VectorType(I32, count), order))
        return wide

    def clear(self, place: Code, count: Code) -> None:
        """Write zeros."""
        width = 4 if self.sum_kind is not I16 and self.size != 8 else self.size
        bits = self.b.mul(count, self.i(width))
        memset = self.b.module.globals.get("llvm.memset.p0.i64") or ir.Function(
            self.b.module, ir.FunctionType(ir.VoidType(), [POINTER, ir.IntType(8), I64, I1]), "llvm.memset.p0.i64"
        )
        self.b.call(memset, [place, ir.Constant(ir.IntType(8), 0), bits, ir.Constant(I1, 0)])

    def accumulator(self) -> Code:
        """Return a vector of zeros in memory."""
        with self.b.goto_entry_block():
            place = self.b.alloca(self.lanes.vector(self.lanes.number))
        self.lanes.store(self.lanes.const(0.0), place)
        return place

    def sum_of(self, vector: Code) -> Code:
        """Return the sum of a vector's numbers, by halves."""
        b, count = self.b, vector.type.count
        while count > 1:
            half = ir.Constant(ir.VectorType(I32, count), [(at + count // 2) % count for at in range(count)])
            vector = b.fadd(vector, b.shuffle_vector(vector, vector, half))
            first = ir.Constant(ir.VectorType(I32, count // 2), list(range(count // 2)))
            vector = b.shuffle_vector(vector, vector, first)
            count //= 2
        return b.extract_element(vector, ir.Constant(I32, 0))

    def below(self, start: Code, stop: Code, count: int | None = None, over: int = 1) -> Code:
        """Return which of start, start + 1, … (each `over` times) are below `stop`."""
        b, lanes = self.b, self.lanes
        left = lanes.splat(b.trunc(b.sub(stop, start), I32), count)
        return b.icmp_signed("<", lanes.steps(I32, count, over), left)


class _Rows:
    """Something that is done once for each row of a channels-last map, as far as the windows have come."""

    def __init__(self, kernel: _Kernel, action: Callable[[Code, Code], None], origin: Code, first: Code, last: Code):
        self.kernel, self.action, self.origin, self.first, self.last = kernel, action, origin, first, last
        with kernel.b.goto_entry_block():
            self.done = kernel.b.alloca(I64)
        kernel.b.store(kernel.i(0), self.done)

    def up_to(self, row: Code) -> None:
        """Do it for the rows before `row` that it was not yet done for."""
        kernel, b = self.kernel, self.kernel.b
        row = b.select(b.icmp_signed("<", row, kernel.height), row, kernel.height)
        done = b.load(self.done, typ=I64)
        start, stop = (b.add(self.origin, b.mul(at, kernel.width)) for at in (done, row))
        with kernel.loop(start, stop) as pixel, kernel.loop(self.first, self.last, kernel.spec.lanes) as channel:
            self.action(pixel, channel)
        b.store(b.select(b.icmp_signed(">", row, done), row, done), self.done)


class _Line:
    """A vector of neighbouring windows of a row: which of them there are, and which of their values are inside."""

    def __init__(self, kernel: _Kernel, masked: bool, column: Code, first: Code, rows_ok: list[Code]) -> None:
        self.kernel, self.masked, self.column, self.first = kernel, masked, column, first
        self.rows_ok = rows_ok if masked else []
        self.active = kernel.below(column, kernel.columns) if masked else None
        self._columns_ok: dict[int, Code] = {}

    def inside(self, start: int) -> Code | None:
        """Return which numbers of a wide vector are in the row; None: all."""
        if not self.masked:
            return None
        kernel, count = self.kernel, self.kernel.spec.lanes * self.kernel.spec.stride[1]
        at = kernel.b.trunc(kernel.b.add(self.first, kernel.i(start)), I32)
        columns = kernel.b.add(kernel.lanes.splat(at, count), kernel.lanes.steps(I32, count))
        return kernel.inside(columns, kernel.lanes.splat(kernel.b.trunc(kernel.width, I32), count))

    def belongs(self, start: int, group: dict[int, int]) -> Code | None:
        """Return which numbers of a wide vector belong to a window that there is; None: all, or none that matters."""
        inside = self.inside(start)
        if inside is None:
            return None
        kernel, stride = self.kernel, self.kernel.spec.stride[1]
        count = kernel.spec.lanes * stride
        active = kernel.below(self.column, kernel.columns, count, stride)
        found = kernel.b.and_(inside, active)
        if len(group) == stride:
            return found
        return kernel.b.and_(
            found, ir.Constant(ir.VectorType(I1, count), [int(at % stride in group) for at in range(count)])
        )

    def columns_ok(self, j: int) -> Code:
        """Return in which windows the value of this column is inside the map."""
        if j not in self._columns_ok:
            kernel, spec = self.kernel, self.kernel.spec
            b, lanes = kernel.b, kernel.lanes
            steps = ir.Constant(ir.VectorType(I32, spec.lanes), [at * spec.stride[1] for at in range(spec.lanes)])
            at = lanes.splat(b.trunc(b.add(self.first, kernel.i(spec.offsets(1)[j])), I32))
            self._columns_ok[j] = kernel.inside(b.add(at, steps), lanes.splat(b.trunc(kernel.width, I32)))
        return self._columns_ok[j]

    def valid(self, i: int, j: int) -> Code:
        """Return in which windows the value of this row and column is inside the map."""
        return self.kernel.b.and_(self.kernel.lanes.splat(self.rows_ok[i]), self.columns_ok(j))

    def count(self) -> Code:
        """Return how many values of each window are inside the map."""
        kernel = self.kernel
        b, lanes = kernel.b, kernel.lanes
        wide = kernel.counted([self.columns_ok(j) for j in range(kernel.spec.kernel_size[1])], lanes.vector(I32))
        rows = lanes.splat(kernel.counted(self.rows_ok, I32))
        return b.sitofp(b.mul(wide, rows), lanes.vector(lanes.number))
