"""Files in the layouts of the UCR archive: a labelled series a line, as `.tsv`, `.txt` or `.ts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolbench.errors import DataError

PARTS = ("TRAIN", "TEST")
SUFFIXES = (".tsv", ".txt", ".ts")
NAMED = 5
NO_CLASS = ("", "?", "nan")


@dataclass(frozen=True, eq=False)
class Series:
    """The series of one file.

    Args:
        path: the file.
        lines: of each, the line that it stands on, from 1.
        classes: class of each, as written.
        values: float32 (N, C, L); NaN where the file says that a value is missing.
    """

    path: Path
    lines: tuple[int, ...]
    classes: tuple[str, ...]
    values: np.ndarray


def pair_of_files(root: Path, name: str | None) -> tuple[str, Path, Path]:
    """Return NAME and the files `NAME_TRAIN` and `NAME_TEST` below `root`, both of one suffix.

    Args:
        root: the folder.
        name: NAME, where `root` holds several; None: there is one.

    Raises:
        DataError: the folder is absent, holds no such pair, or several and `name` does not say which.
    """
    layout = f"NAME_TRAIN and NAME_TEST with one of {', '.join(SUFFIXES)}"
    if not root.is_dir():
        raise DataError(f"`dataset.root`: {root} is no folder; it must hold {layout}")
    found: dict[str, tuple[Path, Path]] = {}
    for suffix in SUFFIXES:
        for train in sorted(root.glob(f"*_TRAIN{suffix}")):
            own = train.name.removesuffix(f"_TRAIN{suffix}")
            test = root / f"{own}_TEST{suffix}"
            if test.is_file():
                found.setdefault(own, (train, test))
    if name is None and len(found) > 1:
        raise DataError(f"{root} holds several: {', '.join(sorted(found))}; say which by dataset.series=NAME")
    if not found or (name is not None and name not in found):
        wanted = f"{name}_TRAIN and {name}_TEST" if name is not None else layout
        has = f"; it has {', '.join(sorted(found))}" if found else ""
        raise DataError(f"`dataset.root`: {root} must hold {wanted}{has}")
    own = next(iter(found)) if name is None else name
    return own, *found[own]


def read_series(path: Path) -> Series:
    """Return the series of a file.

    A `.tsv` or `.txt` line is the class, then the values, with tabs, commas or spaces between. A `.ts` line has its
    channels between colons, values between commas, the class last; lines of # and @ are passed over. NaN, ? and
    nothing between two separators are missing values. A class that is a whole number is known by its value: 1, 1.0 and
    1.0e+00 are one.

    Raises:
        DataError: the file cannot be read, a line is of another form, or lengths differ; by file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    lines, classes, values = [], [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (path.suffix == ".ts" and line.lstrip()[0] in "#@"):
            continue
        *channels, class_name = line.strip().split(":") if path.suffix == ".ts" else _plain(line)
        if not channels:
            raise DataError(f"{path}, line {number}: must be VALUES:CLASS, got no class")
        if class_name.strip().lower() in NO_CLASS:
            raise DataError(f"{path}, line {number}: no class, got {class_name.strip()!r}; name it, or remove the line")
        try:
            found = [[_number(value) for value in one.split(",")] for one in channels]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; values must be numbers, or NaN or ? for none") from None
        lines.append(number)
        classes.append(_class_name(class_name.strip()))
        values.append(found)
        shape, first = [len(one) for one in found], [len(one) for one in values[0]]
        if not found or shape != first or len(set(shape)) > 1:
            raise DataError(
                f"{path}, line {number}: series must have equal lengths and channels, {first} values as in line "
                f"{lines[0]}, got {shape}; cut or pad them"
            )
    if not values:
        raise DataError(f"{path} has no series")
    return Series(path, tuple(lines), tuple(classes), np.array(values, np.float32))


def _plain(line: str) -> tuple[str, str]:
    separator = next((mark for mark in "\t," if mark in line.rstrip().lstrip(" ")), None)
    class_name, *values = line.strip("\r\n").split(separator) if separator else line.split()
    return ",".join(values), class_name


def _class_name(written: str) -> str:
    """Return a class as it is named: of a whole number, that number.

    >>> _class_name("1.0000000e+00"), _class_name("-1"), _class_name("normal"), _class_name("007")
    ('1', '-1', 'normal', '007')
    """
    try:
        value = float(written)
    except ValueError:
        return written
    return str(int(value)) if value.is_integer() and not written.lstrip("-").isdecimal() else written


def _number(written: str) -> float:
    """Return a value; nothing between two separators is a missing one."""
    return float("nan") if written.strip() in ("", "?") else float(written)


def without_missing(series: Series, missing: str) -> np.ndarray:
    """Return the values, float32 (N, C, L), with no NaN left.

    Args:
        series: of one file.
        missing: `error` refuses missing values; `interpolate` draws a line between the neighbours that are there, and
            repeats the first and last of them towards the ends.

    Raises:
        DataError: values are missing and refused, none is there to go by, or a value is infinite; by file and line.
    """
    values = series.values.copy()
    infinite = np.flatnonzero(np.isinf(values).any((1, 2)))
    if len(infinite):
        raise DataError(f"{series.path}: infinite values in {_lines(series, infinite)}")
    missed = np.isnan(values)
    rows = np.flatnonzero(missed.any((1, 2)))
    if len(rows) and missing == "error":
        raise DataError(
            f"{series.path}: {int(missed.sum()):,} values are missing, in {_lines(series, rows)}; mend them, or have "
            "them interpolated: dataset.missing=interpolate"
        )
    places = np.arange(values.shape[2])
    for row in rows:
        for channel, gone in zip(values[row], missed[row], strict=True):
            if gone.all():
                raise DataError(f"{series.path}, line {series.lines[row]}: a channel has no value at all")
            channel[gone] = np.interp(places[gone], places[~gone], channel[~gone])
    return values


def _lines(series: Series, rows: Sequence[int] | np.ndarray) -> str:
    named = ", ".join(str(series.lines[row]) for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"line{'s' if len(rows) > 1 else ''} {named}{more}"


def class_names(train: Sequence[str], test: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the classes of the training part, sorted as numbers where all are numbers, else as text.

    Raises:
        DataError: there is one class, or the test has another.

    >>> class_names(["10", "2", "2"], ["10"], "demo")
    ('2', '10')
    """
    found = set(train)
    try:
        names = sorted(found, key=float)
    except ValueError:
        names = sorted(found)
    if len(names) < 2:
        raise DataError(f"{where}: the training part has one class, {names[0]}; there must be at least two")
    strange = sorted(set(test) - found)
    if strange:
        raise DataError(f"{where}: the test has classes that the training part lacks: {', '.join(strange[:NAMED])}")
    return tuple(names)
