"""A kernel as LLVM text.

Its functions are `part_NAME(arguments, thread, threads)` and, for an OpenMP team, `team_NAME(arguments)`; `ARGUMENTS`
lists what stands in the table that `arguments` points to.
"""

from llvmlite import ir

from poolbench.kernels.cpu.lower import I32, I64
from poolbench.kernels.cpu.spec import ARGUMENTS, KernelSpec
from poolbench.kernels.cpu.summing import SumsWriter
from poolbench.kernels.cpu.windows import WindowWriter
from poolbench.kernels.cpu.writer import POINTER
from poolbench.kernels.program import Program


def emit(program: Program, spec: KernelSpec, name: str) -> str:
    """Return a kernel as LLVM text, its functions `part_NAME` and `team_NAME`."""
    module = ir.Module(name=program.name)
    part = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, I64, I64]), f"part_{name}")
    part.attributes.add("nounwind")
    (SumsWriter if spec.in_sums else WindowWriter)(program, spec, part).write()
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
