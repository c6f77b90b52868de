"""Labelled sequences from text files: `CLASS<tab>SEQUENCE` a line, or a FASTA file for each class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolbench.data.sequences.alphabet import ambiguous_letters, encode
from poolbench.errors import DataError

PARTS = ("train", "test")
FASTA = (".fa", ".fasta", ".fna")
NAMED = 5


@dataclass(frozen=True)
class Labelled:
    """One sequence of a file.

    Args:
        where: file and line, for messages.
        class_name: its class.
        levels: uint8 (4, L), see `poolbench.data.sequences.alphabet.encode`.
        ambiguous: how many of its letters stand for more than one base.
    """

    where: str
    class_name: str
    levels: np.ndarray
    ambiguous: int


def part_files(root: Path, pair: str | None) -> dict[str, list[Path]]:
    """Return the files of `train` and `test` below `root`.

    Either `NAME_train.tsv` and `NAME_test.tsv` (or `train.tsv` and `test.tsv`), or the folders `train` and `test` with
    a FASTA file for each class.

    Args:
        root: the folder.
        pair: NAME, where several such pairs lie in `root`; None: there is one.

    Raises:
        DataError: the folder is absent, holds none, or holds several and `pair` does not say which.
    """
    layout = "NAME_train.tsv and NAME_test.tsv (CLASS<tab>SEQUENCE), or train/CLASS.fasta and test/CLASS.fasta"
    if not root.is_dir():
        raise DataError(f"`dataset.root`: {root} is no folder; it must hold {layout}")
    names = {path.name for path in root.iterdir() if path.is_file()}
    pairs = sorted(
        name.removesuffix("train.tsv").removesuffix("_")
        for name in names
        if (name == "train.tsv" or name.endswith("_train.tsv")) and f"{name.removesuffix('train.tsv')}test.tsv" in names
    )
    if pair is None and len(pairs) > 1:
        raise DataError(f"{root} holds several pairs of files: {', '.join(pairs)}; say which by dataset.pair=NAME")
    if pair is not None and pair not in pairs:
        raise DataError(
            f"`dataset.pair` must be one of {', '.join(pairs) or 'none'}, the pairs in {root}, got {pair!r}"
        )
    if pairs:
        before = f"{pair or pairs[0]}_" if pair or pairs[0] else ""
        return {part: [root / f"{before}{part}.tsv"] for part in PARTS}
    files = {
        part: sorted(
            path
            for path in ((root / part).iterdir() if (root / part).is_dir() else ())
            if path.suffix.lower() in FASTA and not path.name.startswith(".")
        )
        for part in PARTS
    }
    if not all(files.values()):
        raise DataError(f"`dataset.root`: {root} must hold {layout}; it has neither")
    if [path.stem for path in files["train"]] != [path.stem for path in files["test"]]:
        raise DataError(
            f"the classes of {root / 'train'} and {root / 'test'} differ: "
            f"{', '.join(path.stem for path in files['train'])} and {', '.join(path.stem for path in files['test'])}"
        )
    return files


def read_sequences(path: Path) -> list[Labelled]:
    """Return the sequences of a file in its order; their class is a FASTA file's name, or the first column of a table.

    Raises:
        DataError: the file cannot be read, has no sequence, or a line is of neither form; by file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    lines = _of_fasta(path, text) if path.suffix.lower() in FASTA else _of_table(path, text)
    found, faults = [], []
    for where, class_name, letters in lines:
        try:
            levels = encode(letters)
        except ValueError as error:
            faults.append(f"{where}: {error}")
            continue
        if not class_name or not letters:
            faults.append(f"{where}: no {'class' if not class_name else 'letters'}")
            continue
        found.append(
            Labelled(f"{path.parent.name}/{path.name}, {where}", class_name, levels, ambiguous_letters(letters))
        )
    if faults:
        more = f"\n  and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise DataError(
            f"{len(faults)} sequences of {path} cannot be read: letters are A, C, G, T (U) and those of IUPAC for "
            "several bases (N, R, Y, …), no gaps; mend or remove them:\n  " + "\n  ".join(faults[:NAMED]) + more
        )
    if not found:
        raise DataError(f"{path} has no sequence")
    return found


def _of_table(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 2:
            raise DataError(f"{path}, line {number}: must be CLASS<tab>SEQUENCE, got {len(cells)} columns")
        yield f"line {number}", cells[0].strip(), cells[1].strip()


def _of_fasta(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    where, letters = "", list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(">"):
            if where:
                yield where, path.stem, "".join(letters)
            where, letters = f"line {number} ({line[1:].split(maxsplit=1)[0] if line[1:].strip() else '>'})", []
        elif line.strip():
            if not where:
                raise DataError(f"{path}, line {number}: a FASTA file begins with a line of > and a name")
            letters.append(line.strip())
    if where:
        yield where, path.stem, "".join(letters)
