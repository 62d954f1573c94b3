"""What was read from the record folders of a scenario, in one file, so that it is read once.

The file can be deleted at any time. Where it can't be opened or written, everything is read from the folders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

# Rises with the layout of what is kept.
_VERSION = 1
_PATIENCE = 5.0


class RecordCache:
    """Texts or bytes by (kind, name), each with a signature of the files that it was made from.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, kind: str) -> dict[str, tuple[str, bytes]]:
        """Everything of one kind: name -> (signature, content)."""
        if not self.path.exists():
            return {}
        try:
            with closing(self._open()) as database:
                rows = database.execute("SELECT name, signature, content FROM cached WHERE kind = ?", (kind,))
                return {name: (signature, content) for name, signature, content in rows}
        except sqlite3.Error:
            return {}

    def update(self, kind: str, changed: Mapping[str, tuple[str, bytes]], gone: Iterable[str] = ()) -> None:
        """Keep what was read anew, and forget what is no longer there."""
        gone = list(gone)
        if not changed and not gone:
            return
        try:
            with closing(self._open()) as database, database:
                database.executemany(
                    "INSERT OR REPLACE INTO cached VALUES (?, ?, ?, ?)",
                    ((kind, name, signature, content) for name, (signature, content) in changed.items()),
                )
                database.executemany(
                    "DELETE FROM cached WHERE kind = ? AND name = ?", ((kind, name) for name in gone)
                )
        except sqlite3.Error:
            # A cache that can't be written costs time, nothing else.
            return

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=_PATIENCE)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                with database:
                    database.execute("DROP TABLE IF EXISTS cached")
                    database.execute(
                        "CREATE TABLE cached (kind TEXT, name TEXT, signature TEXT, content BLOB, "
                        "PRIMARY KEY (kind, name))"
                    )
                    database.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            database.close()
            raise
        return database
