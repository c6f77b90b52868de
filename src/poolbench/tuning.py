"""A fair recipe for every arm: the same quasi-random points of the recipe, the same budget, the best by validation.

Every arm of a block is tried at the same points, each with one seed that no run of the comparison has, and judged on
validation; its best point is then trained on the comparison's seeds. A report shows the arms at the shared recipe and
the tuned ones apart: the first says what a swap brings to a recipe that is there, the second what each arm can do with
the same effort (G. E. Dahl et al. 2023, Benchmarking neural network training algorithms, arXiv:2306.07179, which gives
every submission the same number of quasi-random trials).

Points are Sobol's, scrambled by a fixed seed (`scipy.stats.qmc`): with a power of two of them every range is covered
evenly, whatever the number of ranges, and the first 8 of 16 are the 8.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from poolbench.checks import is_number, is_whole
from poolbench.errors import ConfigurationError

# Whose settings are a recipe's. What an arm is trained on is no part of it, but for the augmentation.
RECIPE = ("protocol", "trainer", "backbone", "pooling", "head")
AUGMENTATION = "dataset.augment."
POINTS = 8
SCRAMBLE = 0
SIGNIFICANT = 4


@dataclass(frozen=True)
class Range:
    """What one setting may be.

    Args:
        key: the setting, dotted, as an override names it.
        low: the least value.
        high: the largest.
        log: whether equal factors are equally likely, not equal steps.
        values: the only values, in place of low and high.
    """

    key: str
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    values: tuple[Any, ...] = ()

    @classmethod
    def of(cls, key: str, given: Any) -> "Range":
        """Return a range from its YAML: `{low, high, log}` or a list of values.

        Raises:
            ConfigurationError: names the key, the rule and what was received.
        """
        place = f"`tune.space.{key}`"
        if isinstance(given, Sequence) and not isinstance(given, str):
            if len(given) < 2:
                raise ConfigurationError(f"{place} must list at least two values, got {list(given)!r}")
            return cls(key, values=tuple(given))
        if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
            raise ConfigurationError(
                f"{place} must be a list of values, or have `low`, `high` and perhaps `log`, got {given!r}"
            )
        low, high, log = given["low"], given["high"], given.get("log", False)
        numbers = all(is_number(end) for end in (low, high))
        if not numbers or not low < high:
            raise ConfigurationError(f"{place} must have `low` below `high`, got {low!r} and {high!r}")
        if not isinstance(log, bool):
            raise ConfigurationError(f"{place}: `log` must be true or false, got {log!r}")
        if log and low <= 0:
            raise ConfigurationError(f"{place}: with `log` `low` must be above 0, got {low!r}")
        return cls(key, float(low), float(high), log)

    def at(self, share: float) -> Any:
        """Return the value at a share of the range, 0 ≤ share < 1, to four significant digits.

        >>> Range("lr", 1e-4, 1e-2, log=True).at(0.5), Range("depth", values=(1, 2, 3)).at(0.5)
        (0.001, 2)
        """
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        steps, factor = self.low + (self.high - self.low) * share, self.high / self.low if self.log else 1.0
        value = self.low * factor**share if self.log else steps
        return float(f"{value:.{SIGNIFICANT}g}")


def space_of(given: Any) -> tuple[Range, ...]:
    """Return the ranges of `tune.space`; raise `ConfigurationError` where it names none."""
    if not isinstance(given, Mapping) or not given:
        raise ConfigurationError(f"`tune.space` must name at least one setting with its range, got {given!r}")
    return tuple(Range.of(str(key), value) for key, value in given.items())


@dataclass(frozen=True)
class Tune:
    """How arms are tuned.

    Args:
        points: at which each arm is tried.
        space: settings with their ranges; empty: learning rate and weight decay, around the recipe's own.
    """

    points: int
    space: tuple[Range, ...] = ()

    @classmethod
    def of(cls, value: Any) -> "Tune | None":
        """Return what `tune=` asks for: a number of points, or `points` and `space`; None: nothing.

        >>> Tune.of(8), Tune.of(None)
        (Tune(points=8, space=()), None)
        """
        if value is None:
            return None
        found = value if isinstance(value, Mapping) else {"points": value}
        strange = [str(key) for key in found if key not in ("points", "space")]
        number = found.get("points", POINTS)
        if strange or not is_whole(number) or number < 1:
            raise ConfigurationError(
                f"`tune` must be null, a number of points of at least 1, or have `points` and `space`, got {value!r}"
            )
        space = () if found.get("space") is None else space_of(found["space"])
        for one in space:
            if one.key.partition(".")[0] not in RECIPE and not one.key.startswith(AUGMENTATION):
                raise ConfigurationError(
                    f"`tune.space` names {one.key}: arms are tuned with one seed on the same data; name settings of "
                    f"{', '.join(RECIPE)} or {AUGMENTATION[:-1]}, such as {LEARNING_RATES[-1]}"
                )
        return cls(number, space)

    def points_of(self, config: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the points at which an arm of this configuration is tried, the same for every arm of one recipe."""
        return points(self.space or default_space(config), self.points)


# Without `tune.space`: the recipe's own value, from a tenth of it to ten times as much. A schedule that has a largest
# rate of its own sets the rate, whatever the optimizer's is.
LEARNING_RATES = ("protocol.schedule.max_lr", "protocol.optimizer.lr")
WEIGHT_DECAY = "protocol.optimizer.weight_decay"
FACTOR = 10.0
NO_DECAY = (1e-5, 1e-1)


def default_space(config: Mapping[str, Any]) -> tuple[Range, ...]:
    """Return learning rate and weight decay, each around the recipe's own.

    >>> default_space({"protocol": {"optimizer": {"lr": 0.5, "weight_decay": 0}}})[0]
    Range(key='protocol.optimizer.lr', low=0.05, high=5.0, log=True, values=())
    """
    rate = next((key for key in LEARNING_RATES if is_number(_value(config, key))), None)
    if rate is None:
        raise ConfigurationError("`tune`: the recipe has no learning rate; name the settings in `tune.space`")
    found = [_around(rate, float(_value(config, rate)))]
    decay = _value(config, WEIGHT_DECAY)
    if is_number(decay):
        found.append(_around(WEIGHT_DECAY, float(decay)) if decay > 0 else Range(WEIGHT_DECAY, *NO_DECAY, log=True))
    return tuple(found)


def _around(key: str, value: float) -> Range:
    return Range(key, value / FACTOR, value * FACTOR, log=True)


def _value(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def points(space: Sequence[Range], number: int = POINTS) -> list[dict[str, Any]]:
    """Return so many points of the space, the same every time: a value for each setting.

    Args:
        space: the settings.
        number: of points, at least 1; powers of two cover the space evenly.

    Raises:
        ConfigurationError: the number is no whole number of at least 1.

    >>> len(points([Range("lr", 1e-4, 1e-1, log=True), Range("weight_decay", 0.0, 0.1)], 8))
    8
    """
    from scipy.stats import qmc

    if not is_whole(number) or number < 1:
        raise ConfigurationError(f"`tune.points` must be a whole number of at least 1, got {number!r}")
    # As many as a power of two, which Sobol's points are drawn in, and the first of them.
    drawn = qmc.Sobol(len(space), scramble=True, seed=SCRAMBLE).random_base2(max(number - 1, 0).bit_length())
    return [{one.key: one.at(float(share)) for one, share in zip(space, row, strict=True)} for row in drawn[:number]]


def best(scores: Sequence[float], *, larger_is_better: bool = True) -> int | None:
    """Return the place of the best validation score, the first of equal ones; None where no score is finite.

    >>> best([0.8, float("nan"), 0.9, 0.9]), best([float("nan")])
    (2, None)
    """
    finite = [(at, score) for at, score in enumerate(scores) if math.isfinite(score)]
    if not finite:
        return None
    return min(finite, key=lambda one: (-one[1] if larger_is_better else one[1], one[0]))[0]


@dataclass(frozen=True)
class Order:
    """Two orders of the same arms, at the shared recipe and tuned.

    Args:
        pairs: of arms that have a score in both.
        swapped: pairs whose order is another.
        first_before: the best arm at the shared recipe.
        first_after: the best arm when tuned.
    """

    pairs: int
    swapped: int
    first_before: str
    first_after: str

    @property
    def changed(self) -> bool:
        """Whether any two arms changed places."""
        return self.swapped > 0


def order(shared: Mapping[str, float], tuned: Mapping[str, float], *, larger_is_better: bool = True) -> Order | None:
    """Return whether tuning changed the order of the arms; None with fewer than two that have both scores.

    >>> order({"max": 0.9, "avg": 0.8, "gap": 0.7}, {"max": 0.91, "avg": 0.92, "gap": 0.7})
    Order(pairs=3, swapped=1, first_before='max', first_after='avg')
    """
    sign = 1 if larger_is_better else -1
    both = [name for name in shared if name in tuned and math.isfinite(shared[name]) and math.isfinite(tuned[name])]
    if len(both) < 2:
        return None
    swapped = sum(
        (shared[one] - shared[other]) * (tuned[one] - tuned[other]) < 0 for one, other in combinations(both, 2)
    )
    firsts = [max(both, key=lambda name: sign * scores[name]) for scores in (shared, tuned)]
    return Order(len(both) * (len(both) - 1) // 2, swapped, *firsts)


@dataclass(frozen=True)
class Spread:
    """An arm's validation scores over the space: how much the recipe matters for it.

    Args:
        tried: points that were tried.
        finished: those with a finite score.
        low: the worst score; NaN where none is finite.
        median: the middle one.
        high: the best one.
    """

    tried: int
    finished: int
    low: float
    median: float
    high: float


def spread(scores: Sequence[float]) -> Spread:
    """Return how an arm's scores spread over the points.

    >>> spread([0.9, 0.5, float("nan"), 0.7])
    Spread(tried=4, finished=3, low=0.5, median=0.7, high=0.9)
    """
    finite = sorted(score for score in scores if math.isfinite(score))
    if not finite:
        return Spread(len(scores), 0, math.nan, math.nan, math.nan)
    half = len(finite) // 2
    median = finite[half] if len(finite) % 2 else (finite[half - 1] + finite[half]) / 2
    return Spread(len(scores), len(finite), finite[0], median, finite[-1])
