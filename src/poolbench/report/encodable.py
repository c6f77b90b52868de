"""Texts that UTF-8 can hold: names of files and folders need not be in it, and a report shows a `?` for what is not."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def encoded(text: str) -> bytes:
    """Return a text in UTF-8."""
    return text.encode(errors="replace")


def encodable(value: Any) -> Any:
    """Return what JSON holds with texts that can be written in UTF-8.

    >>> encodable({"root": ["caf\\udce9", 3]})
    {'root': ['caf?', 3]}
    """
    if isinstance(value, str):
        return value if value.isascii() else encoded(value).decode()
    if isinstance(value, Mapping):
        return {encodable(key): encodable(inner) for key, inner in value.items()}
    return [encodable(inner) for inner in value] if isinstance(value, list) else value


def encodable_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with such texts: itself where it has no others."""
    texts = {}
    for name, kind in table.dtypes.items():
        values = table[name].tolist() if pd.api.types.is_object_dtype(kind) else []
        if (own := encodable(values)) != values:
            texts[str(name)] = pd.Series(own, index=table.index, dtype=object)
    return table.assign(**texts) if texts else table
