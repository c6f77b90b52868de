"""Looks that were declared beforehand: what follows from the first seeds, what they cost and save."""

import math

import numpy as np
import pytest

from poolbench.declared import LOOKS, Look
from poolbench.report.statistics.declared_looks import Followed, check, look, rule
from poolbench.report.statistics.paired import paired
from poolbench.report.statistics.verdicts import BETTER, TIE, UNDECIDED, WORSE, decide

ORDER = tuple(range(20))


def arm(differences: list[float] | np.ndarray, seeds: tuple[int, ...] | None = None, **more) -> Followed:
    values = np.asarray(differences, dtype=float)
    return Followed(seeds or ORDER[: len(values)], values, **more)


def test_the_levels_add_up_to_alpha() -> None:
    check(LOOKS)
    assert math.fsum(one.alpha for one in LOOKS) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "looks",
    [
        (),
        (Look(2, 0.05),),
        (Look(5, 0.02), Look(5, 0.02)),
        (Look(5, 0.02), Look(3, 0.02)),
        (Look(3, 0.03), Look(5, 0.03)),
        (Look(3, 0.0),),
    ],
)
def test_looks_that_keep_no_level_are_refused(looks: tuple[Look, ...]) -> None:
    with pytest.raises(ValueError, match="`looks` must have"):
        look([], ORDER, margin=0.005, looks=looks)


def test_an_order_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="`order` must name the 20 seeds"):
        look([], range(10), margin=0.005)


def test_one_look_is_the_verdict_at_its_level() -> None:
    draw = np.random.default_rng(0)
    differences = [draw.normal(mean, 0.004, 3) for mean in (0.0, 0.01, 0.03)]
    (alone,) = [look([arm(d) for d in differences], ORDER, margin=0.005, looks=[Look(3, 0.05)])]
    expected = decide([paired(d) for d in differences], margin=0.005, further=False)
    assert [one.decision for one in alone] == expected


def test_a_look_takes_the_first_seeds_in_their_order_and_no_others() -> None:
    # The last seeds would make the arm worse; the first three in the declared order, all alike and large, decide.
    order = (7, 3, 5, *(seed for seed in range(20) if seed not in (3, 5, 7)))
    d = dict.fromkeys(range(20), -0.5) | {7: 0.1, 3: 0.1001, 5: 0.0999}
    (found,) = look([arm([d[seed] for seed in range(20)])], order, margin=0.005)
    assert (found.verdict, found.seeds, found.alpha, found.waits_for) == (BETTER, 3, 0.005, None)


def test_the_undecided_wait_and_the_decided_do_not() -> None:
    clear, open_ = [0.1, 0.1001, 0.0999], [0.02, -0.01, 0.01]
    looked = look([arm(clear), arm(open_)], ORDER, margin=0.005)
    assert [one.verdict for one in looked] == [BETTER, UNDECIDED]
    assert [one.waits_for for one in looked] == [None, 5]


def test_an_arm_that_is_behind_waits_for_the_look_that_it_lacks() -> None:
    (found,) = look([arm([0.02, -0.01])], ORDER, margin=0.005)
    assert (found.seeds, found.waits_for, found.decision) == (0, 3, None)


def test_a_failed_seed_is_no_reason_to_wait() -> None:
    d = [0.1, 0.1001, 0.0999, 0.1002]
    (found,) = look([arm(d, (0, 2, 3, 4), ended=frozenset(range(5)))], ORDER, margin=0.005)
    # Two seeds are too few at the first look; four of five do at the second.
    assert (found.verdict, found.seeds) == (BETTER, 5)


def test_a_tie_still_counts_in_holms_number() -> None:
    # Tested alone at α = .01, this arm's p of about .008 at the second look would do; a tie beside it halves the level.
    base = np.array([0.03, 0.012, 0.02, 0.018, 0.009])
    p = paired(base).p
    assert 0.005 < p < 0.01
    alone = look([arm(base)], ORDER, margin=0.0)[0]
    tie = arm(np.array([0.0001, 0.0, -0.0001, 0.00005, -0.00005]))
    beside = look([arm(base), tie], ORDER, margin=0.005)
    assert alone.verdict == BETTER
    assert [one.verdict for one in beside] == [UNDECIDED, TIE]


def test_an_arm_stops_at_the_look_that_decides_it() -> None:
    looked = look([arm([0.1, 0.1001, 0.0999]), arm(np.tile([0.02, -0.02], 10))], ORDER, margin=0.0)
    assert [one.seeds for one in looked] == [3, 20]


def test_the_rule_is_told() -> None:
    assert "seeds beyond" not in rule(LOOKS, 20)
    assert rule(LOOKS, 21).endswith("the 1 seed beyond the last look counts in no verdict")


@pytest.mark.slow
def test_false_alarms_with_looks_and_one_by_one() -> None:
    """400 families of 5 equal arms: 5 % at most with looks (9 % has a probability below .001), far more one by one."""
    draw = np.random.default_rng(2026)
    with_looks = one_by_one = 0
    for _ in range(400):
        x = draw.normal(0, 0.01, (6, 20))
        d = x[1:] - x[0]
        with_looks += any(one.verdict in (BETTER, WORSE) for one in look([arm(own) for own in d], ORDER, margin=0.0))
        one_by_one += any(
            one.verdict in (BETTER, WORSE)
            for n in range(3, 21, 2)
            for one in decide([paired(own[:n]) for own in d], margin=0.0)
        )
    assert with_looks / 400 < 0.09
    assert one_by_one / 400 > 0.10
