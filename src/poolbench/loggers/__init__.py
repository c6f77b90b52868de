"""Mirrors of records in W&B and other loggers: a record is complete without them, and they decide nothing."""

from poolbench.loggers.mirrors import Mirrors, decided
from poolbench.loggers.session import Session

__all__ = ["Mirrors", "Session", "decided"]
