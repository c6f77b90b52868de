"""Wav files as waves of one sample rate and one length."""

import math
import wave
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from poolbench.data.images import UnreadableImage

BITS = {1: "8", 2: "16", 3: "24", 4: "32"}


def read_wav(path: Path) -> tuple[np.ndarray, int, int]:
    """Return the wave of a PCM file, its rate in Hz and its channels: float32 (samples,) in −1..1, channels averaged.

    Raises:
        UnreadableImage: the file is missing, no PCM wav of 8 to 32 bits, truncated, or without a sample.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate, count = (
                file.getsampwidth(),
                file.getnchannels(),
                file.getframerate(),
                file.getnframes(),
            )
            raw = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise UnreadableImage(str(path), f"{type(error).__name__}: {error or 'it ends too early'}") from error
    if width not in BITS or channels < 1 or rate < 1:
        raise UnreadableImage(str(path), f"samples of {8 * width} bits, {channels} channels, {rate} Hz")
    if len(raw) != count * channels * width:
        got = len(raw) // (channels * width)
        raise UnreadableImage(str(path), f"truncated: it announces {count:,} samples and has {got:,}")
    if count == 0:
        raise UnreadableImage(str(path), "it has no samples")
    return _numbers(raw, width).reshape(count, channels).mean(1, dtype=np.float32), rate, channels


def _numbers(raw: bytes, width: int) -> np.ndarray:
    """Return PCM samples as float32 in −1..1: 8 bits are unsigned, more are signed, the low byte first."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0].astype(np.float32) / 2**31
    return np.frombuffer(raw, f"<i{width}").astype(np.float32) / 2 ** (8 * width - 1)


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
