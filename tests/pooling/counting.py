"""Counts the elementary operations of whatever torch does with a map, by what each of torch's operations is made of."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Gets the operation's arguments and its (first) result.
Rule = Callable[[tuple[Any, ...], Tensor], int]


def per_result(count: int) -> Rule:
    """So many for each number that comes out; of complex ones a sum is two, a product six."""

    def rule(arguments: tuple[Any, ...], result: Tensor) -> int:
        return result.numel() * count * ({1: 2}.get(count, 1) if result.is_complex() else 1)

    return rule


def product(arguments: tuple[Any, ...], result: Tensor) -> int:
    return result.numel() * (6 if result.is_complex() else 1)


def clamp(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Return a comparison for each bound."""
    return result.numel() * sum(bound is not None for bound in arguments[1:])


def reduction(of_n: Callable[[int], int]) -> Rule:
    """So many for each result of n numbers."""
    return lambda arguments, result: result.numel() * of_n(arguments[0].numel() // result.numel())


def between(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Return the comparisons of a maximum: of a tensor over n numbers n − 1, of two tensors one for each result."""
    if len(arguments) > 1 and isinstance(arguments[1], Tensor):
        return result.numel()
    return arguments[0].numel() - result.numel()


def of_sort(n: int) -> int:
    """Return the comparisons of every pair, or of merging, whichever are fewer."""
    return min(n * (n - 1) // 2, n * math.ceil(math.log2(n)))


def sort(arguments: tuple[Any, ...], result: Tensor) -> int:
    n = result.shape[-1]
    return result.numel() // n * of_sort(n)


def topk(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Return the comparisons of each number with those kept so far, at most k."""
    n, k = arguments[0].shape[-1], result.shape[-1]
    return result.numel() // k * sum(min(before, k) for before in range(n))


def softmax(arguments: tuple[Any, ...], result: Tensor) -> int:
    n = result.shape[arguments[1]]
    return result.numel() // n * (5 * n - 2)


def matrices(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Return two for each product of a matrix product."""
    return 2 * result.numel() * arguments[0].shape[-1]


def convolution(arguments: tuple[Any, ...], result: Tensor) -> int:
    weight, bias = arguments[1], arguments[2]
    return result.numel() * (2 * weight[0].numel() + (bias is not None))


def transform(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Return 5·n·log₂ n for each Fourier transform of n numbers."""
    n = math.prod(arguments[0].shape[dim] for dim in arguments[1])
    return math.ceil(arguments[0].numel() // n * 5 * n * math.log2(n))


def cells(maximum: bool) -> Rule:
    """So many for each cell as it has values, for a maximum one less; cell i of n is ⌊i·s/n⌋ to ⌈(i + 1)·s/n⌉."""

    def rule(arguments: tuple[Any, ...], result: Tensor) -> int:
        covered = [
            sum(math.ceil((at + 1) * size / count) - math.floor(at * size / count) for at in range(count))
            for size, count in zip(arguments[0].shape[-2:], result.shape[-2:], strict=True)
        ]
        return math.prod(result.shape[:-2]) * math.prod(covered) - result.numel() * maximum

    return rule


def windows(of_n: Callable[[int], int]) -> Rule:
    return lambda arguments, result: result.numel() * of_n(math.prod(arguments[1]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("add", "sub", "rsub", "neg"), per_result(1)),
    **dict.fromkeys(("mul", "div"), product),
    **dict.fromkeys(("pow", "exp", "log", "sqrt", "reciprocal", "relu", "clamp_min"), per_result(1)),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "maximum"), per_result(1)),
    **dict.fromkeys(("abs", "rsqrt", "addcmul"), per_result(2)),
    "sigmoid": per_result(4),
    "softplus": per_result(3),  # an exponential, an addition, a logarithm
    "clamp": clamp,
    "sum": reduction(lambda n: n - 1),
    "mean": reduction(lambda n: n),
    **dict.fromkeys(("amax", "amin", "max", "min", "argmax"), between),
    # Mean, differences, squares, their mean.
    "var": reduction(lambda n: 4 * n),
    # Maximum, differences, exponentials, their sum, logarithm, the maximum again.
    "logsumexp": reduction(lambda n: 4 * n),
    "linalg_vector_norm": reduction(lambda n: 2 * n),
    "_softmax": softmax,
    "sort": sort,
    "topk": topk,
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), matrices),
    # A bias, and a matrix product.
    "addmm": lambda arguments, result: result.numel() * (2 * arguments[1].shape[-1] + 1),
    "convolution": convolution,
    **dict.fromkeys(("_fft_r2c", "_fft_c2c"), transform),
    # By the usual estimate for a symmetric matrix of n rows with its eigenvectors.
    "_linalg_eigh": lambda arguments, result: 9 * arguments[0].shape[-1] ** 3,
    "trace": lambda arguments, result: arguments[0].shape[0] - 1,
    "scatter_add": lambda arguments, result: arguments[3].numel(),
    "max_pool2d_with_indices": windows(lambda n: n - 1),
    "avg_pool2d": windows(lambda n: n),
    "adaptive_max_pool2d": cells(maximum=True),
    "_adaptive_avg_pool2d": cells(maximum=False),
    # For each place of C channels seven for a channel, and a summand and a reciprocal root.
    "native_layer_norm": lambda arguments, result: (
        result.numel() // math.prod(arguments[1]) * (7 * math.prod(arguments[1]) + 3)
    ),
}
VIEWS_AND_COPIES = (
    "view _unsafe_view select slice unsqueeze squeeze expand permute transpose t stack cat clone copy _to_copy alias "
    "detach unbind diag_embed view_as_real fill constant_pad_nd reflection_pad2d replication_pad2d"
)
# Logic and checks for NaN, what is taken by its number, and such numbers.
CHOICES = (
    "where index gather index_select isnan isinf bitwise_and bitwise_or bitwise_not all any round floor_divide "
    "remainder"
)
FREE = frozenset(f"{VIEWS_AND_COPIES} {CHOICES}".split())
# What has the shape of a map and none of its values.
NEW = frozenset(("new_zeros", "new_empty", "new_full", "zeros_like", "empty_like", "ones_like"))


class Counter(TorchDispatchMode):
    """Adds up the operations of what depends on a map; one that the table does not know is an error.

    Args:
        x: the map. What is made without it (weights of parameters, filters) is not counted.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.operations = 0
        # By their memory, so that a tensor that was written into depends on what was written. Kept, so that no other
        # tensor gets the same memory.
        self._of_map: dict[int, Tensor] = {}
        self._mark(x)

    def knows(self, value: Any) -> bool:
        """Whether a tensor depends on the map."""
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._of_map

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name not in NEW and any(self.knows(value) for value in tree_leaves((args, kwargs))):
            self.operations += self._count(name, args, kwargs, result)
            self._mark(result)
        return result

    def _count(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
        # What is added in place has a line below its name.
        name = name if name in RULES or name in FREE else name.removesuffix("_")
        if name == "_local_scalar_dense":
            assert args[0].dtype == torch.bool, "a number leaves torch, where it cannot be counted"
            return 0
        if name in FREE:
            return 0
        assert name in RULES, f"what is aten.{name} made of? give it a rule in {__file__}"
        first = next(value for value in tree_leaves(result) if isinstance(value, Tensor))
        return RULES[name]((*args, *(kwargs.get(bound) for bound in ("min", "max") if name == "clamp")), first)

    def _mark(self, value: Any) -> None:
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor):
                self._of_map[tensor.untyped_storage()._cdata] = tensor


def counted(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Return how many operations a function does with a map."""
    counter = Counter(x)
    with torch.no_grad(), counter:
        y = function(x)
    assert counter.knows(y), "the result was made of numbers that left torch, where they cannot be counted"
    return counter.operations
