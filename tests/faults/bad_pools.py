"""Poolings that break the process that trains with them, each in its own way."""

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Max pooling that does something bad when it is trained."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and type(x) is Tensor and x.shape[0] > 2:
            x = self.bad(x)
        return self.pool(x)

    def bad(self, x: Tensor) -> Tensor:
        return x


class Raises(Pool):
    def bad(self, x: Tensor) -> Tensor:
        raise RuntimeError("no luck")


class RaisesOnce(Pool):
    """Raises the first time that it is trained, which a file in the folder `mark` remembers."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, *, mark: str) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.mark = Path(mark) / "raised"

    def bad(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32 and not self.mark.exists():  # the audit's digest is of float64
            self.mark.touch()
            raise RuntimeError("no luck")
        return x


class Talks(Pool):
    """Says something in the log at each step."""

    def bad(self, x: Tensor) -> Tensor:
        logging.getLogger("poolbench").warning("something that nobody reads")
        return x


class Exits(Pool):
    def bad(self, x: Tensor) -> Tensor:
        sys.exit(3)


class Memory(Pool):
    def bad(self, x: Tensor) -> Tensor:
        return torch.empty(2**46) + x


class Infinite(Pool):
    def bad(self, x: Tensor) -> Tensor:
        return x * float("inf")


class Sleeps(Pool):
    def bad(self, x: Tensor) -> Tensor:
        time.sleep(3600)
        return x


class Deaf(Pool):
    """Hangs, and answers nobody."""

    def bad(self, x: Tensor) -> Tensor:
        while True:
            try:
                time.sleep(3600)
            except BaseException:
                continue


class Killed(Pool):
    def bad(self, x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return x


class Crashes(Pool):
    """A segmentation fault."""

    def bad(self, x: Tensor) -> Tensor:
        ctypes.string_at(0)
        return x


class Leaves(Pool):
    def bad(self, x: Tensor) -> Tensor:
        os._exit(0)


class KilledOnce(Pool):
    """Ends its process the first time, which a file in the folder `mark` remembers."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, *, mark: str) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.mark = Path(mark) / "killed"

    def bad(self, x: Tensor) -> Tensor:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x
