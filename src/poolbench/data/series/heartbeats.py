"""Heartbeats of five kinds, by the dynamical model: each example shows one beat among its neighbours.

What tells a beat that comes early from a normal one is, for the most part, its distance to its neighbours: a network
has to see from one beat to the next.
"""

from dataclasses import dataclass

import numpy as np
import torch

from poolbench.data.series.heart_model import Beats, normal_waves, voltage

RATE_HZ = 128
LENGTH = 320
CLASS_NAMES = ("normal", "atrial_premature", "ventricular_premature", "bundle_branch_block", "fusion")
NORMAL, ATRIAL, VENTRICULAR, BLOCK, FUSION = range(5)
_P, _Q, _R, _S, _T = range(5)
_MIDDLE = 2


@dataclass(frozen=True, eq=False)
class Heartbeats:
    """Examples with what is known of them.

    Args:
        millivolts: float32 (N, LENGTH).
        labels: class, int64 (N,).
        recordings: which recording each is of, int64 (N,).
    """

    millivolts: np.ndarray
    labels: np.ndarray
    recordings: np.ndarray


class _Draws:
    """Numbers of one stream, in the shapes that are asked for."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def between(self, least: float, most: float, *shape: int) -> np.ndarray:
        return least + (most - least) * torch.rand(shape, generator=self._generator, dtype=torch.float64).numpy()

    def normal(self, *shape: int) -> np.ndarray:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64).numpy()


def simulate(recordings: int, beats: int, generator: torch.Generator) -> Heartbeats:
    """Return `beats` examples of each of `recordings` patients, 2.5 s each at 128 samples a second.

    The beat in question stands within 0.1 s of the middle, with two normal ones before and two after. A recording has a
    rate of 60 to 95 beats a minute, strengths and widths of waves of its own, and noise; a beat varies about them.
    Classes take turns, so that they are equally frequent in each recording. The source gives the normal beat alone; the
    other kinds follow from it by what textbooks say of them, in numbers of ours:

    - `atrial_premature`: at 0.62 to 0.78 of the distance, with a smaller P and the same QRS and T; the beats behind
      follow at their distance.
    - `ventricular_premature`: at 0.62 to 0.78 of the distance, without P, QRS two and a half times as wide, T inverted;
      the next beat stands where it would have without it.
    - `bundle_branch_block`: on time, QRS wider, with a second R behind S, T inverted.
    - `fusion`: on time, all waves halfway between a normal and a ventricular premature beat.

    >>> found = simulate(2, 10, torch.Generator().manual_seed(0))
    >>> found.millivolts.shape, found.labels[:6].tolist(), found.recordings[[0, -1]].tolist()
    ((20, 320), [0, 1, 2, 3, 4, 0], [0, 1])
    """
    draws = _Draws(generator)
    count = recordings * beats
    recording = np.repeat(np.arange(recordings), beats)
    labels = np.tile(np.arange(beats) % len(CLASS_NAMES), recordings)
    distance = draws.between(0.63, 1.0, recordings)[recording, None] * (1 + 0.03 * draws.normal(count, 5))
    angles, strengths, widths = normal_waves(distance)
    own = np.exp(0.2 * draws.normal(recordings, 1, 5))[recording]
    strengths *= own * np.exp(0.05 * draws.normal(count, 5, 5))
    widths *= np.exp(0.08 * draws.normal(recordings, 1, 5))[recording]

    early = np.where((labels == ATRIAL) | (labels == VENTRICULAR), draws.between(0.62, 0.78, count), 1.0)
    gaps = distance.copy()  # gaps[:, k] lies between beat k − 1 and beat k
    gaps[:, _MIDDLE] *= early
    gaps[:, _MIDDLE + 1] *= np.where(labels == VENTRICULAR, 2 - early, 1.0)
    at = np.cumsum(gaps, 1)
    at -= at[:, _MIDDLE, None]

    smaller_p = draws.between(0.3, 0.9, count)
    _change(strengths, labels == ATRIAL, _P, smaller_p)
    wide = 2.5 * np.exp(0.1 * draws.normal(count))
    _make_ventricular(angles, strengths, widths, labels == VENTRICULAR, wide, 1.0)
    _make_ventricular(angles, strengths, widths, labels == FUSION, wide, 0.5)
    _make_block(angles, strengths, widths, labels == BLOCK)

    begin = -(LENGTH / 2) / RATE_HZ + draws.between(-0.1, 0.1, count)
    phase = draws.between(0, 2 * np.pi, count)
    z = voltage(Beats(at, distance, angles, strengths, widths), begin, LENGTH, RATE_HZ, phase)
    noise = draws.between(0.01, 0.05, recordings)[recording, None] * draws.normal(count, LENGTH)
    return Heartbeats((z + noise).astype(np.float32), labels, recording)


def _change(values: np.ndarray, rows: np.ndarray, wave: int, by: np.ndarray | float) -> None:
    values[rows, _MIDDLE, wave] *= by[rows] if isinstance(by, np.ndarray) else by


def _make_ventricular(
    angles: np.ndarray, strengths: np.ndarray, widths: np.ndarray, rows: np.ndarray, wide: np.ndarray, share: float
) -> None:
    """Take the middle beats of `rows` by a share of the way from normal to ventricular."""
    factor = 1 + share * (wide - 1)
    for wave in (_Q, _R, _S):
        _change(widths, rows, wave, factor)
        _change(angles, rows, wave, factor)
        # A wave's height goes with a·b²: it is kept, by and large.
        _change(strengths, rows, wave, (1 + 0.3 * share) / factor**2)
    _change(strengths, rows, _P, 1 - share)
    _change(strengths, rows, _T, 1 - 2.2 * share)


def _make_block(angles: np.ndarray, strengths: np.ndarray, widths: np.ndarray, rows: np.ndarray) -> None:
    """Let S of the middle beats of `rows` be a second R behind a wider first one, and T be inverted."""
    _change(widths, rows, _R, 1.4)
    _change(strengths, rows, _R, 0.8 / 1.4**2)
    _change(angles, rows, _S, 2.0)
    _change(widths, rows, _S, 1.8)
    _change(strengths, rows, _S, -1.6 / 1.8**2)
    _change(strengths, rows, _T, -0.8)
