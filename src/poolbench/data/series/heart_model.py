"""A dynamical model of the electrocardiogram.

P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith, A dynamical model for generating synthetic electrocardiogram
signals, IEEE Transactions on Biomedical Engineering 50 (2003) 289-294: a point goes round a circle once a beat, and
each of the waves P, Q, R, S and T pulls the voltage z as the point passes the wave's angle θᵢ,

    dθ/dt = ω,   dz/dt = −Σᵢ aᵢ Δθᵢ exp(−Δθᵢ² / (2 bᵢ²)) − (z − z₀(t)),   Δθᵢ = θ − θᵢ mod 2π.

Deviations: the point starts on the circle, where the source's equations for x and y are dθ/dt = ω. Each beat has waves
and a rate ω of its own and stands at a time of its own, that of its R, where θ = 0: so a beat can come early. With
equal beats at equal distances that is the source's model.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

WAVES = ("P", "Q", "R", "S", "T")
# Table I of the source: angle in radians, strength, width in radians.
ANGLES = np.array([-np.pi / 3, -np.pi / 12, 0, np.pi / 12, np.pi / 2])
STRENGTHS = np.array([1.2, -5.0, 30.0, -7.5, 0.75])
WIDTHS = np.array([0.25, 0.1, 0.1, 0.1, 0.4])
# The baseline z₀ = A sin(2πf t), with f the rate of breathing.
BASELINE_MV = 0.15
BREATHING_HZ = 0.25
# R of a beat of one second reaches about 0.045 in the model's units and is to be 1.2 mV, as in the source's figures.
MILLIVOLTS = 27.0
FORGOTTEN_S = 2.0
STEPS = 2


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats of B recordings, K each.

    Args:
        at: seconds at which R stands, (B, K).
        seconds: 2π/ω, (B, K).
        angles: θᵢ in radians, (B, K, 5).
        strengths: aᵢ, (B, K, 5).
        widths: bᵢ in radians, (B, K, 5).
    """

    at: np.ndarray
    seconds: np.ndarray
    angles: np.ndarray
    strengths: np.ndarray
    widths: np.ndarray


def normal_waves(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return angles, strengths and widths (…, 5) of normal beats at this distance.

    A faster heart has wider waves, in angle: widths and the angles of Q and S go with the root of the rate in beats a
    second, the angles of P and T with its fourth root, as in ECGSYN, the authors' program (PhysioNet, 2003).

    >>> angles, strengths, widths = normal_waves(np.array(1.0))
    >>> bool(np.allclose(angles, ANGLES)) and bool(np.allclose(widths, WIDTHS))
    True
    """
    root = np.sqrt(1 / seconds)[..., None]
    scale = np.concatenate([np.sqrt(root), root, np.ones_like(root), root, np.sqrt(root)], -1)
    return ANGLES * scale, np.broadcast_to(STRENGTHS, scale.shape).copy(), WIDTHS * root


def voltage(beats: Beats, begin: np.ndarray, count: int, rate_hz: float, breathing: np.ndarray) -> np.ndarray:
    """Return z in millivolts at `count` times, `rate_hz` a second, (B, count).

    The equation is linear in z and is integrated by the rule of its own exponential, in two steps a sample and from two
    seconds before the first: over a step h, z ← z·e⁻ʰ + p·(1 − e⁻ʰ), with the pull p taken at the step's middle.

    Args:
        beats: what the waves are.
        begin: seconds of the first sample, (B,).
        count: how many samples.
        rate_hz: samples a second.
        breathing: phase of the baseline at 0 seconds, in radians, (B,).
    """
    h = 1 / (rate_hz * STEPS)
    before = int(np.ceil(FORGOTTEN_S / h))
    steps = before + (count - 1) * STEPS
    middles = begin[:, None] + (np.arange(steps) - before + 0.5) * h
    pull = BASELINE_MV / MILLIVOLTS * np.sin(2 * np.pi * BREATHING_HZ * middles + breathing[:, None])
    for beat in range(beats.at.shape[1]):
        theta = 2 * np.pi * (middles - beats.at[:, beat, None]) / beats.seconds[:, beat, None]
        for wave in range(len(WAVES)):
            apart = theta - beats.angles[:, beat, wave, None]
            width = beats.widths[:, beat, wave, None]
            pull -= beats.strengths[:, beat, wave, None] * apart * np.exp(-0.5 * (apart / width) ** 2)
    decay = np.exp(-h)
    z = lfilter([1 - decay], [1, -decay], pull, axis=1)
    return z[:, before - 1 :: STEPS] * MILLIVOLTS
