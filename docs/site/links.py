"""Links of the site that leave docs/."""

# A forge shows the whole repository, the site only docs/: a link to another folder leads to the forge, or
# becomes plain text where `repo_url` is not set.

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """The page with its links to other folders changed; MkDocs calls this for each page."""
    there = rf"[\1]({config.repo_url.rstrip('/')}/blob/HEAD/\2)" if config.repo_url else r"\1"
    return OUTSIDE.sub(there, markdown)
