"""Are verdicts on continuous scores as sure as they say? Simulated scores of examples with a known truth.

With arm a, seed s and test example i a score is

    x[a, s, i] = D[i] + A[a, s] + B[a, i] + E[a, s, i]

D is how hard an example is, which every arm meets alike; A, B and E are drawn for each arm, so that all arms are truly
equal. D, B and E have the shape that the scores of examples are given: normal, skewed (exponential, as errors are) or
heavy-tailed (Student's t with 3 degrees of freedom, as where a few examples are far off). Each has mean 0. The arms'
paired differences are judged as a report judges them: `poolbench.report.statistics`. The seeds' effects A are normal;
skewed ones are shown beside and not bounded, since no Student's t of 3 seeds serves them.

The least coverage and the largest share of false verdicts are held against `--least` and `--most`; the exit status says
whether they hold.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from turns import markdown

from poolbench.report.statistics.paired import Paired, paired
from poolbench.report.statistics.verdicts import BETTER, WORSE, decide

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# Each has mean 0 and standard deviation 1.
SHAPES: dict[str, Draw] = {
    "normal": lambda draw, size: draw.standard_normal(size),
    "skewed": lambda draw, size: draw.standard_exponential(size) - 1,
    "heavy tails": lambda draw, size: draw.standard_t(3, size) / math.sqrt(3),
}
LEVEL = 0.95


@dataclass(frozen=True)
class Noise:
    """How large each part is, as a standard deviation; `seeds` and `examples` of the mean over all examples."""

    name: str
    seeds: float
    examples: float
    rest: float = 1.0


# Which of the two sources is the larger one in the mean of a test set.
NOISES = (Noise("seeds", 0.2, 0.05), Noise("both alike", 0.1, 0.1), Noise("examples", 0.05, 0.2))


def family(
    draw: np.random.Generator, noise: Noise, shape: Draw, of_seeds: Draw, arms: int, seeds: int, examples: int
) -> list[Paired]:
    """Return the differences of equal arms to the first one."""
    alike = noise.examples * math.sqrt(examples)
    hard = shape(draw, (examples,))
    own = noise.seeds * of_seeds(draw, (arms, seeds, 1)) + alike * shape(draw, (arms, 1, examples))
    x = hard + own + noise.rest * shape(draw, (arms, seeds, examples))
    differences = x[1:] - x[0]
    return [paired(d.mean(axis=1), d, binary=False) for d in differences]


def judged(noise: Noise, shape: Draw, of_seeds: Draw, *, arms: int, seeds: int, examples: int, times: int) -> tuple:
    """Return the shares of families with a false verdict and of 95 % intervals that cover."""
    draw = np.random.default_rng([7, seeds])
    alarms = covered = 0
    for _ in range(times):
        found = family(draw, noise, shape, of_seeds, arms, seeds, examples)
        alarms += any(one.verdict in (BETTER, WORSE) for one in decide(found, margin=0.0, further=False))
        covered += sum(low <= 0 <= high for low, high in (one.interval(LEVEL) for one in found))
    return alarms / times, covered / times / (arms - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--arms", type=int, default=6, help="in a family, the reference among them (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10], help="(%(default)s)")
    parser.add_argument("--examples", type=int, default=200, help="of the test set (%(default)s)")
    parser.add_argument("--least", type=float, default=93.5, help="coverage, per cent (%(default)s)")
    parser.add_argument("--most", type=float, default=6.0, help="false verdicts, per cent of families (%(default)s)")
    arguments = parser.parse_args()
    if arguments.arms < 2 or arguments.times < 1 or min(arguments.seeds) < 3 or arguments.examples < 2:
        parser.error("at least 2 arms, 1 family, 3 seeds and 2 examples")
    began, held = time.monotonic(), True
    size = {"arms": arguments.arms, "examples": arguments.examples, "times": arguments.times}
    print(
        f"{arguments.times:,} families of {arguments.arms} equal arms, {arguments.examples} test examples: families "
        "with a false verdict / 95 % intervals that cover, per cent\n"
    )
    for effects in ("normal", "skewed"):
        rows = []
        for shape, draw_shape in SHAPES.items():
            for noise in NOISES:
                cells = []
                for seeds in arguments.seeds:
                    alarms, covered = judged(noise, draw_shape, SHAPES[effects], seeds=seeds, **size)
                    cells.append(f"{100 * alarms:.1f} / {100 * covered:.1f}")
                    if effects == "normal":
                        held &= 100 * alarms <= arguments.most and 100 * covered >= arguments.least
                rows.append([shape, noise.name, *cells])
        bounded = "bounded" if effects == "normal" else "reported"
        print(f"Effects of the seeds {effects} ({bounded})\n")
        headings = ["scores of examples", "larger noise", *(f"{seeds} seeds" for seeds in arguments.seeds)]
        print(markdown(headings, rows), "\n", flush=True)
    print(f"within the bounds: {'yes' if held else 'NO'}; {time.monotonic() - began:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
