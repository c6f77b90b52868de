"""Where records come from: the surroundings that they were made in, and the commands that made them."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolbench.report.reading.arms import Record, section

REVISION_DIGITS = 12


def environments(records: Sequence[Record]) -> list[tuple[int, dict[str, str]]]:
    """Return the surroundings of the finished records with the number of cells made in each, most frequent first.

    What the records do not say is left out.
    """
    counted = Counter(
        tuple(environment(section(record, "provenance")).items()) for record in records if record["status"] == "ok"
    )
    return [(n, dict(found)) for found, n in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]


def environment(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what a record's provenance says of its surroundings, for people: name and text, none of them empty.

    >>> environment({"python": "3.11.2", "poolbench": "0.1.0", "revision": "0123456789abcdef", "dirty": True})
    {'Python': '3.11.2', 'poolbench': '0.1.0, revision 0123456789ab with uncommitted changes'}
    """

    def said(key: str) -> str:
        value = provenance.get(key)
        return "" if value is None else str(value)

    revision = said("revision")[:REVISION_DIGITS] or "unknown"
    if provenance.get("dirty"):
        revision += " with uncommitted changes"
    device = said("device")
    if said("device_name") and said("device_name") != said("machine"):
        device += f" ({said('device_name')})"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(section(provenance, "versions").items()))
    found = {
        "machine": said("machine"),
        "device": device,
        "threads": said("threads"),
        "platform": said("platform"),
        "Python": said("python"),
        "versions": versions,
        "allocator": said("allocator"),
        "poolbench": f"{said('poolbench')}, revision {revision}".removeprefix(", "),
    }
    return {key: value for key, value in found.items() if value}


def commands(records: Sequence[Record]) -> list[str]:
    """Return the commands that the finished records name, most frequent first, as one would type them."""
    named = Counter(
        command(section(record, "provenance").get("command")) for record in records if record["status"] == "ok"
    )
    return [text for text, _ in sorted(named.items(), key=lambda item: (-item[1], item[0])) if text]


def command(argv: Any) -> str:
    """Return a command without the folders of this machine.

    >>> command(["/somewhere/bin/poolbench", "train", "pooling=glob(*)"])
    "poolbench train 'pooling=glob(*)'"
    >>> command(["/somewhere/poolbench/__main__.py", "train"])
    'python -m poolbench train'
    """
    if not isinstance(argv, list) or not argv:
        return ""
    program, *arguments = map(str, argv)
    if program.endswith("__main__.py"):
        return shlex.join(["python", "-m", "poolbench", *arguments])
    return shlex.join([Path(program).name, *arguments])
