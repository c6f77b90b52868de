"""What every kernel is written with: loops, memory, and which thread does what.

A kernel is a function `part_NAME(arguments, thread, threads)` that does a thread's part of the work, unit by unit: a
unit is a map of one channel, or in the channels-last layout an image's block of channels.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from poolbench.kernels.cpu.lower import I1, I16, I32, I64, Code, Lanes
from poolbench.kernels.cpu.spec import ARGUMENTS, KernelSpec
from poolbench.kernels.program import Program

POINTER = ir.PointerType()
# Bytes: how far ahead memory is prefetched, by the level of the cache that it is loaded into. Processors do so by
# themselves, but only within a page and after some lines.
AHEAD = {1: 2048, 2: 4096}


class Writer:
    """Writes the body of `part`; a subclass defines `unit`."""

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
    pitch: Code

    def __init__(self, program: Program, spec: KernelSpec, function: ir.Function) -> None:
        self.program, self.spec, self.function = program, spec, function
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.lanes = Lanes(self.b, spec.dtype, spec.lanes, fused=not spec.derivative, tables=spec.tables)
        self.size = 2 if spec.dtype == "bfloat16" else 8 if spec.dtype == "float64" else 4
        self.taps = [(i, j) for i in range(spec.kernel_size[0]) for j in range(spec.kernel_size[1])]
        self._read: dict[int, Code] = {}
        # What gradients are summed in: the output itself, or scratch memory.
        self.sum_kind = self.lanes.number if spec.accumulates_apart else self.lanes.stored

    def write(self) -> None:
        """Write the whole function."""
        b = self.b
        for at, name in enumerate(ARGUMENTS):
            place = b.gep(self.function.args[0], [self.i(at)], source_etype=I64)
            kind = POINTER if name in ARGUMENTS[:6] else I64
            setattr(self, name, b.load(place, typ=kind, name=name))
        thread, threads = self.function.args[1:]
        self.scratch = self.at(self.scratch, b.mul(thread, self.scratch_bytes), ir.IntType(8))
        each = self.i(1) if self.spec.shared else self.channels
        count = b.mul(b.mul(self.i(self.program.params), each), thread)
        self.param_gradients = self.at(self.param_gradients, count, self.lanes.number)
        units = b.mul(self.batch, self.blocks if self.spec.channels_last else self.channels)
        first, last = (b.sdiv(b.mul(units, t), threads) for t in (thread, b.add(thread, self.i(1))))
        with self.loop(first, last) as unit:
            self.unit(unit)
        if self.spec.streaming:
            b.fence("seq_cst")  # other threads may read what went past the caches only behind this
        b.ret_void()

    def unit(self, unit: Code) -> None:
        """Do one unit's work."""
        raise NotImplementedError(f"{type(self).__name__} must define `unit`")

    def block(self, unit: Code) -> tuple[Code, Code, Code]:
        """Return the image of a unit, its first channel, and the one after its last: blocks are of whole vectors."""
        b, lanes = self.b, self.i(self.spec.lanes)
        image, block = b.sdiv(unit, self.blocks), b.srem(unit, self.blocks)
        vectors = b.sdiv(self.channels, lanes)
        first, last = (b.mul(b.sdiv(b.mul(vectors, at), self.blocks), lanes) for at in (block, b.add(block, self.i(1))))
        return image, first, last

    # ---- small words ----

    def i(self, number: int) -> ir.Constant:
        """Return a constant whole number."""
        return ir.Constant(I64, number)

    def at(self, pointer: Code, index: Code, kind: Any) -> Code:
        """Return the address of a number behind a pointer."""
        return self.b.gep(pointer, [index], source_etype=kind)

    def prefetch(self, place: Code, ahead: Code | None = None, *, write: bool = False, level: int = 1) -> None:
        """Ask for the memory a little behind a place, which is read (or written) soon; it need not be the map's.

        Args:
            place: what is read or written now.
            ahead: how many bytes behind it; by itself as many as suit the level.
            write: whether it will be written.
            level: of the cache that it is loaded into.
        """
        module = self.b.module
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        function = module.globals.get("llvm.prefetch.p0") or ir.Function(module, kind, "llvm.prefetch.p0")
        asked = self.at(place, self.i(AHEAD[level]) if ahead is None else ahead, ir.IntType(8))
        self.b.call(function, [asked, I32(int(write)), I32(4 - level), I32(1)])

    @contextmanager
    def loop(self, start: Code, stop: Code, step: Code | int = 1) -> Iterator[Code]:
        """Write a loop around what is written within."""
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

    def clamped(self, index: Code, last: Code) -> Code:
        """Return the nearest number of 0 to `last`."""
        b = self.b
        low = b.select(b.icmp_signed("<", index, self.i(0)), self.i(0), index)
        return b.select(b.icmp_signed(">", low, last), last, low)

    def along(self, axis: int, window: Code, size: Code) -> tuple[list[Code], list[Code]]:
        """Return the window's rows (or columns), kept inside the map, and whether each is inside it."""
        found = self.steps(axis, window)
        if not self.spec.masked:
            return found, []
        last = self.b.sub(size, self.i(1))
        return [self.clamped(at, last) for at in found], [self.inside(at, size) for at in found]

    def steps(self, axis: int, window: Code) -> list[Code]:
        """Return the window's rows (or columns), wherever they are."""
        start = self.b.mul(window, self.i(self.spec.stride[axis]))
        return [self.b.add(start, self.i(offset)) for offset in self.spec.offsets(axis)]

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

    def all_of(self, conditions: list[Code]) -> Code:
        """Return whether all hold."""
        return functools.reduce(self.b.and_, conditions)

    def counted(self, conditions: list[Code], kind: Any) -> Code:
        """Return how many hold."""
        return functools.reduce(self.b.add, [self.b.zext(t, kind) for t in conditions])

    def clear(self, place: Code, count: Code) -> None:
        """Write zeros."""
        width = 4 if self.sum_kind is not I16 and self.size != 8 else self.size
        bits = self.b.mul(count, self.i(width))
        memset = self.b.module.globals.get("llvm.memset.p0.i64") or ir.Function(
            self.b.module, ir.FunctionType(ir.VoidType(), [POINTER, ir.IntType(8), I64, I1]), "llvm.memset.p0.i64"
        )
        self.b.call(memset, [place, ir.Constant(ir.IntType(8), 0), bits, ir.Constant(I1, 0)])

    def add_to(self, target: Code, part: Code) -> None:
        """Add numbers to those in memory."""
        lanes = self.lanes
        lanes.store(self.b.fadd(lanes.load(target, lanes.number, part.type.count), part, flags=lanes.freedoms), target)

    # ---- parameters ----

    def param_at(self, which: int, channel: Code) -> Code:
        """Return which number of `params` and of its gradients belongs to a parameter and a channel."""
        if self.spec.shared:
            return self.i(which)
        return self.b.add(self.b.mul(self.i(which), self.channels), channel)

    def param(self, which: int, channel: Code, lanes: Lanes) -> Code:
        """Return a learned number: a vector of channels, or the same for all lanes."""
        if self.spec.shared:
            return lanes.splat(self._shared(which))
        place = self.at(self.params, self.param_at(which, channel), lanes.number)
        if self.spec.channels_last:
            return lanes.load(place, lanes.number)
        return lanes.splat(self.b.load(place, typ=lanes.number))

    def _shared(self, which: int) -> Code:
        """Return a learned number of all channels, read once, so that what is made of it alone is computed once."""
        if which not in self._read:
            with self.b.goto_entry_block():
                place = self.at(self.params, self.i(which), self.lanes.number)
                self._read[which] = self.b.load(place, typ=self.lanes.number)
        return self._read[which]

    def add_to_param(self, which: int, channel: Code, parts: Code) -> None:
        """Add the sum of a vector to the gradient of a parameter."""
        at = self.at(self.param_gradients, self.param_at(which, channel), self.lanes.number)
        self.b.store(self.b.fadd(self.b.load(at, typ=self.lanes.number), self.sum_of(parts)), at)

    def accumulator(self, lanes: Lanes) -> Code:
        """Return a vector of zeros in memory."""
        with self.b.goto_entry_block():
            place = self.b.alloca(lanes.vector(lanes.number))
        lanes.store(lanes.const(0.0), place)
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


class Front:
    """Something that is done once for each row or column of a map, from the first one on, as far as asked for.

    Args:
        writer: of the kernel; the front begins where this is written.
        size: how many rows or columns there are.
        action: writes it, given the first one and the one after the last.
    """

    def __init__(self, writer: Writer, size: Code, action: Callable[[Code, Code], None]) -> None:
        self.writer, self.size, self.action = writer, size, action
        with writer.b.goto_entry_block():
            self._done = writer.b.alloca(I64)
        writer.b.store(writer.i(0), self._done)

    def up_to(self, stop: Code) -> None:
        """Do it for those before `stop` that it was not yet done for."""
        writer, b = self.writer, self.writer.b
        done = b.load(self._done, typ=I64)
        stop = writer.clamped(stop, self.size)
        self.action(done, stop)
        b.store(b.select(b.icmp_signed(">", stop, done), stop, done), self._done)
