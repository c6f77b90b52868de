"""Heads: poolings of the whole last map, one definition a file."""
