"""Which pooling should this network use, and how sure are we?

`poolbench.pooling` has the operators, `load_results` the results of a sweep as data frames.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolbench.report.results import Results


def load_results(folder: "str | Path") -> "Results":
    """Return what a results folder holds as tidy pandas data frames, without torch.

    Args:
        folder: `RESULTS_DIR/NAME`, as in `results/quickstart`.

    Raises:
        ConfigurationError: the folder is absent or holds no record.

    The frames are described in `docs/notebook.md`.
    """
    from poolbench.report.results import load_results

    return load_results(Path(folder))


def __getattr__(name: str) -> str:
    """Return `__version__`, looked up when it is asked for: every start of the command imports this module."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("poolbench")
