"""Standard streams that print what they can."""

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
