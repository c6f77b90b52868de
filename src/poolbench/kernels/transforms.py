"""Maps that torch transforms: by `torch.func`, with a tangent, as a batch of gradients, or for an export."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes

_PLAIN = (Tensor, torch.nn.Parameter)
# Asked at every call, and bound here because to look them up takes as long. torch has no public questions for these.
_interpreter = torch._C._functorch.peek_interpreter_stack
_is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor
_count_of_modes = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state
_is_compiling = torch.compiler.is_compiling


def is_transformed(*tensors: Tensor | None) -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, …) is under way, or one of these carries more.

    That is a tangent, or a batch of gradients as `torch.autograd.grad` makes it with `is_grads_batched=True`, and
    `torch.autograd.functional` with `vectorize=True`. Only torch's own operations can be transformed in every way. What
    they make within a transform belongs to it, made of plain tensors too. `torch.compile` sees none of this.

    >>> is_transformed(torch.ones(1)), bool(torch.func.vmap(lambda x: x + is_transformed(x))(torch.zeros(1)))
    (False, True)
    """
    if _is_compiling():
        return False
    if _interpreter() is not None:
        return True
    for tensor in tensors:
        if tensor is not None and _is_legacy_batched(tensor):  # autograd batches gradients in an older way
            return True
    if forward_ad._current_level < 0:
        return False  # no dual numbers are there: this is asked at every call and must be quick
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors if tensor is not None)


def is_only_recorded(x: Tensor) -> bool:
    """Return whether nothing but autograd sees what is done with a map: no compiler, exporter, tracer, mode, transform.

    That is nearly always so. It is asked at every call, so in one place and by the quickest questions.

    >>> is_only_recorded(torch.zeros(1)), bool(torch.func.vmap(lambda x: x + is_only_recorded(x))(torch.zeros(1)))
    (True, False)
    """
    return (
        not _is_compiling()
        and type(x) in _PLAIN
        and _interpreter() is None
        and _count_of_modes() == 0
        and _tracing_state() is None
        and forward_ad._current_level < 0
        and not _is_legacy_batched(x)
    )


def in_vmap() -> bool:
    """Return whether a `torch.func.vmap` is under way.

    >>> in_vmap(), bool(torch.func.vmap(lambda x: x + in_vmap())(torch.zeros(1)))
    (False, True)
    """
    stack = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in stack)


@contextmanager
def outside_transforms() -> Iterator[None]:
    """Leave transforms, modes (of fake tensors, for one) and the recording of gradients: for state that outlives them.

    >>> with torch.inference_mode(), outside_transforms():
    ...     print(torch.zeros(1).is_inference())
    False
    """
    with torch.inference_mode(False), torch.no_grad(), _disable_current_modes():
        if _interpreter() is None:
            yield
            return
        with temporarily_clear_interpreter_stack():
            yield


def is_plain(*tensors: Tensor) -> bool:
    """Return whether these are torch's plain tensors, which no mode watches and no transform changes.

    >>> is_plain(torch.zeros(1)), bool(torch.func.vmap(lambda x: x + is_plain(x))(torch.zeros(1)))
    (True, False)
    """
    return (
        _interpreter() is None
        and _count_of_modes() == 0
        and not torch.jit.is_tracing()
        and all(type(tensor) in _PLAIN for tensor in tensors)
    )


def allows_custom_function(*tensors: Tensor | None) -> bool:
    """Return whether a custom derivative (a `torch.autograd.Function`) may be used for these.

    Not in what is exported or traced, which must not hold one, nor where torch transforms it; and needlessly without
    gradients.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_exporting() or torch.jit.is_tracing():
        return False
    return not is_transformed(*tensors)
