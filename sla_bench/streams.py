"""Text for terminals: streams and lines without characters that cannot be printed."""

from __future__ import annotations

import io
import sys


def forgive_characters() -> None:
    """Let the standard streams replace a character that their encoding lacks by a question mark.

    A stream whose `errors` somebody has chosen (`PYTHONIOENCODING=ascii:xmlcharrefreplace`) keeps them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def one_line(text: str) -> str:
    """Text without line breaks and control characters, which a name from outside may have."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
