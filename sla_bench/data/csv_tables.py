"""Tables of comma-separated values with a head, as strangers write them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from sla_bench.errors import UserError

_LONGEST_HEAD = 1 << 16
"""Characters."""
MOST_COLUMNS = 100
"""A row that lacks cells gets an empty one for each column of the head."""


def read_table(path: Path, skip_spaces: bool = False, delimiters: str = ",") -> Iterator[dict[str, str]]:
    """Rows of a table, the first of which is its head: column -> cell, empty where the row is too short.

    Args:
        path: UTF-8, with or without a byte order mark.
        skip_spaces: those after a comma do not count.
        delimiters: the character of these that is most frequent in the head separates cells.

    Yields:
        First a row of the head's own names, then the others.

    Raises:
        UserError: unreadable, no text, or more than MOST_COLUMNS columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline(_LONGEST_HEAD)
            file.seek(0)
            delimiter = max(delimiters, key=head.count)
            reader = csv.reader(file, skipinitialspace=skip_spaces, delimiter=delimiter)
            names = next(reader, [])
            if len(names) > MOST_COLUMNS:
                raise UserError(f"{path} has {len(names):,} columns; is it a list of images?")
            yield {name: name for name in names}
            for cells in reader:
                if cells:
                    yield {**dict.fromkeys(names, ""), **dict(zip(names, cells, strict=False))}
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path}: it is not UTF-8; save it as UTF-8") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
