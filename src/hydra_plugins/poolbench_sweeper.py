"""Hydra's basic sweeper with a plan: the whole list of cells is checked before the first one runs.

Hydra finds plugins in the package `hydra_plugins` alone and imports each of them at every start, in other programs
too: so this module imports nothing of poolbench's before a sweep begins.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class CellSweeper(BasicSweeper):
    """Expand the overrides into jobs as Hydra's basic sweeper does, and hand the whole list to poolbench."""

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Compose every job, then plan, launch and report them. Ends the program with the sweep's exit status."""
        from poolbench.cli.composing import handle

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader = self.hydra_context.config_loader
        overrides = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        jobs = self.split_arguments(overrides, None)[0]
        composed = [loader.load_sweep_config(self.config, list(job)) for job in jobs]
        raise SystemExit(handle(jobs, composed, self.launcher))
