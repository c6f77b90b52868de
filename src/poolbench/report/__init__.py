"""Records → statistics → tables and a figure. Needs neither torch nor Hydra, and no network.

A report is a function of the records in a results folder alone: it can be made again, anywhere, at any time.
"""

from poolbench.report.make import Report, make_report

__all__ = ["Report", "make_report"]
