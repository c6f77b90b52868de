"""Memory of a training step: what autograd keeps, and the most that is alive at a time."""

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from poolbench.errors import ConfigurationError


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one training step.

    Args:
        kept: of what autograd keeps between forward and backward pass, each storage once. The images count where they
            are kept, parameters and buffers do not: they are there anyway.
        peak: the most that is alive at a time: parameters, their gradients, buffers, images, activations and what an
            operation leaves for a moment. What a kernel allocates for itself and the optimiser's state are not in it.
    """

    kept: int
    peak: int


class AliveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, and the most that were alive at a time.

    Args:
        before: bytes that are alive before the first operation.
    """

    def __init__(self, before: int = 0) -> None:
        super().__init__()
        self.alive = self.peak = before
        self._seen: set[int] = set()

    def know(self, tensor: Tensor) -> None:
        """Take a tensor that is alive already for known: it is not counted again."""
        self._seen.add(tensor.untyped_storage()._cdata)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.alive -= size


def step_memory(network: nn.Module, images: Tensor) -> StepMemory:
    """Return the memory of a forward and backward pass in training mode, from the sum of the outputs.

    It is counted at the operations that torch dispatches: with fake tensors as well as with real ones, on any device.

    Args:
        network: in training mode; gradients of its parameters are cleared.
        images: (B, C, H, W).
    """
    owned = [*network.parameters(), *network.buffers()]
    own = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in owned}
    network.zero_grad(set_to_none=True)
    tracker = AliveBytes(sum(own.values()) + images.untyped_storage().nbytes())
    for tensor in (*owned, images):
        tracker.know(tensor)
    saved: list[weakref.ref[Tensor]] = []

    def keep(tensor: Tensor) -> Tensor:
        # An output that keeps itself would never be freed.
        found = tensor.detach()
        saved.append(weakref.ref(found))
        return found

    with tracker:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(images)
        if not isinstance(output, Tensor):
            raise ConfigurationError(
                f"the network must give a tensor of logits (B, num_classes) in training as in evaluation, got "
                f"{type(output).__name__}: have it leave out what it gives beside them, such as auxiliary logits"
            )
        kept = _bytes_by_storage(saved)
        if output.requires_grad:  # else nothing is learned, and there is no backward pass
            output.sum().backward()
    network.zero_grad(set_to_none=True)
    return StepMemory(sum(size for key, size in kept.items() if key not in own), tracker.peak)


def _bytes_by_storage(saved: Sequence[weakref.ref[Tensor]]) -> dict[int, int]:
    """Return the bytes of each storage that is still there: what no output depends on is gone."""
    there = (ref() for ref in saved)
    storages = [tensor.untyped_storage() for tensor in there if tensor is not None]
    return {storage._cdata: storage.nbytes() for storage in storages}


def peak_on_gpu(network: nn.Module, input_shape: Sequence[int], batch_size: int, device: torch.device) -> int:
    """Return the most bytes that torch's allocator had given out in a forward and backward pass on a GPU, in float32.

    What was there before, such as a dataset's images, is not counted.

    Args:
        network: a copy of it is run, and is gone afterwards.
        input_shape: (C, H, W).
        batch_size: images.
        device: a CUDA device.
    """
    before = torch.cuda.memory_allocated(device)
    probe = copy.deepcopy(network).to(device).train()
    images = torch.zeros(batch_size, *input_shape, device=device)
    torch.cuda.reset_peak_memory_stats(device)
    probe(images).sum().backward()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
