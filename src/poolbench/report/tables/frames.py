"""The tables as pandas frames, columns in the order of `columns`, a row an arm in the order of the blocks."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poolbench.checks import is_whole
from poolbench.report.reading.arms import Arm, Block, Record, first, number, section
from poolbench.report.reading.comparability import METRICS
from poolbench.report.reading.scores import of_arm
from poolbench.report.statistics.comparison import Compared, geometry
from poolbench.report.statistics.estimates import Estimate, Values, correlation, estimate
from poolbench.report.statistics.prospects import SEEDS, Prospect
from poolbench.report.tables.columns import TABLES, names
from poolbench.report.tables.key_columns import ARM_ID, KEYS
from poolbench.report.tables.score_columns import COMPARISON, PROSPECTS
from poolbench.score import CLASSIFICATION

KEY_NAMES = [column.name for column in KEYS]
# What makes two speed records comparable as absolute figures; a machine is measured in one of these at a time.
MACHINE = ("machine_id", "device", "device_name", "threads", "memory_format", "precision", "batch_size")
# A quantity of the speed record and the columns that its figures and its ratio go to.
QUANTITIES = (
    ("training", "training_images_per_s", "training_ratio"),
    ("forward_backward", "forward_backward_images_per_s", "forward_backward_ratio"),
    ("inference", "inference_images_per_s", "inference_ratio"),
    ("latency", "latency_ms", "latency_ratio"),
)


def build(
    blocks: Sequence[Block], speeds: Sequence[Record], compared: Mapping[str, Compared]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the six tables of arms by name, and warnings about the speed records."""
    arms = [arm for block in blocks for arm in block.arms]
    every = _accuracy(arms, compared)
    classified = np.array([of_arm(arm)[0] == CLASSIFICATION for arm in arms], dtype=bool)
    accuracy = _typed("accuracy", every[classified])
    parameters = frame("parameters", [_parameters_row(arm) for arm in arms])
    throughput, warnings = _throughput(arms, speeds)
    shown, more = _shown(throughput)
    summary = every.merge(parameters.drop(columns=KEY_NAMES), on=ARM_ID.name, how="left", sort=False)
    summary = summary.merge(shown.drop(columns=KEY_NAMES), on=ARM_ID.name, how="left", sort=False)
    summary = _typed("summary", summary)
    tables = {"accuracy": accuracy, "parameters": parameters, "throughput": throughput, "summary": summary}
    tables |= {"scores": _typed("scores", every), "metrics": _metrics(arms)}
    return tables, warnings + more


def scores_table(name: str, blocks: Sequence[Block], compared: Mapping[str, Compared]) -> pd.DataFrame:
    """Return a table with the columns of `scores`: what arms reached, and how they compare."""
    return _typed(name, _accuracy([arm for block in blocks for arm in block.arms], compared))


NAMES = (
    *("accuracy", "parameters", "throughput", "summary", "scores", "metrics", "published", "best_test_epoch"),
    *("over_blocks", "across", "pairs", "beside", "networks", "strata", "tuned"),
)


def csv(table: pd.DataFrame) -> str:
    """Return the table as CSV; ten digits keep every figure and drop what the order of a sum leaves behind."""
    return str(table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def with_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the summary with what `scores` says of each arm's score: what a reader is shown."""
    summary = tables["summary"]
    further = [name for name in names("scores") if name not in names("summary") or name == ARM_ID.name]
    return summary.merge(tables["scores"][further], on=ARM_ID.name, how="left", sort=False)


def _typed(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with exactly the table's columns, in order, each of its kind."""
    # Arrays, since a table has a hundred columns and a series for each takes most of a report's time.
    columns = {
        column.name: _of_kind(column.kind, frame[column.name].array if column.name in frame else [None] * len(frame))
        for column in TABLES[table]
    }
    return pd.DataFrame(columns, columns=names(table), index=range(len(frame)), copy=False)


def _of_kind(kind: str, values: Any) -> Any:
    """Return a column's values as an array of its kind; what is missing is "" in text, else missing."""
    if kind == "text":
        texts = np.array(values, dtype=object)
        # An index keeps them as objects, where pandas from 3 on would make an array of its own strings.
        return pd.Index(np.where(pd.isna(texts), "", texts), dtype=object)
    return pd.array(values, dtype={"count": "Int64", "number": "float64", "flag": "boolean"}[kind])


def frame(table: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as the table of this name, its columns in order, each of its kind."""
    return _typed(table, pd.DataFrame(rows, columns=names(table), dtype="object"))


def _keys(arm: Arm) -> dict[str, Any]:
    return {"backbone": arm.backbone, "dataset": arm.dataset, "variant": arm.variant, "arm_id": arm.arm_id}


def values(arms: Sequence[Arm], metric: str, among: Sequence[Arm] | None = None) -> Values:
    """Return the metric of the finished cells, a row an arm, a column a seed, NaN where there is none.

    Columns are the seeds of `among`, if given.
    """
    known = sorted({seed for arm in (among or arms) for seed in arm.finished})
    seeds = {seed: column for column, seed in enumerate(known)}
    matrix = np.full((len(arms), len(seeds)), np.nan)
    for row, arm in enumerate(arms):
        for seed, record in arm.finished.items():
            matrix[row, seeds[seed]] = number(record["metrics"].get(metric))
    return matrix


def scores_of(arms: Sequence[Arm], part: str = "test") -> Values:
    """Return the primary scores of the finished cells on a part, a row an arm, a column a seed, NaN where none is."""
    found = [values([arm], f"{part}_{of_arm(arm)[1].name}", among=arms)[0] for arm in arms]
    return np.stack(found) if found else np.empty((0, 0))


def _accuracy(arms: Sequence[Arm], compared: Mapping[str, Compared]) -> pd.DataFrame:
    """Return the columns of `accuracy`, and those of `scores`, for arms of every task."""
    columns: dict[str, Any] = {key: [_keys(arm)[key] for arm in arms] for key in (*KEY_NAMES, "arm_id")}
    matrices = {metric: values(arms, metric) for metric in METRICS}
    for metric, matrix in matrices.items():
        columns |= _statistics(metric, estimate(matrix))
    accuracy, scores = matrices["test_accuracy"], scores_of(arms)
    of_scores = estimate(scores)
    columns |= _statistics("score", of_scores) | {"n_seeds": of_scores.n}
    judged = [of_arm(arm) for arm in arms]
    columns |= {"task": [task for task, _ in judged]}
    columns |= {column: [getattr(score, key) for _, score in judged] for column, key in OF_SCORE}
    columns |= _compared(arms, scores, compared)
    columns["identical_to"] = ["; ".join(arm.identical) for arm in arms]
    columns["geometry"] = [geometry(arm, arm.reference) for arm in arms]
    for status in ("failed", "diverged", "unsupported", "interrupted"):
        columns[f"n_{status}"] = [arm.count(status) for arm in arms]
    images = np.array([_first_number(arm, "data", "test_images") for arm in arms])
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.sqrt(accuracy * (1.0 - accuracy) / images[:, None])
    columns["test_images"] = columns["test_examples"] = images
    columns["test_accuracy_image_se"] = estimate(errors).mean
    columns["below_image_se"] = _below(columns["difference_mean"], columns["test_accuracy_image_se"])
    columns["reference"] = [arm.reference.variant if arm.reference else "" for arm in arms]
    columns |= _overfitting(arms, accuracy)
    return pd.DataFrame(columns)


# Columns of a score, and its fields.
OF_SCORE = (("score", "name"), ("unit", "unit"), ("better", "better"))


def _metrics(arms: Sequence[Arm]) -> pd.DataFrame:
    """Return what is reported beside the scores, a row for each arm and figure."""
    rows = []
    for arm in arms:
        task, score = of_arm(arm)
        # What training and validation reached is no figure of the test set, nor is how long it took.
        known = {
            name: None
            for record in arm.finished.values()
            for name, value in record["metrics"].items()
            if name not in (f"test_{score.name}", "selected_epoch", "epochs")
            and not name.startswith(("train_", "val_"))
            and isinstance(value, int | float)
        }
        for name in known:
            found = estimate(values([arm], name))
            statistics = {key: value[0] for key, value in _statistics("value", found).items()}
            rows.append(_keys(arm) | {"task": task, "metric": name, "n_seeds": int(found.n[0])} | statistics)
    return frame("metrics", rows)


def _statistics(name: str, found: Estimate) -> dict[str, Any]:
    return {
        f"{name}_mean": found.mean,
        f"{name}_std": found.std,
        f"{name}_ci95_low": found.ci95_low,
        f"{name}_ci95_high": found.ci95_high,
    }


def _overfitting(arms: Sequence[Arm], accuracy: Values) -> dict[str, Any]:
    """Return the columns that tell how much better the arms are on what they were trained on."""
    train = values(arms, "train_accuracy")
    gap = train - accuracy
    difference = estimate(gap - _of_references(arms, gap))
    return {
        "train_accuracy_mean": estimate(train).mean,
        "train_test_gap_mean": estimate(gap).mean,
        "train_test_gap_difference_mean": difference.mean,
        "train_test_gap_difference_ci95_low": difference.ci95_low,
        "train_test_gap_difference_ci95_high": difference.ci95_high,
    }


def _of_references(arms: Sequence[Arm], matrix: Values) -> Values:
    """Return for each arm the row of its reference; NaN where it has none or is one."""
    row_of = {arm.arm_id: row for row, arm in enumerate(arms)}
    others = np.full_like(matrix, np.nan)
    for row, arm in enumerate(arms):
        if arm.reference and not arm.is_reference and arm.finished:
            others[row] = matrix[row_of[arm.reference.arm_id]]
    return others


def _compared(arms: Sequence[Arm], accuracy: Values, compared: Mapping[str, Compared]) -> dict[str, Any]:
    """Return the columns that compare each arm with its reference, seed by seed."""
    rows = [comparison(compared[arm.arm_id]) for arm in arms]
    return {column.name: [row.get(column.name) for row in rows] for column in (*COMPARISON, *PROSPECTS)} | {
        "correlation_with_reference": correlation(accuracy, _of_references(arms, accuracy))
    }


def comparison(one: Compared) -> dict[str, Any]:
    """Return the columns of one arm's comparison."""
    row: dict[str, Any] = {"verdict": one.verdict, "flags": "; ".join(one.flags)}
    if one.looked is not None:
        row |= {"look_seeds": one.looked.seeds or None, "look_alpha": one.looked.alpha or None}
        row["next_look_seeds"] = one.looked.waits_for
    found, decision = one.found, one.decision
    if found is None or decision is None:
        return row
    low, high = _turned(*found.interval(0.95), one.sign)
    holm_low, holm_high = _turned(decision.low, decision.high, one.sign)
    tie_low, tie_high = _turned(decision.tie_low, decision.tie_high, one.sign)
    return row | {
        "n_paired": found.n,
        "difference_mean": one.sign * found.mean,
        "difference_std": found.std,
        "difference_noise": one.noise,
        "difference_seed_variance": found.seed_variance,
        "difference_image_variance": found.image_variance,
        "difference_se": found.se,
        "difference_ci95_low": low,
        "difference_ci95_high": high,
        "difference_p": found.p,
        "difference_p_seeds": found.p_seeds,
        "difference_p_holm": decision.p_holm,
        "difference_holm_level": decision.level,
        "difference_holm_low": holm_low,
        "difference_holm_high": holm_high,
        "margin": one.margin,
        "seeds_to_decide": decision.further_seeds,
        "tie_low": tie_low,
        "tie_high": tie_high,
        **_prospect(one.prospect),
    }


def _turned(low: float, high: float, sign: int) -> tuple[float, float]:
    """Return both ends of an interval of what is better as those of a difference of scores."""
    return (low, high) if sign > 0 else (-high, -low)


def _prospect(ahead: Prospect | None) -> dict[str, float]:
    if ahead is None:
        return {}
    chances = {f"chance_{n}_seeds": chance for n, chance in zip(SEEDS, ahead.chances, strict=True)}
    return chances | {"chance_any_seeds": ahead.ever}


def _below(differences: Sequence[float | None], errors: Values) -> list[bool | None]:
    """Return whether each difference is smaller than the test set's standard error; None where one is unknown."""
    return [
        None if mean is None or math.isnan(mean) or math.isnan(error) else abs(mean) < float(error)
        for mean, error in zip(differences, errors, strict=True)
    ]


def _first_number(arm: Arm, part: str, key: str) -> float:
    return number(first(arm, part).get(key))


def _count(value: Any) -> int | None:
    return value if is_whole(value) else None


def called(operator: str, arguments: str | None) -> str:
    """Return an operator with its arguments as it would be written.

    >>> called("AvgTopKPool2d", "k=2"), called("MaxPool2d", "")
    ('AvgTopKPool2d(k=2)', 'MaxPool2d')
    """
    return f"{operator}({arguments})" if arguments else operator


def _parameters_row(arm: Arm) -> dict[str, Any]:
    cost, audit = first(arm, "cost"), first(arm, "audit")
    sites, head, matched = audit.get("sites") or [], audit.get("head") or {}, audit.get("match") or {}
    operators = Counter(called(str(site.get("operator")), site.get("arguments")) for site in sites)
    return {
        **_keys(arm),
        **{
            key: _count(cost.get(key))
            for key in (
                *("parameters", "parameters_trainable", "parameters_pooling", "multiply_adds"),
                *("pooling_operations", "pooling_bytes_read", "pooling_bytes_written"),
                *("kept_bytes", "peak_bytes", "memory_batch_size"),
            )
        },
        "memory_method": str(cost.get("memory_method") or ""),
        "starting_weights": _weights(audit.get("starting_weights") or {}),
        "matched": str(matched.get("by") or ""),
        "width": matched.get("width", 1.0) if audit else None,
        "head_operator": called(str(head["operator"]), head.get("arguments")) if head.get("operator") else "",
        "head_features": _count(head.get("features")),
        "downsample_operators": "; ".join(f"{name} ×{n}" if n > 1 else name for name, n in operators.items()),
        "sites": len(sites) if audit else None,
    }


def _weights(loaded: Mapping[str, Any]) -> str:
    """Return which trained weights an arm starts from, and how many of them the surgery kept.

    >>> _weights({"source": "IMAGENET1K_V1", "loaded": 1000, "kept": 750, "exchanged": ["fc.weight"]}), _weights({})
    ('IMAGENET1K_V1, 75.0 % kept', '')
    """
    if not loaded:
        return ""
    return f"{loaded['source']}, {loaded['kept'] / max(loaded['loaded'], 1):.1%} kept".replace("%", " %")


def _throughput(arms: Sequence[Arm], speeds: Sequence[Record]) -> tuple[pd.DataFrame, list[str]]:
    by_id = {arm.arm_id: (row, arm) for row, arm in enumerate(arms)}
    keyed, strangers = [], 0
    for speed in speeds:
        if speed["arm_id"] not in by_id:
            strangers += 1
            continue
        position, arm = by_id[speed["arm_id"]]
        reference = by_id.get(str(speed.get("reference_arm_id")))
        row = {
            **_keys(arm),
            **{key: speed.get(key) for key in (*MACHINE, "allocator", "measured")},
            "threads": _count(speed.get("threads")),
            "compiled": compiled if isinstance(compiled := speed.get("compiled"), bool) else None,
            "clock": speed.get("clock") or "",
            "batch_size": _count(speed.get("batch_size")),
            "speed_reference": reference[1].variant if reference else speed.get("reference"),
            **{key: speed.get(key) or "" for key in ("implementation", "reference_implementation")},
        }
        for quantity, figure, ratio in QUANTITIES:
            found = section(section(speed, "quantities"), quantity)
            row[figure], row[ratio] = number(found.get("median")), number(found.get("ratio"))
            for end in ("ci95_low", "ci95_high"):
                row[f"{figure}_{end}"] = number(found.get(end))
                row[f"{ratio}_{end}"] = number(found.get(f"ratio_{end}"))
            settled = found.get("settled")
            row[f"{quantity}_settled"] = settled if isinstance(settled, bool) else None
        keyed.append(((position, str(speed["machine_id"])), row))
    keyed.sort(key=lambda item: item[0])
    warnings = []
    if strangers:
        warnings.append(f"{strangers} speed record{'s' * (strangers > 1)} of arms without a record here: left out")
    return frame("throughput", [row for _, row in keyed]), warnings


def _shown(throughput: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the throughput of one machine for each block: the one with most rows in it, the newest of equals."""
    rows_of: dict[tuple[str, str], dict[tuple[str, ...], list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in throughput.itertuples():
        rows_of[row.backbone, row.dataset][_machine(row)].append(row)  # type: ignore[index]
    chosen: list[int] = []
    several = False
    for machines in rows_of.values():
        several |= len(machines) > 1
        best = max(machines.values(), key=lambda rows: (len(rows), max(str(row.measured) for row in rows)))
        chosen += [row.Index for row in best]
    warning = (
        "speed was measured on several machines or settings; the summary shows for each block the one with most arms, "
        "the newest of equals; throughput.csv has all"
    )
    shown = throughput.loc[sorted(chosen)].drop_duplicates(ARM_ID.name, keep="last")
    return shown, [warning] if several else []


def _machine(row: Any) -> tuple[str, ...]:
    return tuple(str(getattr(row, key)) for key in MACHINE)
