"""Kernels compiled once: by this process, or by an earlier one that left them in the user's cache folder."""

import ctypes
import functools
import hashlib
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolbench.kernels.compiled import COMPILED, cache_folder, kept
from poolbench.kernels.program import Program

# Full addresses: code and its constants may be loaded more than 2 GiB apart, with torch's libraries in between.
OPTIONS = {"opt": 3, "reloc": "static", "codemodel": "large"}
# LLVM's engine is not made for several threads.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Kernel:
    """A kernel in memory, as addresses of its two functions; the engine keeps them alive."""

    part: int
    team: int
    engine: Any = field(repr=False)

    @functools.cached_property
    def call_part(self) -> Any:
        """`part(arguments, thread, threads)`."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(self.part)


def unavailable() -> str:
    """Return why this machine can run no kernels, "" where it can."""
    try:
        _machine()
    except Exception as error:  # whatever llvmlite finds missing
        return f"{type(error).__name__}: {error}"
    return ""


def has_tables() -> bool:
    """Return whether this processor finds a number of a register by its place (AVX-512)."""
    return {"+avx512f", "+avx512bw"} <= set(_machine().features.split(","))


@functools.cache
def kernel(program: Program, spec: Any) -> Kernel:
    """Return the kernel of a program for a `KernelSpec`, compiling it if no process has."""
    with _one_at_a_time:
        return _made_or_loaded(program, spec)


def _made_or_loaded(program: Program, spec: Any) -> Kernel:
    began = time.perf_counter()
    machine = _machine()
    name = hashlib.sha256(f"{machine.key} {program.digest} {spec}".encode()).hexdigest()[:32]
    folder = cache_folder()
    path = None if folder is None else folder / f"{name}.o"
    code = None if path is None else _read(path)
    if code is None:
        from poolbench.kernels.cpu.emit import emit

        code = machine.compile(emit(program, spec, name))
        COMPILED.made += 1
        kept(path, hashlib.sha256(code).digest() + code)
    else:
        COMPILED.loaded += 1
    found = machine.load(code, name)
    COMPILED.seconds += time.perf_counter() - began
    return found


def _read(path: Path) -> bytes | None:
    """Return the code of a file, None where there is none or it is not whole."""
    try:
        held = path.read_bytes()
    except OSError:
        return None
    code = held[32:]
    return code if code and hashlib.sha256(code).digest() == held[:32] else None


def optimised(text: str, target: Any) -> Any:
    """Return LLVM text as a module that is ready to become code for a target machine of llvmlite's."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(target.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(module, passes)
    return module


class _Machine:
    """LLVM, set up for this processor."""

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.processor, self.features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        self.target = self._target()
        # What writes a kernel, and what puts its operations in order.
        here = Path(__file__).parent
        sources = sorted([*here.glob("*.py"), *here.parent.glob("*.py")])
        text = "".join(path.read_text(encoding="utf-8") for path in sources)
        self.key = " ".join(
            [
                llvmlite.__version__,
                platform.machine(),
                self.processor,
                self.features,
                hashlib.sha256(text.encode()).hexdigest(),
            ]
        )

    def compile(self, text: str) -> bytes:
        """Return machine code of LLVM text."""
        code: bytes = self.target.emit_object(optimised(text, self.target))
        return code

    def load(self, code: bytes, name: str) -> Kernel:
        """Return the functions of machine code, whose names end in `name`."""
        llvm = self.llvm
        # An engine owns its target, and one that is given code again and again aborts: one of each for a kernel.
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._target())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        part, team = (engine.get_function_address(f"{function}_{name}") for function in ("part", "team"))
        return Kernel(part, team, engine)

    def _target(self) -> Any:
        default = self.llvm.Target.from_default_triple()
        return default.create_target_machine(cpu=self.processor, features=self.features, **OPTIONS)


@functools.lru_cache(maxsize=1)
def _machine() -> _Machine:
    return _Machine()
