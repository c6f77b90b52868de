"""Mirrors of records in W&B and other loggers: a record is complete without them, and they decide nothing."""

from poolbench.loggers.mirror import exit_code
from poolbench.loggers.mirrors import Mirrors, decided
from poolbench.loggers.report import mirror_report, require_reporting
from poolbench.loggers.reported import Reported
from poolbench.loggers.session import Session

__all__ = ["Mirrors", "Reported", "Session", "decided", "exit_code", "mirror_report", "require_reporting"]
