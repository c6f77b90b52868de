"""Kernels for processors that are not this one: nothing is called that a user's machine might not have."""

import re

import llvmlite.binding as llvm
import pytest
import torch

from poolbench.kernels.cpu.emit import emit
from poolbench.kernels.cpu.launch import LANES
from poolbench.kernels.cpu.library import OPTIONS, optimised
from poolbench.kernels.cpu.spec import KernelSpec
from poolbench.pooling import (
    MAMPool2d,
    MaxPool2d,
    PowerMeanPool2d,
    RankWeightedPool2d,
    SoftPool2d,
    StochasticPool2d,
)

# One that finds numbers by their place in a register and one that does not, of two makers.
PROCESSORS = {
    "skylake-avx512": ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    "apple-m1": ("arm64-apple-darwin", "apple-m1"),
}
WITH_TABLES = {"skylake-avx512"}
# Names in what instructions work on: of a compiler's runtime library, of the mathematical one, of C's.
NAME = re.compile(r"(?<![\w.%])_{0,3}(?:(?<=_)[a-z]\w{4,}|(?:exp|log|pow|fma|fmax|fmin|sqrt|mem\w+|bzero)[2fl]?)\b")


def assembly(kernel: str, triple: str, processor: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, **OPTIONS)
    text: str = target.emit_assembly(optimised(kernel, target))
    return text


@pytest.mark.quick(1)
@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    "dtype",
    [pytest.param(dtype, marks=() if dtype is torch.bfloat16 else pytest.mark.slow) for dtype in LANES],
    ids=str,
)
@pytest.mark.parametrize("channels_last", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fewer", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_only_memory_is_cleared_by_others(fewer: int, processor: str, dtype: torch.dtype, channels_last: bool) -> None:
    for kind in (MaxPool2d, MAMPool2d, PowerMeanPool2d, RankWeightedPool2d, SoftPool2d, StochasticPool2d):
        pool = kind(3, 2, 1)
        for derivative in (False, True):
            spec = KernelSpec(
                derivative=derivative,
                channels_last=channels_last,
                dtype=str(dtype).removeprefix("torch."),
                kernel_size=(3, 3),
                stride=(2, 2),
                padding=(1, 1),
                dilation=(1, 1),
                lanes=LANES[dtype] // fewer,
                masked=True,
                disjoint=False,
                streaming=derivative and channels_last and fewer == 1,
                in_sums=pool.program.sums is not None,
                tables=processor in WITH_TABLES,
            )
            kernel = emit(pool.program, spec, "tried")
            text = assembly(kernel, *PROCESSORS[processor])
            instructions = [
                line.split(None, 1) for line in text.splitlines() if not line.strip().startswith((".", "#"))
            ]
            names = {name.strip("_") for parts in instructions if len(parts) == 2 for name in NAME.findall(parts[1])}
            assert names <= {"part_tried", "memset", "bzero"}
            looks_up = processor in WITH_TABLES and kind is PowerMeanPool2d and dtype is not torch.float64
            # Vectors of values are as long in a contiguous map however few windows there are.
            assert ("vpermi2var" in kernel) == (looks_up and (fewer == 1 or not channels_last))
