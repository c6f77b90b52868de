"""Wav files as waves of one sample rate and one length."""

import io
import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from poolbench.data.images import UnreadableImage

# Of a RIFF file's head: 'RIFF' or its like, and how many bytes follow.
HEAD = 8
FIRST_CHUNK = 12
# Where a program cannot go back to write how much it has written.
STREAMED = 0xFFFFFFFF


def read_wav(path: Path) -> tuple[np.ndarray, int, int]:
    """Return the wave of a file, its rate in Hz and its channels: float32 (samples,) in −1..1, channels averaged.

    What `scipy.io.wavfile` reads: PCM of 8 to 32 bits and floating point, which is taken as it is, with a plain or an
    extensible header.

    Raises:
        UnreadableImage: the file is missing, no such wav, truncated, without a sample, or with one that is not finite.
    """
    try:
        content = path.read_bytes()
        _require_whole(content)
        with warnings.catch_warnings():
            # Chunks that it does not know (names, cue points), and ends that come too early: both are seen to here.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, found = wavfile.read(io.BytesIO(content))
    except Exception as error:  # whatever a broken header leads to
        raise UnreadableImage(str(path), f"{type(error).__name__}: {error or 'it ends too early'}") from error
    if rate < 1:
        raise UnreadableImage(str(path), f"a sample rate of {rate} Hz")
    if not found.size:
        raise UnreadableImage(str(path), "it has no samples")
    samples = _fractions(found)
    if not np.isfinite(samples).all():
        raise UnreadableImage(str(path), "it has samples that are not finite")
    return samples.reshape(len(samples), -1).mean(1, dtype=np.float32), rate, 1 if found.ndim == 1 else found.shape[1]


def _require_whole(content: bytes) -> None:
    """Raise `ValueError` where a head, the file's or a chunk's, announces more than there is, or no size."""
    if not content.startswith((b"RIFF", b"RIFX")):
        return  # scipy says what it is
    order: Literal["big", "little"] = "big" if content.startswith(b"RIFX") else "little"
    size = int.from_bytes(content[4:HEAD], order)
    if size in (0, STREAMED):
        raise ValueError(f"its head announces {size:,} bytes, as that of a stream: write it again as a file with sizes")
    announced = HEAD + size
    if len(content) < announced - announced % 2:
        raise ValueError(f"truncated: it announces {announced:,} bytes and has {len(content):,}")
    at = FIRST_CHUNK
    while at + HEAD <= min(announced, len(content)):  # what stands behind is no part of it
        size, left = int.from_bytes(content[at + 4 : at + HEAD], order), len(content) - at - HEAD
        if size > left:
            name = content[at : at + 4].decode("ascii", "replace")
            raise ValueError(f"truncated: its chunk {name!r} announces {size:,} bytes and has {left:,}")
        at += HEAD + size + size % 2


def _fractions(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32, whole numbers in −1..1: 8 bits are unsigned, 24 are the upper ones of 32."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    return samples.astype(np.float32) / 2 ** (8 * samples.dtype.itemsize - 1)


def at_rate(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return a wave at another sample rate: `scipy.signal.resample_poly`, up and down by the ratio in lowest terms.

    >>> at_rate(np.ones(441, np.float32), 44100, 8000).shape
    (80,)
    """
    if rate == wanted:
        return samples
    shared = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // shared, rate // shared).astype(np.float32)


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Return the middle `length` samples of a longer wave, or a shorter one with silence at both ends.

    Where the difference is odd, the end has the one more.

    >>> fitted(np.arange(5.0), 2).tolist(), fitted(np.arange(1.0, 3.0), 5).tolist()
    ([1.0, 2.0], [0.0, 1.0, 2.0, 0.0, 0.0])
    """
    spare = len(samples) - length
    if spare >= 0:
        return samples[spare // 2 : spare // 2 + length]
    before = -spare // 2
    return np.pad(samples, (before, -spare - before))
