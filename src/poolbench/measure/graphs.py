"""The kernels of an action without their launches: a CUDA graph, captured once and replayed."""

from collections.abc import Callable

import torch

from poolbench.measure.stopwatch import Action

# Makes of an action what does its kernels again.
Capture = Callable[[Action], Action]
# What is done at first, such as choosing an algorithm or compiling, must not be captured.
WARM_UPS = 5


def captured(action: Action, device: torch.device) -> Action:
    """Return what replays the kernels of `action`, which must use the same tensors at every call.

    Args:
        action: asks nothing of the GPU's results and makes nothing that outlives it.
        device: a GPU.

    Raises:
        RuntimeError: it cannot be captured, as what copies from the host's memory or waits for a result cannot.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                action()
        torch.cuda.current_stream(device).wait_stream(aside)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            action()
        torch.cuda.synchronize(device)
    return graph.replay
