"""Coding sequences from a FASTA file, cut into stretches."""

from pathlib import Path

import numpy as np
import torch

from poolbench.data.sequences.files import FASTA, NAMED, Labelled, read_sequences
from poolbench.errors import DataError

REFUSE, LEAVE_OUT = "refuse", "leave_out"


def read_genes(path: Path, incomplete: str) -> tuple[list[Labelled], list[str]]:
    """Return the sequences of a FASTA file that are whole numbers of codons, and notes on those left out.

    Args:
        path: the file.
        incomplete: what becomes of sequences whose length is no multiple of three, and of those with ambiguous letters:
            `refuse` them all, or `leave_out` those.

    Raises:
        DataError: the file cannot be read, is no FASTA file, or has such sequences and they are refused; by line.
    """
    if path.suffix.lower() not in FASTA:
        raise DataError(f"`dataset.root`: {path} must be a FASTA file of coding sequences ({', '.join(FASTA)})")
    genes = read_sequences(path)
    notes = []
    for what, wrong in (
        ("a length that is no multiple of three", [gene for gene in genes if gene.levels.shape[1] % 3]),
        ("ambiguous letters", [gene for gene in genes if gene.ambiguous]),
    ):
        if wrong and incomplete == REFUSE:
            more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            named = "; ".join(f"{gene.where}: {gene.levels.shape[1]} letters" for gene in wrong[:NAMED])
            raise DataError(
                f"{path}: {len(wrong)} of {len(genes)} sequences have {what}, so their reading frame is not known: "
                f"{named}{more}; mend them, or leave them out by dataset.incomplete={LEAVE_OUT}"
            )
        if wrong:
            notes.append(f"{len(wrong)} of {len(genes)} sequences with {what} were left out")
    whole = [gene for gene in genes if gene.levels.shape[1] % 3 == 0 and not gene.ambiguous]
    return whole, notes


def stretches(genes: list[Labelled], length: int, generator: torch.Generator) -> np.ndarray:
    """Return stretches of `length` letters side by side from each sequence, 0..3 as uint8 (N, length).

    The first of a sequence begins behind its start codon, at one of three places: each is read in a random frame, and
    so are those behind it. The stop at the end is left out.
    """
    found = []
    for gene in genes:
        letters = gene.levels.argmax(0).astype(np.uint8)[3:-3]
        begin = int(torch.randint(3, (), generator=generator))
        # From stretch to stretch the frame changes only by what the length leaves over, so each gets its own.
        while begin + length <= len(letters):
            found.append(letters[begin : begin + length])
            begin += length + int(torch.randint(3, (), generator=generator))
    return np.stack(found) if found else np.zeros((0, length), np.uint8)
