"""Sequences of letters as examples (4, L): planted motifs, and labelled sequences from files."""
