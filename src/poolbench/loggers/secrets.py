"""No key or password in a configuration: it would stand in plans, records and process lists."""

import re
from collections.abc import Mapping
from typing import Any

from poolbench.errors import ConfigurationError

NAMES = re.compile(r"api_?key|password|passwd|secret|credential|(^|_)token$", re.IGNORECASE)
# Of a logger's settings these too; elsewhere they may be anything.
OF_A_LOGGER = re.compile(rf"{NAMES.pattern}|(^|_)key$", re.IGNORECASE)
# W&B's keys, old and new, and a password inside an address.
VALUES = re.compile(r"^(?:local-)?[0-9a-f]{40}$|^wandb_v\d+_\w{20,}$|^hf_\w{20,}$|^\w+://[^/@\s]*:[^/@\s]+@")
INSTEAD = (
    "would stand in the plan and in every record; give it to the logger by its own environment variable "
    "(WANDB_API_KEY) or its own login"
)


def require_no_secret(spec: Any, where: str = "logger") -> None:
    """Raise `ConfigurationError` for a key or password among loggers' settings, by its name or by its looks.

    >>> try:
    ...     require_no_secret({"wandb": {"settings": [{"api_key": "abc"}]}})
    ... except ConfigurationError as error:
    ...     print(str(error)[:60])
    `logger.wandb.settings.0.api_key` would stand in the plan an
    """
    for key, value in _items(spec):
        place = f"{where}.{key}"
        if value is not None and isinstance(key, str) and OF_A_LOGGER.search(key):
            raise ConfigurationError(f"`{place}` {INSTEAD}")
        if isinstance(value, str) and VALUES.search(value):
            raise ConfigurationError(f"`{place}` looks like a key or password, which {INSTEAD}")
        require_no_secret(value, place)


def require_no_named_secret(config: Any, where: str) -> None:
    """Raise `ConfigurationError` for a text under the name of a key or password in any other part of a configuration.

    A `token` may be many things there, so it is let through.
    """
    for key, value in _items(config):
        place = f"{where}.{key}"
        named = isinstance(key, str) and NAMES.search(key) and not key.lower().endswith("token")
        if named and isinstance(value, str) and value:
            raise ConfigurationError(f"`{place}` {INSTEAD}")
        require_no_named_secret(value, place)


def _items(spec: Any) -> list[tuple[Any, Any]]:
    if isinstance(spec, Mapping):
        return list(spec.items())
    return list(enumerate(spec)) if isinstance(spec, list | tuple) else []
