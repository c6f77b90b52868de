import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from poolbench.data.series.heart_model import (
    ANGLES,
    BASELINE_MV,
    BREATHING_HZ,
    MILLIVOLTS,
    STRENGTHS,
    WIDTHS,
    Beats,
    normal_waves,
    voltage,
)
from poolbench.data.series.heartbeats import CLASS_NAMES, LENGTH, RATE_HZ, simulate


def source_equations(seconds: float, times: np.ndarray) -> np.ndarray:
    """The three equations of McSharry et al. (2003) as they stand there, solved by a general method, in millivolts."""
    angles, strengths, widths = normal_waves(np.array(seconds))
    omega = 2 * np.pi / seconds

    def slope(t, state):
        x, y, z = state
        alpha = 1 - np.hypot(x, y)
        apart = np.arctan2(y, x) - angles
        apart = (apart + np.pi) % (2 * np.pi) - np.pi
        baseline = BASELINE_MV / MILLIVOLTS * np.sin(2 * np.pi * BREATHING_HZ * t)
        pull = -(strengths * apart * np.exp(-(apart**2) / (2 * widths**2))).sum()
        return [alpha * x - omega * y, alpha * y + omega * x, pull - (z - baseline)]

    begin = times[0] - 4
    angle = omega * begin
    solved = solve_ivp(
        slope, (begin, times[-1]), [np.cos(angle), np.sin(angle), 0], t_eval=times, rtol=1e-8, atol=1e-10, max_step=0.01
    )
    return solved.y[2] * MILLIVOLTS


@pytest.mark.parametrize("seconds", [1.0, 0.7])
def test_equal_beats_are_the_published_model(seconds):
    at = (np.arange(-6, 7) * seconds)[None]
    each = np.full_like(at, seconds)
    times = seconds / 2 + np.arange(257) / 128
    found = voltage(Beats(at, each, *normal_waves(each)), times[:1], 257, 128, np.zeros(1))[0]
    wanted = source_equations(seconds, times)
    # They start from 0 two seconds before and four: a part of e⁻² of the voltage there is left.
    assert np.abs(found - wanted).max() < 0.03
    assert np.abs(found - wanted)[128:].max() < 0.012
    assert 1.0 < wanted.max() < 1.4


def test_parameters_are_those_of_the_sources_table():
    assert np.allclose(np.degrees(ANGLES), [-60, -15, 0, 15, 90])
    assert STRENGTHS.tolist() == [1.2, -5, 30, -7.5, 0.75]
    assert WIDTHS.tolist() == [0.25, 0.1, 0.1, 0.1, 0.4]


def test_kinds_of_beats_look_as_they_are_named():
    found = simulate(40, 50, torch.Generator().manual_seed(0))
    assert np.bincount(found.labels).tolist() == [400] * 5
    middle = {name: found.millivolts[found.labels == label] for label, name in enumerate(CLASS_NAMES)}
    half = LENGTH // 2
    qrs = slice(half - 13 - 7, half + 13 + 7)  # within 0.1 s of the middle, and 50 ms to each side
    # Early beats are closer to the one before: its R lies 0.4 to 0.8 s before the middle more often.
    before = slice(half - round(0.62 * RATE_HZ), half - round(0.3 * RATE_HZ))
    early = {name: (beats[:, before].max(1) > 0.6).mean() for name, beats in middle.items()}
    assert early["atrial_premature"] > 0.5 > 0.2 > early["normal"]
    assert early["ventricular_premature"] > 0.5
    # QRS: how long the beat is above half of its peak.
    width = {name: (b[:, qrs] > b[:, qrs].max(1, keepdims=True) / 2).sum(1).mean() for name, b in middle.items()}
    assert width["ventricular_premature"] > 1.8 * width["normal"]
    assert width["normal"] < width["fusion"] < width["ventricular_premature"]
    # T is inverted.
    t = slice(half + round(0.25 * RATE_HZ), half + round(0.35 * RATE_HZ))
    level = {name: beats[:, t].mean() for name, beats in middle.items()}
    assert level["ventricular_premature"] < 0 < level["normal"]
    assert level["bundle_branch_block"] < 0


def test_recordings_differ_from_each_other_more_than_within():
    found = simulate(10, 50, torch.Generator().manual_seed(0))
    peaks = found.millivolts[:, LENGTH // 2 - 20 : LENGTH // 2 + 20].max(1)
    normal = found.labels == 0
    own = [peaks[normal & (found.recordings == recording)] for recording in range(10)]
    assert np.std([one.mean() for one in own]) > 2 * np.mean([one.std() for one in own])
    assert np.bincount(found.recordings).tolist() == [50] * 10
