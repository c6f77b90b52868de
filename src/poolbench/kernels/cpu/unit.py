"""What a kernel of sums works on for one unit: the rows that it keeps, the loops over them, and its parameters."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from poolbench.kernels.cpu.lower import I1, Code, Lanes

if TYPE_CHECKING:
    from poolbench.kernels.cpu.summing import SumsWriter


class Unit:
    """One unit of a kernel of sums.

    Args:
        writer: of the kernel.
        unit: its number: of a map of one channel, or in the channels-last layout of an image's block of channels.
    """

    def __init__(self, writer: "SumsWriter", unit: Code) -> None:
        self.writer, self.unit = writer, unit
        self.b, self.spec, self.lanes, self.cells = writer.b, writer.spec, writer.lanes, writer.cells
        b, w = self.b, writer
        if self.spec.channels_last:
            self.image, self.start, self.stop = w.block(unit)
            vectors = b.sdiv(w.channels, w.i(self.spec.lanes))
            # The same for all blocks, so that the zeros around a row stay where they are.
            widest = b.sdiv(b.add(vectors, b.sub(w.blocks, w.i(1))), w.blocks)
            self.across = b.mul(widest, w.i(self.spec.lanes))
        else:
            self.channel, self.across = b.srem(unit, w.channels), w.i(1)
        # How many last rows and columns of a window begin what is added up. Where either is 0, what was added up is
        # cleared when it has been used.
        self.new_rows = self.spec.first_come(0)
        self.new_columns = self.spec.first_come(1) if self.spec.channels_last else 0
        self.left = b.mul(w.i(w.buffers.left()), self.across)
        self.numbers = b.mul(w.width, self.across)
        # A parameter's gradient is summed in vectors of windows and in vectors of values; not where each channel has
        # its own and a vector is one of channels.
        self.own = self.spec.channels_last and not self.spec.shared
        counts = {} if self.own or not self.spec.derivative else {self.lanes.count: self.lanes}
        counts |= {self.cells.count: self.cells} if counts else {}
        self.param_sums = {
            count: [w.accumulator(lanes) for _ in range(w.program.params)] for count, lanes in counts.items()
        }
        self.per_channel: dict[int, list[Code]] = {}
        with b.goto_entry_block():
            self.all_fit = b.alloca(self.cells.vector(I1))
        b.store(self.cells.const(1, I1), self.all_fit)

    def row_of(self, name: str, number: int, map_row: Code | None = None) -> Code:
        """Return where a row of a buffer begins; of a ring, the one that holds a row of the map."""
        b, w = self.b, self.writer
        ring = self.spec.ring
        at = w.i(w.first_row[name] + number * (ring if map_row is not None else 1))
        if map_row is not None:
            at = b.add(at, b.and_(map_row, w.i(ring - 1)))
        return w.at(w.scratch, b.mul(at, w.pitch), self.lanes.number)

    def number(self, row: Code, at: Code) -> Code:
        """Return the address of a number of a row."""
        return self.writer.at(row, at, self.lanes.number)

    def load(self, row: Code, at: Code) -> Code:
        """Return a vector of a row."""
        return self.cells.load(self.number(row, at), self.cells.number)

    def each_value(
        self, rows: tuple[Code, Code], columns: tuple[Code, Code], of_row: Callable[[Code], Callable[["Value"], None]]
    ) -> None:
        """Write code for a vector of values of the map, and the loops around it.

        Args:
            rows, columns: the first one and the one after the last.
            of_row: writes what is the same for a row, and returns what writes the code.
        """
        b, w, spec = self.b, self.writer, self.spec
        with w.loop(*rows) as row:
            write = of_row(row)
            if spec.channels_last:
                start = b.mul(b.add(b.mul(self.image, w.height), row), w.width)
                with w.loop(*columns) as column:
                    ahead = w.ahead(column)
                    with w.loop(self.start, self.stop, spec.lanes) as channel:
                        at = b.add(b.mul(b.add(start, column), w.channels), channel)
                        cell = b.add(b.add(self.left, b.mul(column, self.across)), b.sub(channel, self.start))
                        write(Value(cell, at, channel, ahead=ahead))
                return
            start = b.mul(b.add(b.mul(self.unit, w.height), row), w.width)
            with w.loop(*columns, self.cells.count) as column:

                def part(masked: bool) -> None:
                    mask = w.below(column, columns[1], self.cells.count) if masked else None
                    write(Value(b.add(self.left, column), b.add(start, column), self.channel, mask=mask))

                w.whole_or_not(b.icmp_signed("<=", b.add(column, w.i(self.cells.count)), columns[1]), part)

    def each_vector(self, columns: tuple[Code, Code], write: Callable[[Code], None]) -> None:
        """Write code for a vector of a buffer's row, and the loop around it; the last may reach into the zeros."""
        b = self.b
        start, stop = (b.add(self.left, b.mul(at, self.across)) for at in columns)
        with self.writer.loop(start, stop, self.cells.count) as at:
            write(at)

    def clear(self, row: Code, start: Code, count: Code) -> None:
        """Write zeros to a row."""
        with self.writer.loop(self.writer.i(0), count, self.cells.count) as at:
            self.cells.store(self.cells.const(0.0), self.number(row, self.b.add(start, at)))

    # ---- parameters ----

    def compute_per_channel(self) -> None:
        """Compute what depends on parameters alone."""
        tape, rows = self.writer.sums.per_channel, range(len(self.writer.sums.per_channel.outputs))
        if not self.spec.channels_last:
            # Of values, too, any numbers at all: they are not bounded.
            of_values = Lanes(self.b, self.spec.dtype, self.cells.count, tables=self.spec.tables)
            for lanes in (self.lanes, of_values):
                inputs = {"param": functools.partial(self.writer.param, channel=self.channel, lanes=lanes)}
                self.per_channel[lanes.count] = list(lanes.each(tape, inputs))
            return
        with self.writer.loop(self.start, self.stop, self.spec.lanes) as channel:
            inputs = {"param": functools.partial(self.writer.param, channel=channel, lanes=self.lanes)}
            for at, value in zip(rows, self.lanes.each(tape, inputs), strict=True):
                self.lanes.store(value, self.number(self.row_of("per_channel", at), self.b.sub(channel, self.start)))

    def of_channel(self, channel: Code, lanes: Lanes) -> dict[str, Callable[[int], Code]]:
        """Return the inputs of a tape that are the same all over a channel."""

        def per_channel(which: int) -> Code:
            if not self.spec.channels_last:
                return self.per_channel[lanes.count][which]
            return self.load(self.row_of("per_channel", which), self.b.sub(channel, self.start))

        return {"param": functools.partial(self.writer.param, channel=channel, lanes=lanes), "per_channel": per_channel}

    def clear_params(self) -> None:
        """Let the unit's gradients of parameters begin at zero."""
        if self.own and self.spec.derivative:
            for which in range(self.writer.program.params):
                with self.writer.loop(self.start, self.stop, self.spec.lanes) as channel:
                    place = self.number(self.row_of("param", which), self.b.sub(channel, self.start))
                    self.lanes.store(self.lanes.const(0.0), place)

    def add_param(self, which: int, part: Code, channel: Code) -> None:
        """Add to the unit's gradient of a parameter."""
        if self.own:
            place = self.number(self.row_of("param", which), self.b.sub(channel, self.start))
        else:
            place = self.param_sums[part.type.count][which]
        self.writer.add_to(place, part)

    def commit_params(self) -> None:
        """Add the unit's gradients of parameters to the thread's."""
        b, w, lanes = self.b, self.writer, self.lanes
        for which in range(w.program.params):
            if not self.own:
                of = self.start if self.spec.channels_last else self.channel
                for count, sums in self.param_sums.items():
                    w.add_to_param(which, of, lanes.load(sums[which], lanes.number, count))
                continue
            with w.loop(self.start, self.stop, self.spec.lanes) as channel:
                place = self.number(self.row_of("param", which), b.sub(channel, self.start))
                target = w.at(w.param_gradients, w.param_at(which, channel), lanes.number)
                w.add_to(target, lanes.load(place, lanes.number))


class Value:
    """A vector of values of a row of the map: where they are.

    Args:
        cell: in a row of a buffer.
        at: in the map.
        channel: of the first value.
        mask: which values there are, if not all.
        ahead: bytes to what is read some time later.
    """

    def __init__(
        self, cell: Code, at: Code, channel: Code, *, mask: Code | None = None, ahead: Code | None = None
    ) -> None:
        self.cell, self.at, self.channel, self.mask, self.ahead = cell, at, channel, mask, ahead
