"""Numbers as they are typeset."""

from __future__ import annotations

from typing import Any

import pandas as pd


def typeset(text: str) -> str:
    """Return a text of figures with the signs of print."""
    return text.replace("+-", "±").replace("-", "\N{MINUS SIGN}")


def number(value: Any, form: str) -> str:
    """Return a number in the given format, or an empty text where it is missing."""
    return "" if pd.isna(value) else typeset(format(value, form))


def interval(low: Any, high: Any, form: str) -> str:
    """Return both ends, or an empty text where they are missing."""
    return "" if pd.isna(low) else f"{number(low, form)} to {number(high, form)}"
