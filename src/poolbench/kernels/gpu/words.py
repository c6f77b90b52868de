"""What the source of a Triton kernel is put together from."""

WORDS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "exp": "tl.exp({})",
    "log": "tl.log({})",
    "exp2": "tl.exp2({})",
    "log2": "tl.log2({})",
    "sqrt": "tl.sqrt({})",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "unordered": "({0} != {0}) | ({1} != {1})",
    "and": "{} & {}",
    "or": "{} | {}",
    "not": "{} == 0",
    "where": "tl.where({}, {}, {})",
    "nan_where": "tl.where({1}, float('nan'), {0})",
    "stop_gradient": "{}",
    "with_gradient_of": "{}",
}

IMPORTS = '''"""Generated from a formula."""

import triton
import triton.language as tl


@triton.jit
def mixed(x):
    x = (x ^ (x >> 16)) * 0x85EBCA6B
    x = (x ^ (x >> 13)) * 0xC2B2AE35
    return x ^ (x >> 16)


@triton.jit
def kernel(
'''

# Which lanes there are, in either layout; across and rows_down say how many columns and rows of windows, or cells.
LANES = """
lanes = tl.arange(0, R * Q)
down_q = lanes // Q
along_q = lanes % Q
"""
CHANNELS_LAST = """
inner_blocks = tl.cdiv(C, Q)
outer_blocks = tl.cdiv(across, R)
block = tl.program_id(0)
inner = block % inner_blocks
outer = block // inner_blocks % outer_blocks
block = block // inner_blocks // outer_blocks
down = block % rows_down
n = (block // rows_down).to(tl.int64)
c = inner * Q + along_q
cell = outer * R + down_q
lane = c < C
x_map = n * H * W * C
y_map = n * OH * OW * C
x_lane = c
y_lane = c
step = C
map_number = n * C + c
"""
CONTIGUOUS = """
inner_blocks = tl.cdiv(across, Q)
block = tl.program_id(0)
inner = block % inner_blocks
block = block // inner_blocks
down = block % rows_down
outer = block // rows_down
cell = inner * Q + along_q
map_number = outer * R + down_q
lane = map_number < N * C
c = map_number % C
x_map = (outer * R).to(tl.int64) * H * W
y_map = (outer * R).to(tl.int64) * OH * OW
x_lane = down_q * (H * W)
y_lane = down_q * (OH * OW)
step = 1
"""


def known(op: str, arguments: list[str]) -> str:
    """Return what an operation comes to where conditions are known, "" where it must be done.

    >>> known("where", ["True", "a", "b"]), known("and", ["False", "a"]), known("or", ["False", "a"])
    ('a', 'False', 'a')
    """
    if op == "where" and arguments[0] in ("True", "False"):
        return arguments[1] if arguments[0] == "True" else arguments[2]
    if op == "not" and arguments[0] in ("True", "False"):
        return "False" if arguments[0] == "True" else "True"
    if op in ("and", "or"):
        strong, weak = ("False", "True") if op == "and" else ("True", "False")
        if strong in arguments:
            return strong
        if weak in arguments:
            return arguments[1] if arguments[0] == weak else arguments[0]
    return ""


def is_number(word: str) -> bool:
    """Return whether a word is a constant.

    >>> is_number("-0.5"), is_number("float('-inf')"), is_number("v_0_1")
    (True, True, False)
    """
    return word[0] in "-.0123456789" or word.startswith("float(")


def named(number: int) -> str:
    """Return a number as part of a name.

    >>> named(-2), named(0)
    ('_m2', '_0')
    """
    return f"_m{-number}" if number < 0 else f"_{number}"
