"""Environment variables that a package reads and takes in no other way, set for as long as it is used."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Environment:
    """Variables that are set, and put back as they were."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def default(self, variables: Mapping[str, str]) -> None:
        """Set those that are not set: what the user set stays."""
        for name, value in variables.items():
            if not os.environ.get(name):
                self.set({name: value})

    def set(self, variables: Mapping[str, str]) -> None:
        """Set variables, whatever they are."""
        for name, value in variables.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Put back what was set."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()


@contextmanager
def torch_optimizers() -> Iterator[None]:
    """Keep torch's optimisers from looking for NVIDIA's library on disk in every step.

    Lightning's import makes them do so, for the sake of forked GPU workers, which are not used here: a tenth of a
    millisecond where there is no such library.
    """
    variables = Environment()
    variables.set({"PYTORCH_NVML_BASED_CUDA_CHECK": "0"})
    try:
        yield
    finally:
        variables.restore()


@contextmanager
def onnxruntime_import() -> Iterator[None]:
    """Keep onnxruntime from sending what it runs to its maker, as it does by itself since 1.29, on Linux too.

    It reads this when it is imported, once in a process; what the user has set stays.
    """
    variables = Environment()
    variables.default({"ORT_DISABLE_TELEMETRY": "1"})
    try:
        yield
    finally:
        variables.restore()
