"""The pages of all experiments in a folder, on this machine: read-only, refreshed while workers run. Needs no torch."""

from poolbench.serve.server import PageServer

__all__ = ["PageServer"]
