"""Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert."""

import hashlib
from importlib.metadata import version

import vl_convert

from poolbench.paths import user_cache
from poolbench.whole_file import replacing


def vega() -> str:
    """Return the script; kept in the user's cache folder, since putting it together takes a second and 150 MiB.

    A file whose content is not what its name says is not taken.
    """
    folder, prefix = user_cache() / "vega", f"{version('vl-convert-python')}-"
    for path in sorted(folder.glob(f"{prefix}*.js")):
        content = path.read_bytes()
        if path.name == _name(prefix, content):
            return content.decode()
    content = vl_convert.javascript_bundle().encode()  # type: ignore[call-arg]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / _name(prefix, content)) as file:
            file.write(content)
    except OSError:  # a home that cannot be written costs the second again
        pass
    return content.decode()


def _name(prefix: str, content: bytes) -> str:
    return f"{prefix}{hashlib.sha256(content).hexdigest()}.js"
