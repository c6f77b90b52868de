"""Operations of a tape as LLVM instructions on vectors."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llvmlite import ir

from poolbench.kernels.cpu.approximations import (
    COARSE_LOG2_TERMS_OF_PARTS,
    EXP2_TERMS_OF_PARTS,
    INVERSES,
    LOG2_TERMS,
    LOG2_TERMS_OF_PARTS,
    PARTED,
    PARTS,
    ROOTS,
    bits_of,
    interpolated,
)
from poolbench.kernels.geometry import CACHE_LINE
from poolbench.kernels.tape import Tape

I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
# LLVM text: any instruction's result or constant.
Code = Any


class Lanes:
    """Vector arithmetic of one kernel: `count` numbers at a time, stored as `dtype`, computed in float32 or float64.

    Where it is `bounded`, exponentials neither overflow nor vanish and logarithms are of positive normal numbers. Where
    it is `fused`, a·b + c may be rounded once, as on GPUs: not in a derivative, whose products must cancel where they
    are equal. A zero may have either sign, so that to add where a condition holds is one step. Where there are
    `tables`, the processor finds a number by its place among those of a register (AVX-512); there, where it is
    `coarse`, logarithms need be exact to 10⁻⁶ only.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        dtype: str,
        count: int,
        *,
        bounded: bool = False,
        fused: bool = False,
        tables: bool = False,
        coarse: bool = False,
    ) -> None:
        self.builder, self.dtype, self.count, self.bounded = builder, dtype, count, bounded
        self.coarse = coarse
        self.tables = tables and dtype != "float64" and 2 * count == PARTS
        self.freedoms = ("nsz", "contract") if fused else ("nsz",)
        self.number = ir.DoubleType() if dtype == "float64" else ir.FloatType()
        self.stored = I16 if dtype == "bfloat16" else self.number
        self.bits = I64 if dtype == "float64" else I32

    def vector(self, kind: Any, count: int | None = None) -> ir.VectorType:
        """Return the type of a vector."""
        return ir.VectorType(kind, self.count if count is None else count)

    def const(self, number: float, kind: Any = None, count: int | None = None) -> ir.Constant:
        """Return a vector of one constant."""
        kind = self.number if kind is None else kind
        return ir.Constant(self.vector(kind, count), [number] * (self.count if count is None else count))

    def steps(self, kind: Any, count: int | None = None, over: int = 1) -> ir.Constant:
        """Return 0, 1, 2, …, each `over` times."""
        count = self.count if count is None else count
        return ir.Constant(self.vector(kind, count), [at // over for at in range(count)])

    def splat(self, scalar: Code, count: int | None = None) -> Code:
        """Return a vector of one number that is known only when the kernel runs."""
        count = self.count if count is None else count
        kind = self.vector(scalar.type, count)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), self.const(0, I32, count))

    def widen(self, stored: Code) -> Code:
        """Return stored values as numbers to compute with."""
        if self.dtype != "bfloat16":
            return stored
        b, count = self.builder, stored.type.count
        if self.tables:  # one step there, and else two
            order = [at // 2 + count * (1 - at % 2) for at in range(2 * count)]
            zeros = ir.Constant(stored.type, None)
            bits = b.shuffle_vector(stored, zeros, ir.Constant(self.vector(I32, 2 * count), order))
        else:
            bits = b.shl(b.zext(stored, self.vector(I32, count)), self.const(16, I32, count))
        numbers = b.bitcast(bits, self.vector(self.number, count))
        # Else LLVM would choose between bits where numbers are chosen, and no longer see the larger of two.
        return self.intrinsic(f"llvm.arithmetic.fence.v{count}f32", numbers.type, [numbers])

    def narrow(self, numbers: Code) -> Code:
        """Return numbers as they are stored, rounded to the nearest, ties to even."""
        if self.dtype != "bfloat16":
            return numbers
        b, count = self.builder, numbers.type.count
        bits = b.bitcast(numbers, self.vector(I32, count))
        odd = b.and_(b.lshr(bits, self.const(16, I32, count)), self.const(1, I32, count))
        rounded = b.add(bits, b.add(odd, self.const(0x7FFF, I32, count)))
        nan = b.fcmp_unordered("uno", numbers, numbers)
        kept = b.select(nan, self.const(0x7FC00000, I32, count), rounded)
        return b.trunc(b.lshr(kept, self.const(16, I32, count)), self.vector(I16, count))

    def intrinsic(self, name: str, kind: Any, arguments: Sequence[Code]) -> Code:
        """Call one of LLVM's own functions."""
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(kind, [a.type for a in arguments]), name
        )
        return self.builder.call(function, arguments)

    def load(self, pointer: Code, kind: Any, count: int | None = None, mask: Code | None = None) -> Code:
        """Return a vector from memory; masked lanes are not touched and give 0."""
        vector = self.vector(kind, count)
        align = kind.width // 8 if isinstance(kind, ir.IntType) else (8 if isinstance(kind, ir.DoubleType) else 4)
        if mask is None:
            return self.builder.load(pointer, typ=vector, align=align)
        name = f"llvm.masked.load.v{vector.count}{_short(kind)}.p0"
        return self.intrinsic(name, vector, [pointer, ir.Constant(I32, align), mask, ir.Constant(vector, None)])

    def store(self, value: Code, pointer: Code, mask: Code | None = None) -> None:
        """Put a vector into memory; masked lanes are not touched."""
        kind = value.type.element
        align = kind.width // 8 if isinstance(kind, ir.IntType) else (8 if isinstance(kind, ir.DoubleType) else 4)
        if mask is None:
            self.builder.store(value, pointer, align=align)
            return
        name = f"llvm.masked.store.v{value.type.count}{_short(kind)}.p0"
        self.intrinsic(name, ir.VoidType(), [value, pointer, ir.Constant(I32, align), mask])

    def stream(self, value: Code, pointer: Code) -> None:
        """Put an aligned vector into memory, past the caches: they do not read the line before.

        All of the cache line should be written soon.
        """
        module, kind = self.builder.module, value.type.element
        bits = kind.width if isinstance(kind, ir.IntType) else (64 if isinstance(kind, ir.DoubleType) else 32)
        stored = self.builder.store(value, pointer, align=min(value.type.count * bits // 8, CACHE_LINE))
        stored.set_metadata("nontemporal", module.add_metadata([ir.Constant(I32, 1)]))

    def each(self, tape: Tape, inputs: Mapping[str, Callable[[Any], Code]]) -> Iterator[Code]:
        """Write a tape; `inputs` gives each kind of leaf. Yield each output as soon as it is computed.

        Code that uses an output is written there, before the next one: so it occupies no register for long.
        """
        inputs = {"const": self.const, **inputs}
        values: list[Code] = []
        for output in tape.outputs:
            for op, arguments, leaf in tape.operations[len(values) : output + 1]:
                found = inputs[op](leaf) if op in inputs else self.operation(op, [values[at] for at in arguments])
                values.append(found)
            yield values[output]

    def operation(self, op: str, a: Sequence[Code]) -> Code:
        """Return one operation's result."""
        b = self.builder
        match op:
            case "add":
                return b.fadd(a[0], a[1], flags=self.freedoms)
            case "sub":
                return b.fsub(a[0], a[1])
            case "mul":
                return b.fmul(a[0], a[1], flags=self.freedoms)
            case "div":
                return b.fdiv(a[0], a[1])
            case "gt":
                return b.fcmp_ordered(">", a[0], a[1])
            case "ge":
                return b.fcmp_ordered(">=", a[0], a[1])
            case "unordered":
                return b.fcmp_unordered("uno", a[0], a[1])
            case "and":
                return b.and_(a[0], a[1])
            case "or":
                return b.or_(a[0], a[1])
            case "not":
                return b.not_(a[0])
            case "where":
                return b.select(a[0], a[1], a[2])
            case "nan_where":
                return b.select(a[1], self.const(math.nan), a[0])
            case "sqrt":
                return self.intrinsic(f"llvm.sqrt.v{self.count}{_short(self.number)}", a[0].type, a)
            case "stop_gradient" | "with_gradient_of":
                return a[0]
            case "exp2":
                return self.exp2(a[0])
            case "log2":
                return self.log2(a[0])
            case "exp":
                return self.exp(a[0])
            case "log":
                return self.log(a[0])
        raise ValueError(f"no instruction for {op!r}")

    def fma(self, a: Code, b: Code, c: Code) -> Code:
        """Return a·b + c, rounded once where the machine can."""
        return self.intrinsic(f"llvm.fmuladd.v{self.count}{_short(self.number)}", a.type, [a, b, c])

    def polynomial(self, x: Code, coefficients: Sequence[float]) -> Code:
        """Return a polynomial of x, the highest power's coefficient first."""
        result = self.const(coefficients[0])
        for coefficient in coefficients[1:]:
            result = self.fma(result, x, self.const(coefficient))
        return result

    def exp(self, x: Code) -> Code:
        """Return e^x: 2^n times e^r, |r| ≤ ln 2 / 2. Below the normal numbers 0; ∞ from half the largest one on."""
        shifted, whole = self._nearest(self.builder.fmul(x, self.const(1 / math.log(2))))
        # ln 2 in two parts, the first with so few digits that n times it is exact.
        coarse = round(math.log(2) * 2**16) / 2**16
        r = self.fma(whole, self.const(-coarse), x)
        r = self.fma(whole, self.const(coarse - math.log(2)), r)
        low, high = (-708.3, 709.4) if self.dtype == "float64" else (-87.3, 88.37)
        return self._power_of_two(x, r, shifted, 1.0, low, high)

    def exp2(self, x: Code) -> Code:
        """Return 2^x, as `exp` does."""
        shifted, whole = self._nearest(x, PARTS if self.tables else 1)
        r = self.builder.fsub(x, whole)
        low, high = (-1021.9, 1023.4) if self.dtype == "float64" else (-125.9, 127.4)
        if not self.tables:
            return self._power_of_two(x, r, shifted, math.log(2), low, high)
        b, bits = self.builder, self.vector(self.bits)
        places = b.bitcast(shifted, bits)
        root = b.bitcast(self.looked_up(ROOTS, places), bits)
        root = b.bitcast(b.add(root, b.shl(places, self.const(23 - 5, self.bits))), self.vector(self.number))
        return self._within(x, b.fmul(root, self.polynomial(r, EXP2_TERMS_OF_PARTS)), low, high)

    def _nearest(self, x: Code, parts: int = 1) -> tuple[Code, Code]:
        """Return the nearest whole number of parts of 1, in the low bits of a shifted number and by itself.

        Adding 1.5·2^m does it without a conversion, which NaN would break.
        """
        magic = self.const(1.5 * 2.0 ** (52 if self.dtype == "float64" else 23) / parts)
        shifted = self.builder.fadd(x, magic)
        return shifted, self.builder.fsub(shifted, magic)

    def _power_of_two(self, x: Code, r: Code, shifted: Code, scale: float, low: float, high: float) -> Code:
        """Return e^(scale·r)·2^n: a polynomial, as long as the dtype can tell, and n put into the exponent."""
        b, double = self.builder, self.dtype == "float64"
        reach = math.log(2) / 2 / scale
        if double:
            terms = [scale**k / math.factorial(k) for k in range(13, -1, -1)]
        else:  # e^0 is 1 exactly
            terms = [*interpolated(lambda r: math.expm1(scale * r) / r if r else scale, -reach, reach, 4), 1.0]
        bits = self.vector(self.bits)
        # The bits of the shift above n leave at the top.
        n = b.shl(b.bitcast(shifted, bits), self.const(52 if double else 23, self.bits))
        result = b.bitcast(b.add(b.bitcast(self.polynomial(r, terms), bits), n), self.vector(self.number))
        return self._within(x, result, low, high)

    def _within(self, x: Code, result: Code, low: float, high: float) -> Code:
        """Return an exponential, 0 or ∞ where x is too small or large for it; NaN stays."""
        b = self.builder
        if self.bounded:
            return result
        result = b.select(b.fcmp_ordered("<", x, self.const(low)), self.const(0.0), result)
        return b.select(b.fcmp_unordered(">", x, self.const(high)), b.fadd(x, self.const(math.inf)), result)

    def log(self, x: Code) -> Code:
        """Return ln x from its exponent and the series of artanh: −∞ of 0, NaN of negative numbers."""
        b, double = self.builder, self.dtype == "float64"
        least, lift = (2.0**-1022, 54) if double else (2.0**-126, 25)
        tiny = b.fcmp_ordered("<", x, self.const(least))
        m, e, _ = self._split(b.select(tiny, b.fmul(x, self.const(2.0**lift)), x), math.sqrt(0.5))
        e = b.fsub(e, b.select(tiny, self.const(lift), self.const(0.0)))
        s, series = self._artanh(m)
        coarse = round(math.log(2) * 2**12) / 2**12
        small = self.fma(s, series, b.fmul(e, self.const(math.log(2) - coarse)))
        result = self.fma(e, self.const(coarse), small)
        result = b.select(b.fcmp_ordered("==", x, self.const(math.inf)), x, result)
        result = b.select(b.fcmp_ordered("==", x, self.const(0.0)), self.const(-math.inf), result)
        return b.select(b.fcmp_unordered("<", x, self.const(0.0)), self.const(math.nan), result)

    def log2(self, x: Code) -> Code:
        """Return the logarithm to base 2 of positive normal numbers; NaN and ∞ stay."""
        b = self.builder
        if self.dtype == "float64":
            m, e, _ = self._split(x, math.sqrt(0.5))
            s, series = self._artanh(m)
            result = self.fma(b.fmul(s, self.const(1 / math.log(2))), series, e)
        elif self.tables:
            m, e, above = self._split(x, PARTED)
            part = b.lshr(above, self.const(23 - 5, self.bits))
            r = self.fma(m, self.looked_up(INVERSES, part), self.const(-1.0))
            whole = b.fsub(e, self.looked_up([math.log2(inverse) for inverse in INVERSES], part))
            terms = COARSE_LOG2_TERMS_OF_PARTS if self.coarse else LOG2_TERMS_OF_PARTS
            result = self.fma(r, self.polynomial(r, terms), whole)
        else:  # a division takes longer than a few more terms
            m, e, _ = self._split(x, math.sqrt(0.5))
            f = b.fsub(m, self.const(1.0))
            result = self.fma(f, self.polynomial(f, LOG2_TERMS), e)
        if self.bounded:
            return result
        return b.select(b.fcmp_ordered("<", x, self.const(math.inf)), result, x)

    def looked_up(self, table: Sequence[float], places: Code) -> Code:
        """Return numbers of a table of `PARTS` by the last five binary digits of their places."""
        kind = self.vector(self.number)
        halves = (ir.Constant(kind, list(half)) for half in (table[: self.count], table[self.count :]))
        first, second = halves
        return self.intrinsic("llvm.x86.avx512.vpermi2var.ps.512", kind, [first, places, second])

    def _split(self, x: Code, least: float) -> tuple[Code, Code, Code]:
        """Return m in [least, 2 · least) and a whole e, x = m·2^e; and how far x's bits are above those of `least`."""
        b, digits = self.builder, self.const(52 if self.dtype == "float64" else 23, self.bits)
        bits = b.bitcast(x, self.vector(self.bits))
        above = b.sub(bits, self.const(bits_of(least, self.dtype == "float64"), self.bits))
        exponent = b.ashr(above, digits)
        m = b.bitcast(b.sub(bits, b.shl(exponent, digits)), self.vector(self.number))
        return m, b.sitofp(exponent, self.vector(self.number)), above

    def _artanh(self, m: Code) -> tuple[Code, Code]:
        """Return s = (m − 1) / (m + 1) and the sum of 2·s^k / (k + 1), k even: ln m is their product."""
        b, one = self.builder, self.const(1.0)
        s = b.fdiv(b.fsub(m, one), b.fadd(m, one))
        terms = [2 / k for k in range(23 if self.dtype == "float64" else 9, 0, -2)]
        return s, self.polynomial(b.fmul(s, s), terms)

    def mixed(self, x: Code) -> Code:
        """Return 32-bit whole numbers mixed as `poolbench.kernels.uniform.mix` mixes them."""
        b = self.builder
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = b.mul(b.xor(x, b.lshr(x, self.const(shift, I32))), self.const(factor, I32))
        return b.xor(x, b.lshr(x, self.const(16, I32)))

    def uniform(self, place: Code, key: Code) -> Code:
        """Return numbers in [0, 1) by place and key, both 32-bit whole numbers."""
        b = self.builder
        top = b.lshr(self.mixed(b.xor(self.mixed(place), key)), self.const(8, I32))
        return b.fmul(b.uitofp(top, self.vector(self.number)), self.const(2.0**-24))


def _short(kind: Any) -> str:
    """Return how LLVM writes a type in the name of an intrinsic."""
    if isinstance(kind, ir.IntType):
        return f"i{kind.width}"
    return "f64" if isinstance(kind, ir.DoubleType) else "f32"
