"""Equal things are kept once, and JSON that may stand inside a page."""

from __future__ import annotations

import json
from typing import Any

# In a script element of a page these could end it, start a comment, or break a line of JavaScript.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Pool:
    """Numbers JSON values in the order of their first appearance, equal ones alike."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.items: list[Any] = []

    def add(self, item: Any) -> int:
        """Return the number of a value."""
        place = self._places.setdefault(json.dumps(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


def script_json(content: Any) -> str:
    """Return JSON without a character that means something to HTML."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
