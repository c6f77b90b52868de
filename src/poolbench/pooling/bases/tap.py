"""Operators that are a formula of the values of one window: written once, run by compiled kernels or by plain torch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from poolbench.kernels import operator as kernels
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Value, Window
from poolbench.kernels.plain import pool_plain, pool_whole_numbers
from poolbench.kernels.precision import lies_channels_last, upcast
from poolbench.kernels.program import Program, program
from poolbench.kernels.sizes import are_known
from poolbench.kernels.sums import Summands, sums
from poolbench.kernels.transforms import is_only_recorded, is_transformed
from poolbench.pooling.bases.maps import FLOATS
from poolbench.pooling.bases.window import WindowPool2d
from poolbench.pooling.shared.draws import Draws


class TapPool2d(WindowPool2d):
    """A window operator given by a formula.

    A subclass brings `formula`, and ends a constructor of its own with `self.trace()`.

    The formula is traced into a graph of elementary operations. On the CPU in float32, float64 and bfloat16 a compiled
    kernel runs it, and its derivative for the backward pass, which keeps the map alone; everywhere else torch's own
    operations do. With `implementation="triton"` kernels run on a CUDA GPU instead, in float16 as well.
    `implementation_for` says which, and why.
    """

    # What was asked last of `geometry`, and its answer.
    _known: tuple[tuple[Any, ...], Geometry] | None = None
    # All that decided of the last map that a kernel took it, and what ran.
    _taken: tuple[tuple[Any, ...], kernels.Runner] | None = None

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if type(self).__init__ is TapPool2d.__init__:
            self.trace()

    def formula(self, window: Window) -> Value:
        """Return the result of a window; of a random operator that is training, the drawn one."""
        raise NotImplementedError(f"{type(self).__name__} must define `formula`")

    @property
    def has_sums(self) -> bool:
        """Whether the formula can be run as a function of sums: see `summands`."""
        return type(self).summands is not TapPool2d.summands

    def summands(self, one: Window) -> Summands:
        """Return what is summed over each window, of one value: for a formula that is a function of such sums."""
        raise NotImplementedError(f"{type(self).__name__} must define `summands` to be run by sums")

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return the result of a window from the sums of `summands`, equal to that of `formula`."""
        raise NotImplementedError(f"{type(self).__name__} must define `of_sums` to be run by sums")

    def params(self) -> Tensor | None:
        """Return the learned numbers of the formula, (P, 1) or (P, C), in at least float32; None: there are none."""
        found = self.learned_number()
        return None if found is None else upcast(found).unsqueeze(0)

    def learned_number(self) -> Tensor | None:
        """Return the learned tensor, (1) or (C), that is all there is to `params`; None: there is none such.

        A kernel takes it as it is: on a small map, torch's operations on it take more time than the kernel.
        """
        return None

    def trace(self) -> None:
        """Make the formula ready to run: called once, when everything that it depends on is set."""
        if self.is_random:
            self.draws = Draws()
        modes = (True, False) if self.is_random else (False,)
        self.programs: dict[bool, Program] = {}
        self._taken = None
        was, learned = self.training, self.params()
        self.learned = 0 if learned is None else len(learned)
        for mode in modes:
            self.training = mode
            in_sums = sums(self.window_size, self.learned, self.summands, self.of_sums) if self.has_sums else None
            self.programs[mode] = program(type(self).__name__, self.window_size, self.learned, self.formula, in_sums)
            kernels.PROGRAMS.add(self.programs[mode])
        self.training = was
        # Asked once, and only where kernels are wanted: the answer loads the compiler.
        self._unavailable = "" if self.implementation == "torch" else kernels.unavailable(self.implementation)

    def __getstate__(self) -> dict[str, Any]:
        # What is kept between calls holds addresses of this process.
        return {name: value for name, value in self.__dict__.items() if name not in ("_known", "_taken")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for known in self.programs.values():
            kernels.PROGRAMS.add(known)

    @property
    def program(self) -> Program:
        """What runs in the present mode."""
        return self.programs[self.training and self.is_random]

    @property
    def operations(self) -> dict[str, int]:
        """How often each operation is done for one result, in evaluation: what `work` counts."""
        return self.programs[False].value.arithmetic()

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of all windows, each those of the formula that runs in a whole window.

        The formula may be cleverer than its definition: ranks, for instance, come from a network of comparisons.
        """
        rows, columns = self.output_shape(height, width)
        return sum(self.operations.values()) * channels * rows * columns

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"`, `"triton"` or `"torch"`, and for the last why."""
        why = self._why_torch(x_BCHW)
        return ("torch", why) if why else (self.implementation, "")

    def _why_torch(self, x_BCHW: Tensor) -> str:
        """Return why torch's own operations compute this map, "" where a kernel does."""
        device = x_BCHW.device.type
        if self.implementation == "torch":
            return "implementation=torch"
        if not is_only_recorded(x_BCHW):
            if torch.compiler.is_exporting() or torch.jit.is_tracing():
                return "what is exported or traced needs no kernel"
            if is_transformed(x_BCHW, *self._parameters.values()):
                return "a transform of torch.func, or a tangent, needs torch's own operations"
        wanted, dtypes = kernels.KERNELS[self.implementation]
        if device != wanted:
            asked = ": implementation=triton asks for kernels there" if device == "cuda" else ""
            return f"kernels of implementation={self.implementation} run on {wanted}, the map is on {device}{asked}"
        if self._operations(device) > kernels.MOST_OPERATIONS:
            return f"the window of {self.window_size} values is too large for a kernel"
        if self._unavailable:
            return f"no kernels on this machine: {self._unavailable}"
        if x_BCHW.dtype not in dtypes:
            return f"no kernel for {str(x_BCHW.dtype).removeprefix('torch.')}"
        return ""

    def _operations(self, device: str) -> int:
        """Return how long a kernel would be: on a GPU, a cell's derivative does all windows of a row that reach it."""
        reach = self.dilation[1] * (self.kernel_size[1] - 1)
        return self.program.operations * (reach // self.stride[1] + 1 if device == "cuda" else 1)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        if not is_only_recorded(x_BCHW):
            return self._pooled(x_BCHW)
        # A map like the one before it is decided already: of a small one, deciding takes longer than the kernel.
        number = None if type(self).params is not TapPool2d.params else self.learned_number()
        asked = (
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            x_BCHW.shape,
            x_BCHW.dtype,
            x_BCHW.device,
            lies_channels_last(x_BCHW),
            self.implementation,
            self.training,
            None if number is None else number.shape,
        )
        if self._taken is None or self._taken[0] != asked:
            if self.implementation_for(x_BCHW)[0] == "torch":
                return self._pooled(x_BCHW)
            geometry = self.geometry(x_BCHW.shape[-2], x_BCHW.shape[-1])
            with torch.no_grad():  # a checkpointed pass is repeated without this
                learned = self._params(x_BCHW)
            self._taken = asked, kernels.runner(x_BCHW, learned, self.program, geometry)
        run = self._taken[1]
        learned = self._params(x_BCHW) if number is None else number
        key = self.draws.next_key() if run.program.draws else None
        return kernels.recorded(x_BCHW, learned, key, run)

    def _pooled(self, x_BCHW: Tensor) -> Tensor:
        if self.implementation_for(x_BCHW)[0] == "torch":
            self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])  # torch's own operations say less of what is wrong
            return self.plain(x_BCHW) if x_BCHW.dtype in FLOATS else self._of_choices(x_BCHW)
        return self.by_kernel(x_BCHW, self.geometry(x_BCHW.shape[-2], x_BCHW.shape[-1]))

    def by_kernel(self, x_BCHW: Tensor, geometry: Geometry) -> Tensor:
        """Pool windows that lie where `geometry` says, by the compiled formula."""
        return kernels.pooled(x_BCHW, self._params(x_BCHW), self._key(), self.program, geometry)

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Pool by torch's own operations; a subclass may know better ones."""
        geometry = self.geometry(x_BCHW.shape[-2], x_BCHW.shape[-1])
        return pool_plain(x_BCHW, self._params(x_BCHW), self._key(), self.program, geometry)

    def geometry(self, height: int, width: int) -> Geometry:
        """Return where the windows of a map of this size lie.

        A size that follows on its like is not asked about again. Of sizes that are no plain numbers (a compiler's, an
        exporter's) nothing is kept.
        """
        if torch.compiler.is_compiling() or not type(height) is type(width) is int:
            return self._geometry(height, width)
        asked = (height, width, *self._settings())
        if self._known is None or self._known[0] != asked:
            self._known = asked, self._geometry(height, width)
        return self._known[1]

    def _settings(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def _geometry(self, height: int, width: int) -> Geometry:
        shape = self.output_shape(height, width)
        hangs_over = None if are_known(height, width) else self.ceil_mode
        return Geometry(self.kernel_size, self.stride, self.padding, self.dilation, shape, hangs_over)

    def selects(self, height: int, width: int) -> bool:
        """Return whether every result is one of the map's values: whether the formula chooses among them."""
        has_border = self.geometry(height, width).has_border((height, width))
        return all((each.value_at_border if has_border else each.value).chooses for each in self.programs.values())

    def _of_choices(self, x_BCHW: Tensor) -> Tensor:
        return pool_whole_numbers(x_BCHW, self.program, self.geometry(x_BCHW.shape[-2], x_BCHW.shape[-1]))

    def _params(self, x_BCHW: Tensor) -> Tensor | None:
        """Return the learned numbers, (P, 1) or (P, C), None where there are none."""
        found = self.params()
        given = 0 if found is None else len(found)
        if given != self.learned:
            raise ValueError(
                f"the formula of {type(self).__name__} needs {self.learned} learned numbers, `params` gives "
                f"{given}: a parameter was replaced by one of another size"
            )
        if found is None or not are_known(channels := x_BCHW.shape[-3]):
            return found
        if found.shape[1:] not in ((1,), (channels,)):
            raise ValueError(f"`channels` must be the map's {channels}, got {', '.join(map(str, found.shape[1:]))}")
        return found

    def _key(self) -> Tensor | None:
        return self.draws.next_key() if self.program.draws else None
