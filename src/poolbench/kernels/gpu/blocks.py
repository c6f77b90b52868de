"""A program as the source text of a Triton kernel: a block of windows at a time.

A block is R × Q lanes. Along Q they are neighbours in memory: channels in the channels-last layout, else columns of
windows; along R they are columns of windows, or maps. A tap is thus read by whole lines of memory, and no lane divides
but by powers of two. Lanes are numbered in one row and never as a table, so Triton spreads them over threads in one way
and nothing changes threads: where it had to, within the loop of a derivative, gradients came out wrong on a GPU.

The derivative belongs to the map and not to the windows: a lane owns a *cell* of stride × stride values, does every
window of its row of windows that reaches into it, and walks down the map while the rows that a window shares with the
next one wait in registers. So each value is written once, nothing is added in memory, and the sums have one order.
"""

import math
from dataclasses import dataclass
from typing import Any

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu.words import (
    CHANNELS_LAST,
    CONTIGUOUS,
    IMPORTS,
    LANES,
    WORDS,
    is_number,
    known,
    named,
)
from poolbench.kernels.program import Program
from poolbench.kernels.tape import Tape


@dataclass(frozen=True)
class Axis:
    """Which windows reach into a cell along one axis, and where their values lie as seen from its first one.

    Args:
        taps: values of the window along this axis.
        stride, padding, dilation: of the window.
    """

    taps: int
    stride: int
    padding: int
    dilation: int

    @property
    def last(self) -> int:
        """How many windows further on the last one lies that reaches into a cell: the cell's number added."""
        return -(-self.padding // self.stride)

    @property
    def first(self) -> int:
        """The same of the first one."""
        return -((self.dilation * (self.taps - 1) - self.padding) // self.stride)

    def place(self, tap: int, window: int) -> int:
        """Return where a tap lies, of the window so many further on than the cell."""
        return window * self.stride - self.padding + tap * self.dilation


@dataclass(frozen=True)
class Block:
    """How a kernel is cut: see the module.

    Args:
        outer, inner: lanes along R and Q, powers of two.
        rows: of cells that a derivative walks down.
        warps: 32 threads each.
    """

    outer: int
    inner: int
    rows: int
    warps: int


@dataclass(frozen=True)
class Text:
    """The source of one kernel.

    Args:
        program: what is computed.
        geometry: of the windows; their number is left out.
        outside: which rows and which columns of a window may lie outside the map; none of either means no border.
        channels_last: the layout of the map and of all results.
        derivative: whether it is what the map and the parameters get of the gradient.
    """

    program: Program
    geometry: Geometry
    outside: tuple[frozenset[int], frozenset[int]]
    channels_last: bool
    derivative: bool

    @property
    def border(self) -> bool:
        """Whether a window may have values outside the map."""
        return any(self.outside)

    @property
    def tape(self) -> Tape:
        """What is run."""
        p = self.program
        if self.derivative:
            return p.derivative_at_border if self.border else p.derivative
        return p.value_at_border if self.border else p.value

    @property
    def pointers(self) -> list[str]:
        """The tensors that the kernel takes, in their order."""
        uses = self.tape.uses
        wanted = {
            "x": uses("tap"),
            "gradient": self.derivative,
            "learned": uses("param"),
            "key": uses("uniform"),
            "out": True,
            "partial": self.derivative and self.program.params > 0,
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows and columns."""
        g = self.geometry
        rows, columns = (Axis(g.kernel_size[a], g.stride[a], g.padding[a], g.dilation[a]) for a in (0, 1))
        return rows, columns

    @property
    def windows(self) -> range:
        """Which windows of a row of windows a cell needs: the cell's number added."""
        columns = self.axes[1]
        return range(columns.first, columns.last + 1)

    @property
    def waiting(self) -> int:
        """How many rows of windows a cell needs beside the last one."""
        rows = self.axes[0]
        return rows.last - rows.first if self.derivative else 0

    @property
    def walks(self) -> bool:
        """Whether a lane walks down the map: it keeps what the next cell needs, or sums what parameters get."""
        return self.derivative and (self.waiting > 0 or self.program.params > 0)

    @property
    def operations(self) -> int:
        """Of one lane, for one row of windows."""
        return len(self.tape.operations) * (len(self.windows) if self.derivative else 1)

    def written(self) -> str:
        """Return the source."""
        sizes = ["N", "C", "H", "W", "OH", "OW"]
        constants = ["WIDE", "R", "Q"] + ["ROWS"] * self.derivative
        arguments = [*self.pointers, *sizes, *(f"{name}: tl.constexpr" for name in constants)]
        across, down = "OW", "OH"
        if self.derivative:
            rows, columns = self.geometry.stride
            across, down = f"tl.cdiv(W, {columns})", f"tl.cdiv(tl.cdiv(H, {rows}), ROWS)"
        lines = [
            f"across = {across}",
            f"rows_down = {down}",
            *(LANES + (CHANNELS_LAST if self.channels_last else CONTIGUOUS)).splitlines(),
            "zero = tl.zeros([R * Q], WIDE)",
            # Rows are numbered for the block; as a lane of it they can be compared and combined with the others.
            "corner = tl.zeros([1], tl.int32)",
            *self._columns(),
            *(self._derivative() if self.derivative else self._value()),
        ]
        head = IMPORTS + "".join(f"    {argument},\n" for argument in arguments) + "):\n"
        return head + "".join(f"    {line}\n" for line in lines if line)

    # ---- where values lie ----

    def _columns(self) -> list[str]:
        """Number the columns of the map that a lane reads: `column_AT` and whether it is in the map."""
        lines = []
        for at in self._places():
            name = named(at)
            lines += [
                f"column{name} = cell * {self.geometry.stride[1]} + {at}",
                f"column_ok{name} = (column{name} >= 0) & (column{name} < W)",
            ]
        return lines

    def _places(self) -> list[int]:
        """Return where the taps lie of all windows that a lane does, seen from its cell."""
        columns = self.axes[1]
        windows = self.windows if self.derivative else (0,)
        return sorted({columns.place(tap, window) for window in windows for tap in range(columns.taps)})

    def _rows(self, row: str) -> list[str]:
        """Read the taps of a row of windows, `row` its number: `tap_ROW_AT`."""
        rows = self.axes[0]
        uses = self.tape.uses
        lines = []
        for t in range(rows.taps):
            lines += [
                f"row{t} = {row} * {rows.stride} + {rows.place(t, 0)}",
                f"row_ok{t} = (row{t} >= 0) & (row{t} < H)",
            ]
            if not uses("tap"):
                continue
            for at in self._places():
                name = named(at)
                lines.append(
                    f"tap{t}{name} = tl.load(x + x_map + row{t} * (W * step) + (x_lane + column{name} * step), "
                    f"mask=lane & row_ok{t} & column_ok{name}, other=0.0).to(WIDE)"
                )
        return lines

    # ---- the formula ----

    def _window(self, row: str, window: int) -> list[str]:
        """Run the tape for one window of each lane: `v_WINDOW_NUMBER`; `there_WINDOW` says whether there is one."""
        name = named(window)
        lines = [
            f"ox{name} = cell + {window}",
            f"there{name} = lane & (ox{name} >= 0) & (ox{name} < OW) & ({row} >= 0) & ({row} < OH)",
            f"here{name} = y_map + {row} * (OW * step) + (y_lane + ox{name} * step)",
        ]
        words: list[str] = []
        for at, (op, arguments, leaf) in enumerate(self.tape.operations):
            found = known(op, [words[argument] for argument in arguments])
            if found or op == "const":
                words.append(found or self._word(op, [], leaf, window, row))
                continue
            word = self._word(op, [words[argument] for argument in arguments], leaf, window, row)
            if word in ("True", "False"):
                words.append(word)
                continue
            words.append(f"v{name}_{at}")
            lines.append(f"{words[-1]} = {word}")
        self_outputs = [words[output] for output in self.tape.outputs]
        lines += [f"y{name}_{number} = {word} + zero" for number, word in enumerate(self_outputs)]
        return lines

    def _word(self, op: str, arguments: list[str], leaf: Any, window: int, row: str) -> str:
        name = named(window)
        if op == "const":
            return repr(float(leaf)) if math.isfinite(leaf) else f"float('{leaf}')"
        if op in ("tap", "valid"):
            t, k = divmod(leaf, self.geometry.kernel_size[1])
            at = named(self.axes[1].place(k, window))
            if op == "tap":
                return f"tap{t}{at}"
            asked = [f"row_ok{t}"] * (t in self.outside[0]) + [f"column_ok{at}"] * (k in self.outside[1])
            return " & ".join(asked) or "True"
        if op == "count":
            rows = " + ".join(f"row_ok{t}.to(tl.int32)" for t in range(self.axes[0].taps))
            places = (self.axes[1].place(k, window) for k in range(self.axes[1].taps))
            columns = " + ".join(f"column_ok{named(at)}.to(tl.int32)" for at in places)
            return f"(({rows}) * ({columns})).to(WIDE)"
        if op == "param":
            return f"tl.load(learned + ({leaf} * C + c), mask=lane, other=0.0).to(WIDE)"
        if op == "gradient":
            return f"tl.load(gradient + here{name}, mask=there{name}, other=0.0).to(WIDE)"
        if op == "uniform":
            place = f"((map_number.to(tl.int64) * OH + {row}) * OW + ox{name}).to(tl.uint32)"
            return f"(mixed(mixed({place}) ^ (tl.load(key) + {leaf}).to(tl.uint32)) >> 8).to(WIDE) * {2.0**-24!r}"
        if op == "where":
            # Triton takes a number between two choices for float32, which float64 is not to be rounded to.
            arguments = [f"tl.full([1], {each}, WIDE)" if is_number(each) else each for each in arguments]
        return WORDS[op].format(*arguments)

    def _value(self) -> list[str]:
        return [
            "row = down + corner",
            *self._rows("row"),
            *self._window("row", 0),
            f"tl.store(out + here{named(0)}, y{named(0)}_0, mask=there{named(0)})",
        ]

    # ---- the derivative ----

    def _derivative(self) -> list[str]:
        rows = self.axes[0]
        deepest = rows.place(rows.taps - 1, rows.last)
        waits = [(d, phase) for d in range(max(0, deepest - rows.stride + 1)) for phase in range(self.axes[1].stride)]
        # A loop hands on values of their own: of two names of one value, Triton forgets that one changes.
        lines = [f"waiting_{d}_{phase} = tl.zeros([R * Q], WIDE)" for d, phase in waits]
        lines += [f"param_part{number} = tl.zeros([R * Q], WIDE)" for number in range(self.program.params)]
        body = [
            f"cells = down * ROWS + turn - {self.waiting} + corner",
            f"row = cells + {rows.last}",
            *self._rows("row"),
        ]
        for window in self.windows:
            body += self._window("row", window)
        parts: dict[tuple[int, int], str] = {(d, phase): f"waiting_{d}_{phase}" for d, phase in waits}
        for d in range(max(deepest + 1, rows.stride)):
            for phase in range(self.axes[1].stride):
                found = [parts[d, phase]] if (d, phase) in parts else []
                found += self._parts_of(d, phase)
                body.append(f"sum_{d}_{phase} = {' + '.join([*found, 'zero'])}")
        if self.waiting:
            body.append(f"done = turn + corner >= {self.waiting}")
        for d in range(rows.stride):
            body += self._stored(d)
        body += [f"waiting_{d}_{phase} = sum_{d + rows.stride}_{phase} + zero" for d, phase in waits]
        body += self._param_parts()
        if self.walks:
            lines += [f"for turn in range(ROWS + {self.waiting}):", *(f"    {line}" for line in body)]
        else:
            lines += ["turn = 0", *body]
        return lines + self._kept_param_parts()

    def _parts_of(self, d: int, phase: int) -> list[str]:
        """Return what value (d, phase), seen from the cell of this row of windows, gets of its windows."""
        rows, columns = self.axes
        found = []
        for window in self.windows:
            for tap in range(self.program.size):
                t, k = divmod(tap, columns.taps)
                if rows.place(t, rows.last) == d and columns.place(k, window) == phase:
                    name = named(window)
                    found.append(f"tl.where(there{name}, y{name}_{tap}, 0.0)")
        return found

    def _stored(self, d: int) -> list[str]:
        """Write row `d` of the cells."""
        stride = self.axes[1].stride
        lines = [f"to = cells * {self.axes[0].stride} + {d}", "ok = lane & (to < H)" + " & done" * bool(self.waiting)]
        place = "out + x_map + to * (W * step)"
        for phase in range(stride):
            column = f"(cell * {stride} + {phase})"
            lines.append(f"tl.store({place} + (x_lane + {column} * step), sum_{d}_{phase}, mask=ok & ({column} < W))")
        return lines

    def _param_parts(self) -> list[str]:
        """Add what the parameters get: of each window once, though several cells have done it."""
        lines = []
        columns = self.axes[1]
        for number in range(self.program.params):
            for window in self.windows:
                name = named(window)
                # A window belongs to the cell that it is the last of; the first cell has those before as well.
                first = "" if window == columns.last else " & (cell == 0)"
                mine = f"there{name}{first}" + " & (done | (down + corner == 0))" * bool(self.waiting)
                lines.append(f"param_part{number} += tl.where({mine}, y{name}_{self.program.size + number}, 0.0)")
        return lines

    def _kept_param_parts(self) -> list[str]:
        """Write what each lane says of the parameters; torch sums it."""
        count, lines = self.program.params, []
        for number in range(count):
            if self.channels_last:
                where = f"(((n * rows_down + down) * {count} + {number}) * across + cell) * C + c"
            else:
                where = f"((down * {count} + {number}).to(tl.int64) * (N * C) + map_number) * across + cell"
            lines.append(f"tl.store(partial + {where}, param_part{number}, mask=lane & (cell < across))")
        return lines
