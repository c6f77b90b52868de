"""Tones in a rhythm: the class is a pair of both, and either alone tells a part."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RATE_HZ = 4000
SAMPLES = 4096
# When the strokes of a bar of four fall.
RHYTHMS = {"even": (0.0, 1.0, 2.0, 3.0), "gallop": (0.0, 0.4, 2.0, 2.4), "waltz": (0.0, 1.33, 2.67)}
PITCHES_HZ = {"low": 440.0, "middle": 494.0, "high": 554.0}
CLASS_NAMES = tuple(f"{rhythm}_{pitch}" for rhythm in RHYTHMS for pitch in PITCHES_HZ)


@dataclass(frozen=True, eq=False)
class Tones:
    """Waves with their classes.

    Args:
        waves: float32 (N, SAMPLES).
        labels: class, int64 (N,).
    """

    waves: Tensor
    labels: Tensor


def play(count: int, generator: torch.Generator) -> Tones:
    """Return `count` clips of 1.02 s at 4,000 samples a second.

    Each has a rhythm (four even strokes, two pairs, or three strokes) and a pitch (440, 494 or 554 Hz, two semitones
    apart, each varied by up to half of one) with two overtones; their strengths, the decay, the tempo (85 to 100 %) and
    the noise are drawn. It begins anywhere in its time, which wraps round. Classes take turns.

    >>> tones = play(9, torch.Generator().manual_seed(0))
    >>> tuple(tones.waves.shape), tones.labels.tolist()
    ((9, 4096), [0, 1, 2, 3, 4, 5, 6, 7, 8])
    """

    def between(least: float, most: float, *shape: int) -> Tensor:
        return least + (most - least) * torch.rand(shape, generator=generator)

    labels = torch.arange(count) % len(CLASS_NAMES)
    seconds = torch.arange(SAMPLES) / RATE_HZ
    bar = SAMPLES / RATE_HZ
    pitches = torch.tensor(list(PITCHES_HZ.values()))[labels % len(PITCHES_HZ)]
    hz = pitches * 2 ** (between(-0.5, 0.5, count) / 12)
    tempo = between(0.85, 1.0, count)
    begin = between(0, bar, count)
    decay = between(12, 20, count)
    strokes = [torch.tensor(beats) / 4 for beats in RHYTHMS.values()]
    rhythm = labels // len(PITCHES_HZ)
    envelope = torch.zeros(count, SAMPLES)
    for number, beats in enumerate(strokes):
        rows = (rhythm == number).nonzero()[:, 0]
        for beat in beats:
            since = (seconds - begin[rows, None] - beat * bar * tempo[rows, None]) % bar
            envelope[rows] += torch.exp(-decay[rows, None] * since) * (since * 200).clamp_max(1)
    wave = torch.zeros_like(envelope)
    for overtone in (1, 2, 3):
        strength = between(0.3, 1.0, count) / overtone
        phase = between(0, 2 * np.pi, count)
        wave += strength[:, None] * torch.sin(2 * np.pi * overtone * hz[:, None] * seconds + phase[:, None])
    noise = torch.randn(count, SAMPLES, generator=generator)
    loud = between(0.05, 0.25, count)
    return Tones((0.3 * envelope * wave + loud[:, None] * noise), labels)
