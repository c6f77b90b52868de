"""A file written whole or not at all: no reader, and no kill, ever meets half of one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

WHAT_TO_DO = {
    errno.ENOSPC: "free some, or choose another place",
    errno.EDQUOT: "free some, or choose another place",
    errno.EROFS: "choose a place that is not read-only",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
}


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file under a temporary name beside `path`; synced and renamed to it at the end, removed on an error.

    The folder must exist. Without `sync` the file is whole for every process, but not after a power cut.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: OSError, size: int | None = None) -> str:
    """Return what hinders writing at `path`, in a line; where the place is too small, how many bytes it takes.

    >>> unwritable(Path("results"), OSError(28, "No space left on device"))
    'results cannot be written: No space left on device; free some, or choose another place'
    >>> unwritable(Path("weights.pt"), OSError(27, "File too large"), 3_000_000)
    'weights.pt cannot be written: File too large, it needs 2.9 MiB; choose another place'
    """
    reason = error.strerror or str(error)
    if size is not None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason = f"{reason}, it needs {size / 2**20:.1f} MiB" if size >= 2**20 else f"{reason}, it needs {size:,} bytes"
    return f"{path} cannot be written: {reason}; {WHAT_TO_DO.get(error.errno or 0, 'choose another place')}"
