"""The numbers of Markdown tables by row and column, without their words."""

import re

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_CLOCK = ("train s",)


def tables_of(text, names):
    """Each table of a page as row -> cells -> numbers of the cell.

    A row is known by those of its cells that are `names`; these and columns of seconds are left out.
    """
    tables = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        heading, _, *rows = [_cells(line) for line in block.splitlines()]
        table = {}
        for cells in rows:
            key = " | ".join(cell for cell in cells if cell in names)
            assert key not in table, f"two rows of a table are called {key!r}"
            kept = zip(heading, cells, strict=True)
            table[key] = [[] if c in names else _numbers(c) for h, c in kept if h not in _CLOCK]
        tables.append(table)
    return tables


def _cells(line):
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]


def _numbers(cell):
    return [float(number.replace(",", "")) for number in _NUMBER.findall(cell)]


def table_differences(old, tables, equal):
    """Compare a table with the most similar one of a page.

    A column of `old` is found by its numbers in all rows, from left to right: headings may change, new rows
    and columns may come.

    Args:
        old: a table as `tables_of` returns it.
        tables: the tables of the other page.
        equal: says of two numbers that they are equal.

    Returns:
        Row (and column), old numbers, new numbers or, where they are missing, None.
    """
    found = [_against(old, table, equal) for table in tables]
    missing = [(row, cells, None) for row, cells in old.items()]
    return min(found, key=lambda d: (sum(new is None for _, _, new in d), len(d)), default=missing)


def _against(old, new, equal):
    missing = [(row, cells, None) for row, cells in old.items() if row not in new]
    rows = [row for row in old if row in new]
    if not rows:
        return missing
    width, start, changed = len(new[rows[0]]), 0, []
    for column in range(len(old[rows[0]])):
        if not any(old[row][column] for row in rows):
            continue
        differing = {
            place: [row for row in rows if not _same(old[row][column], new[row][place], equal)]
            for place in range(start, width)
        }
        if not differing:
            changed += [(f"{row}, column {column + 1}", old[row][column], None) for row in rows]
            continue
        place = min(differing, key=lambda place: len(differing[place]))
        changed += [
            (f"{row}, column {column + 1}", old[row][column], new[row][place]) for row in differing[place]
        ]
        start = place + 1
    return missing + changed


def _same(old, new, equal):
    return len(old) == len(new) and all(map(equal, old, new))
