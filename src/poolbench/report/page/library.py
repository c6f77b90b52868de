"""Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert."""

import hashlib
from contextlib import suppress
from importlib.metadata import version

import vl_convert

from poolbench.paths import user_cache
from poolbench.whole_file import replacing


def vega() -> str:
    """Return the script; kept in the user's cache folder, since putting it together takes a second and 150 MiB.

    A file whose content is not what its name says is not taken.
    """
    cache, prefix = user_cache(), f"{version('vl-convert-python')}-"
    folder = None if cache is None else cache / "vega"
    for path in [] if folder is None else sorted(folder.glob(f"{prefix}*.js")):
        with suppress(OSError):
            content = path.read_bytes()
            if path.name == _name(prefix, content):
                return content.decode()
    content = vl_convert.javascript_bundle().encode()  # type: ignore[call-arg]
    if folder is not None:
        with suppress(OSError):  # a home that cannot be written costs the second again
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / _name(prefix, content)) as file:
                file.write(content)
    return content.decode()


def _name(prefix: str, content: bytes) -> str:
    return f"{prefix}{hashlib.sha256(content).hexdigest()}.js"
