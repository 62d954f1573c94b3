"""Rows of records read before, in one file for each scenario."""

from __future__ import annotations

import gc
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Pause the search: among a million new objects that all stay, it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# The file can be deleted at any time. Where it can't be opened or written, everything is read from the
# folders; where it is damaged, or is another program's, it is replaced.


# Rises with the layout of what is kept, and with what is checked before.
_VERSION = 8
_PATIENCE = 5.0
_TABLE = "CREATE TABLE cached (kind TEXT, name TEXT, signature TEXT, content BLOB, PRIMARY KEY (kind, name))"


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
                found = ((name, signature, _checked(signature, content)) for name, signature, content in rows)
                return {name: (signature, kept) for name, signature, kept in found if kept is not None}
        except sqlite3.Error as error:
            self._discard(error)
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
                    ((kind, name, kept[0], _sum(*kept) + kept[1]) for name, kept in changed.items()),
                )
                database.executemany(
                    "DELETE FROM cached WHERE kind = ? AND name = ?", ((kind, name) for name in gone)
                )
        except sqlite3.Error as error:
            # A cache that can't be written costs time, nothing else.
            self._discard(error)

    def _discard(self, error: sqlite3.Error) -> None:
        """Delete what is not a cache; one that is locked or can't be read or written stays."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=_PATIENCE)
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            found = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            if version == _VERSION and found != [(_TABLE,)]:
                raise sqlite3.DatabaseError("tables of another program")
            if version != _VERSION:
                with database:
                    database.execute("DROP TABLE IF EXISTS cached")
                    database.execute(_TABLE)
                    database.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            database.close()
            raise
        return database


def _sum(signature: str, content: bytes) -> bytes:
    """Four bytes that tell damage, not forgery."""
    return zlib.crc32(content, zlib.crc32(signature.encode())).to_bytes(4, "big")


def _checked(signature: object, content: object) -> bytes | None:
    """The content without its sum; None where it is damaged."""
    if not isinstance(signature, str) or not isinstance(content, bytes):
        return None
    return content[4:] if content[:4] == _sum(signature, content[4:]) else None
