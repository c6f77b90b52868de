"""Records → statistics → tables, figures and a page. Needs neither torch nor Hydra, and no network.

A report is a function of the records in a results folder alone: it can be made again, anywhere, at any time. Who wants
one calls `poolbench.report.make.make_report`; who only reads records needs neither pandas nor scipy.
"""
