"""PTX run on the CPU: what Triton compiles for a GPU can be tried where there is none.

Threads of a block do each instruction together. Known are the instructions that kernels of ours are made of; there is
none by which threads tell each other something, which would be an `UnknownInstructionError`. Memory has borders, and a
place that is written twice must be given the same value.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Bits = np.ndarray  # of each thread: a number's bits as uint64, or a truth
KINDS = {
    **{
        f"{sign}{bits}": np.dtype(f"{'int' if sign == 's' else 'uint'}{bits}") for sign in "sub" for bits in (8, 16, 32)
    },
    **{"s64": np.dtype("int64"), "u64": np.dtype("uint64"), "b64": np.dtype("uint64")},
    **{f"f{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.fmin,
    "max": np.fmax,
    "neg": np.negative,
    "abs": np.abs,
    "rcp": np.reciprocal,
    "sqrt": np.sqrt,
    "ex2": np.exp2,
    "lg2": np.log2,
}
BITWISE: dict[str, Callable[..., Any]] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shl": np.left_shift,
    "shr": np.right_shift,
}


class UnknownInstructionError(Exception):
    """An instruction that this file does not know, or one that it does not want: by which threads share something."""


@dataclass(frozen=True)
class Instruction:
    """One line of PTX, done by the threads for which the guard holds."""

    guard: str
    operation: tuple[str, ...]
    operands: tuple[str, ...]
    text: str


class Memory:
    """Arrays at addresses, with room between them."""

    def __init__(self) -> None:
        self.held: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.end = 1 << 20

    def add(self, array: np.ndarray) -> int:
        """Lend an array, which stores write into; return its address."""
        address, size = self.end, array.nbytes
        self.held.append((address, array.view(np.uint8).reshape(-1), np.zeros(size, bool)))
        self.end += (size // 256 + 2) * 256
        return address

    def _found(self, addresses: np.ndarray, size: int) -> tuple[int, np.ndarray, np.ndarray]:
        for address, held, written in self.held:
            if ((addresses >= address) & (addresses + size <= address + held.size)).all():
                assert ((addresses - address) % size == 0).all(), "an access that is not aligned"
                return address, held, written
        raise AssertionError("an access outside the tensor, or of several tensors by one instruction")

    def load(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Return the bytes (thread, byte) at addresses."""
        address, held, _ = self._found(addresses, size)
        return held[(addresses - address)[:, None] + np.arange(size)]

    def store(self, addresses: np.ndarray, found: np.ndarray) -> None:
        """Write bytes (thread, byte)."""
        address, held, written = self._found(addresses, found.shape[1])
        places = (addresses - address)[:, None] + np.arange(found.shape[1])
        again = written[places]
        assert (held[places][again] == found[again]).all(), "a place that is given two values"
        held[places], written[places] = found, True
        assert (held[places] == found).all(), "a place that two threads give two values"


class Block:
    """The threads of one block, at work.

    Args:
        program: a kernel's instructions, and where its labels stand.
        parameters: its arguments by name.
        threads: of a block.
        number: of the block.
        memory: where pointers point to.
    """

    def __init__(
        self,
        program: tuple[list[Instruction], dict[str, int]],
        parameters: dict[str, int],
        threads: int,
        number: int,
        memory: Memory,
    ) -> None:
        (self.instructions, self.labels), self.parameters, self.memory = program, parameters, memory
        self.threads = threads
        self.registers: dict[str, Bits] = {
            "%tid.x": np.arange(threads, dtype=np.uint64),
            "%ctaid.x": np.full(threads, number, np.uint64),
        }

    def run(self) -> None:
        """Do everything: always the earliest instruction at which a thread stands, for all that stand there."""
        places = np.zeros(self.threads, np.int64)
        while (at := int(places.min())) < len(self.instructions):
            instruction, here = self.instructions[at], places == at
            active = here & self._active(instruction.guard)
            places[here] = at + 1
            if instruction.operation[0] == "ret":
                places[active] = len(self.instructions)
            elif instruction.operation[0] == "bra":
                places[active] = self.labels[instruction.operands[-1]]
            else:
                self._do(instruction, active)

    def _active(self, guard: str) -> np.ndarray:
        if not guard:
            return np.ones(self.threads, bool)
        holds = self.registers[guard.lstrip("!")]
        return ~holds if guard.startswith("!") else holds

    def _do(self, instruction: Instruction, active: np.ndarray) -> None:
        operation, operands = instruction.operation, instruction.operands
        name, kind = operation[0], operation[-1]
        if name in ("ld", "st") and operation[1] == "global":
            self._access(name, operation, operands, active)
            return
        if name == "ld" and operation[1] == "param":
            value: Any = np.full(self.threads, self.parameters[operands[1].strip("[]")] % 2**64, np.uint64)
        elif name == "mov":
            self._move(operands, kind, active)
            return
        elif name == "cvt":
            value = self._converted(operation, operands)
        elif name == "setp" and kind == "bf16x2":
            self._compared_in_halves(operation, operands, active)
            return
        elif name == "setp":
            value = self._compared(operation, operands)
        elif name == "selp":
            one, other = (self._bits(operand) for operand in operands[1:3])
            value = np.where(self.registers[operands[3]], one, other)
        elif kind == "pred":
            value = BITWISE[name](*(self._active(operand) for operand in operands[1:]))
        elif name in BITWISE:
            value = self._bitwise(name, operands, kind)
        elif name == "bfe":
            first, width = (int(operand) for operand in operands[2:])
            value = self._bits(operands[1]) >> np.uint64(first) & np.uint64(2**width - 1)
        elif kind in ("s16x2", "u16x2"):
            value = self._in_halves(name, operands)
        else:
            value = self._computed(instruction)
        self._put(operands[0], value, active)

    # ---- registers ----

    def _bits(self, operand: str) -> Bits:
        """Return what a register holds, or a number that stands in the text."""
        if operand.startswith("%"):
            # The other half of a number that fills half a register is never set: it may be anything.
            return self.registers.get(operand, np.full(self.threads, 0xDEADBEEFDEADBEEF, np.uint64))
        number = int(operand[2:], 16) if operand[:2] in ("0f", "0d") else int(operand, 0)
        return np.full(self.threads, number % 2**64, np.uint64)

    def _as(self, operand: str, kind: str) -> np.ndarray:
        """Return numbers of a kind."""
        bits = self._bits(operand)
        if kind == "bf16":
            return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
        known = KINDS.get(kind)
        if known is None:
            raise UnknownInstructionError(f"numbers of kind {kind}")
        return bits.astype(np.dtype(f"uint{8 * known.itemsize}")).view(known)

    def _put(self, register: str, value: np.ndarray, active: np.ndarray) -> None:
        if value.dtype != bool:
            value = np.ascontiguousarray(value).view(np.dtype(f"uint{8 * value.dtype.itemsize}")).astype(np.uint64)
        before = self.registers.get(register)
        self.registers[register] = value if before is None else np.where(active, value, before)

    def _move(self, operands: Sequence[str], kind: str, active: np.ndarray) -> None:
        """Copy, put several registers together into one, or take one apart."""
        parts = [[part.strip() for part in operand.strip("{} ").split(",")] for operand in operands]
        width = int(kind[1:]) // max(map(len, parts)) if kind != "pred" else 1
        if len(parts[0]) > 1:
            whole = self._bits(operands[1])
            for at, register in enumerate(parts[0]):
                self._put(register, whole >> np.uint64(width * at) & np.uint64(2**width - 1), active)
            return
        value = self._bits(parts[1][0])
        for at, register in enumerate(parts[1][1:], start=1):
            value = value & np.uint64(2**width - 1) | self._bits(register) << np.uint64(width * at)
        self._put(operands[0], value != 0 if kind == "pred" and value.dtype != bool else value, active)

    # ---- memory ----

    def _access(self, name: str, operation: Sequence[str], operands: Sequence[str], active: np.ndarray) -> None:
        place, registers = (operands[1], operands[0]) if name == "ld" else (operands[0], operands[1])
        names = [register.strip() for register in registers.strip("{} ").split(",")]
        base, _, offset = place.strip("[] ").partition("+")
        addresses = self._as(base.strip(), "s64")[active] + int(offset or 0)
        size = int(operation[-1][1:]) // 8
        if name == "ld":
            found = np.zeros((self.threads, size * len(names)), np.uint8)
            if active.any():
                found[active] = self.memory.load(addresses, size * len(names))
            for at, register in enumerate(names):
                one = np.ascontiguousarray(found[:, at * size : (at + 1) * size])
                self._put(register, one.view(np.dtype(f"uint{8 * size}"))[:, 0], active)
            return
        if not active.any():
            return
        written = [self._bits(register)[active].view(np.uint8).reshape(-1, 8)[:, :size] for register in names]
        self.memory.store(addresses, np.concatenate(written, axis=1))

    # ---- arithmetic ----

    def _computed(self, instruction: Instruction) -> np.ndarray:
        operation, operands = instruction.operation, instruction.operands
        name, kind = operation[0], operation[-1]
        if "wide" in operation:
            twice = f"{kind[0]}{2 * int(kind[1:])}"
            a, b = (self._as(operand, kind).astype(KINDS[twice]) for operand in operands[1:3])
            return a * b + self._as(operands[3], twice) if name == "mad" else a * b
        arguments = [self._as(operand, kind) for operand in operands[1:]]
        if "hi" in operation:
            twice = KINDS[f"{kind[0]}64"]
            return (arguments[0].astype(twice) * arguments[1].astype(twice) >> twice.type(32)).astype(
                arguments[0].dtype
            )
        if name in ("div", "rem") and kind[0] in "su":
            # Towards zero. A divisor of 0 gives any number, in a lane that is not there.
            divisor = np.where(arguments[1] == 0, 1, arguments[1])
            quotient = (np.sign(arguments[0]) * np.sign(divisor)) * (np.abs(arguments[0]) // np.abs(divisor))
            return (quotient if name == "div" else arguments[0] - quotient * divisor).astype(arguments[0].dtype)
        if name in ("fma", "mad"):
            wide = np.float64 if kind == "f32" else arguments[0].dtype  # a product is not rounded before it is added to
            a, b, c = (argument.astype(wide) for argument in arguments)
            return (a * b + c).astype(arguments[0].dtype)
        if name == "div":
            return arguments[0] / arguments[1]
        if name in ("min", "max") and "NaN" in operation:
            return {"min": np.minimum, "max": np.maximum}[name](*arguments)
        if name not in ARITHMETIC:
            raise UnknownInstructionError(instruction.text)
        return ARITHMETIC[name](*arguments)

    def _bitwise(self, name: str, operands: Sequence[str], kind: str) -> np.ndarray:
        arguments = [self._as(operand, kind) for operand in operands[1:]]
        if name in ("shl", "shr"):
            arguments[1] = self._as(operands[2], "u32").astype(arguments[0].dtype)
        return BITWISE[name](*arguments)

    def _in_halves(self, name: str, operands: Sequence[str]) -> np.ndarray:
        """Return the results of two numbers of 16 bits that share a register."""
        a, b = (self._as(operand, "u32").view(np.uint16) for operand in operands[1:3])
        return ARITHMETIC[name](a, b).view(np.uint32)

    def _converted(self, operation: Sequence[str], operands: Sequence[str]) -> np.ndarray:
        into, kind = operation[-2:]
        if into == "bf16x2":
            high, low = (_rounded(self._as(operand, kind)) for operand in operands[1:3])
            return high << np.uint32(16) | low
        value = self._as(operands[1], kind)
        return _rounded(value).astype(np.uint16) if into == "bf16" else value.astype(KINDS[into])

    def _compared(self, operation: Sequence[str], operands: Sequence[str]) -> np.ndarray:
        how, kind = operation[1], operation[-1]
        found = _held(how, *(self._as(operand, kind) for operand in operands[1:3]))
        if operation[2] in ("and", "or", "xor"):
            found = BITWISE[operation[2]](found, self._active(operands[3]))
        return found

    def _compared_in_halves(self, operation: Sequence[str], operands: Sequence[str], active: np.ndarray) -> None:
        """Compare two numbers of 16 bits that share a register; there is a truth for each."""
        a, b = (self._bits(operand).astype(np.uint32) for operand in operands[1:3])
        high = [_held(operation[1], *((each & np.uint32(0xFFFF0000)).view(np.float32) for each in (a, b)))]
        low = [_held(operation[1], *((each << np.uint32(16)).view(np.float32) for each in (a, b)))]
        for register, found in zip(operands[0].split("|"), low + high, strict=True):
            self._put(register, found, active)


def _held(how: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where a comparison holds; with NaN, one whose name ends in u does."""
    unordered = np.isnan(a) | np.isnan(b)
    if how in ("nan", "num"):
        return unordered if how == "nan" else ~unordered
    if how not in COMPARISONS:
        return COMPARISONS[how[:-1]](a, b) | unordered
    return COMPARISONS[how](a, b) & ~unordered


def _rounded(value: np.ndarray) -> np.ndarray:
    """Return the bits of float32 rounded to bfloat16, to even."""
    bits = value.astype(np.float32).view(np.uint32)
    return bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)) >> np.uint32(16)


def parsed(ptx: str) -> tuple[list[str], int, tuple[list[Instruction], dict[str, int]]]:
    """Return the names of a kernel's parameters, its threads, and its instructions with its labels."""
    entry = ptx[ptx.index(".visible .entry") :]
    head, _, body = entry.partition("{")
    threads = re.search(r"\.reqntid (\d+)", head)
    assert threads is not None
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for raw in body.splitlines():
        line = raw.partition("//")[0].strip()
        if label := re.fullmatch(r"(\$[\w$]+):", line):
            labels[label[1]] = len(instructions)
            continue
        line = re.sub(r"^\{(.*)\}$|^[{}]$", r"\1", line)  # a block may stand in a line of its own
        parts = [part.strip() for part in line.split(";")]
        instructions += [_instruction(part) for part in parts if part and part[0] != "."]
    return re.findall(r"\.param [^,)]*?(\w+_param_\d+)", head), int(threads[1]), (instructions, labels)


def _instruction(text: str) -> Instruction:
    found = re.fullmatch(r"(?:@(!?%p\d+)\s+)?([a-z][\w.:]*)\s*(.*)", text)
    assert found is not None, text
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", found[3])
    return Instruction(found[1] or "", tuple(found[2].split(".")), tuple(operands), text)


def run(ptx: str, arguments: Sequence[np.ndarray | int], blocks: int) -> None:
    """Run a kernel; arrays among its arguments are what its pointers point to, and are written into."""
    names, threads, program = parsed(ptx)
    memory = Memory()
    given = [memory.add(argument) if isinstance(argument, np.ndarray) else argument for argument in arguments]
    parameters = dict(zip(names, [*given, *[0] * (len(names) - len(given))], strict=True))
    with np.errstate(all="ignore"):
        for number in range(blocks):
            Block(program, parameters, threads, number, memory).run()
