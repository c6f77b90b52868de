"""Environment variables that a logger reads and takes in no other way, set for as long as it is used."""

import os
from collections.abc import Mapping


class Environment:
    """Variables that are set, and put back as they were."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def default(self, variables: Mapping[str, str]) -> None:
        """Set those that are not set: what the user set stays."""
        for name, value in variables.items():
            if not os.environ.get(name):
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
