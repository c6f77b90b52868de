"""Random numbers of one operator: a stream of its own, of which nothing else draws and that shifts nothing else.

Numbers are a hash of (seed, how many forward passes drew before, place), so they are the same on every device, in every
memory layout and under `torch.compile`, and a copy goes on where the original stood.
"""

import inspect
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointFunction
from torch.utils.data import get_worker_info

from poolbench.kernels.transforms import in_vmap, is_only_recorded, is_plain, outside_transforms
from poolbench.kernels.uniform import mix, uniform


class Draws(nn.Module):
    """A stream of uniform numbers, owned by one operator.

    Its seed is drawn from torch's global generator when it is built, so two operators have different streams and
    `torch.manual_seed` before building makes them repeat. Seed and count are buffers that `deepcopy` and `to` carry
    and `state_dict` does not: they are no part of what was learned, and a network without the operator can load its
    weights. Files that have them load, and set them; `draws_state` and `load_draws_state` keep a whole network's.

    Where torch itself says who draws what, a pass draws its number from torch's global generator in place of the count,
    as dropout does: a pass that `torch.utils.checkpoint` will repeat, and the repetition, for which the generator is
    set back; a pass within `torch.func.vmap`, whose `randomness` decides (its default, "error", is an error); a pass in
    a worker of a `DataLoader`, since all workers have copies of one stream. Other processes that are forked draw
    equally unless they call `reseed`.
    """

    seed: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Plain tensors, whatever the mode: they outlive it.
        with torch.inference_mode(False):
            self.register_buffer("seed", torch.randint(2**31, ()), persistent=False)
            self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def reseed(self, seed: int) -> None:
        """Start the stream of another seed, from its beginning."""
        self.set(seed % 2**31, 0)

    def next_key(self) -> Tensor:
        """Return the key (int64, no dimensions) of the next draw.

        Raises:
            RuntimeError: the pass is followed by `torch.jit.trace`, which would draw the same ever after.
        """
        if torch.compiler.is_compiling():
            # Not in place: a compiled backward pass may compute the key anew from the count that it was given.
            key = self._key(self.count)
            self.count = self.count + 1
            return key
        if torch.jit.is_tracing():
            raise RuntimeError("torch.jit.trace cannot follow an operator that draws: call eval() before it")
        if _is_drawn_by_torch():
            key = self._key(torch.randint(2**31, (), device="cpu").to(self.seed.device))
        else:
            key = self._key(self.count)
        if torch._C._current_graph_task_id() == -1:  # else it is a repetition, which counts once
            if is_only_recorded(self.count) and not torch.is_inference_mode_enabled():
                self._buffers["count"] = self.count + 1  # what the assignment comes to, at a fraction of its time
            else:
                with outside_transforms():
                    self.count = self.count + 1
        return key

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers in [0, 1) of a shape, on the device of the stream."""
        return uniform(self.next_key(), *shape)

    def numbers(self, count: int) -> list[float] | Tensor:
        """Return what `uniform` does of this many numbers, as Python's where Python may read them."""
        key = self.next_key()
        if torch.compiler.is_compiling() or not (is_plain(key) and key.is_cpu):
            return uniform(key, count)
        known = int(key)
        return [(mix(mix(at) ^ known) >> 8) * 2.0**-24 for at in range(count)]

    def _key(self, number: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or not (is_plain(number, self.seed) and number.is_cpu):
            return mix(mix(number + 0x9E3779B9) ^ self.seed)
        # The same by Python's numbers: twenty operations of torch's take longer than a small map.
        return torch.tensor(mix(mix(int(number) + 0x9E3779B9) ^ int(self.seed)), device="cpu")

    def set(self, seed: int, count: int) -> None:
        """Let the stream of `seed` go on after `count` forward passes that drew."""
        # Anew, not in place: in inference mode they stay plain tensors, and outlive it.
        with outside_transforms():
            self.seed = torch.full_like(self.seed, seed)
            self.count = torch.full_like(self.count, count)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take seed and count from a file of an earlier version, where the two were among the weights."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in ("seed", "count"):
            key = prefix + name
            if key in state_dict:
                getattr(self, name).copy_(state_dict[key])
                unexpected_keys[:] = [other for other in unexpected_keys if other != key]


def draws_state(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Return seed and count of every stream in a network, by the stream's name."""
    return {name: (int(draws.seed), int(draws.count)) for name, draws in _streams(network)}


def load_draws_state(network: nn.Module, state: Mapping[str, tuple[int, int]]) -> None:
    """Let every stream of a network go on where `draws_state` found it.

    Raises `KeyError` for a stream that `state` does not name.
    """
    for name, draws in _streams(network):
        draws.set(*state[name])


def _streams(network: nn.Module) -> Iterator[tuple[str, Draws]]:
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Draws))


def _is_drawn_by_torch() -> bool:
    """Return whether a draw belongs to what torch keeps account of: see `Draws`."""
    return _is_checkpointed() or in_vmap() or get_worker_info() is not None


def _is_checkpointed() -> bool:
    """Return whether what runs will be repeated by `torch.utils.checkpoint`, or is the repetition."""
    # torch has no public question for either.
    if torch._C._current_graph_task_id() != -1:
        return True
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is not None and hooks[0].__module__ == "torch.utils.checkpoint":
        return True
    return not torch.is_grad_enabled() and _is_called_by(CheckpointFunction.forward.__code__)


def _is_called_by(code: CodeType) -> bool:
    """Return whether a function is among the callers: of use_reentrant=True nothing else tells of the first pass."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
