"""Writes the measured figures of README.md and docs/*.md, and the README's picture, from results/reference.

    python benchmarks/figures/write.py             # after a table there has changed
    python benchmarks/figures/write.py --check     # lists the differences, changes nothing

Each place on a page names a template of this folder; the template names rows by their columns, never by their
number, and words such as "gains" are chosen by the figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound, select_autoescape

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.figures import front_picture, speed_ratios, wording
from benchmarks.figures.pages import Difference, differences, filled, places
from benchmarks.figures.result_files import ResultFiles, ends, number
from sla_bench.errors import UserError, unknown
from sla_bench.records.files import write_text

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(__file__).parent / "templates"
RESULTS = ROOT / "results" / "reference"
PUBLISHED = ROOT / "sla_bench" / "tables" / "published.csv"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_WORDS: dict[str, Callable[..., object]] = {
    function.__name__: function
    for function in (
        wording.accuracy, wording.between, wording.decimals, wording.gain, wording.interval,
        wording.new_classes, wording.own_accuracy, wording.reference_accuracy,
        wording.shares, wording.signed_gain, wording.times, wording.times_between,
        speed_ratios.least_ratios, speed_ratios.others, speed_ratios.settings, ends, number,
    )
}  # fmt: skip


def renderer(results: Path, templates: Path = TEMPLATES) -> Callable[[str], str]:
    """Make the function that turns the name of a template into its text, with the figures of tables.

    Args:
        results: holds the tables, see `ResultFiles`.
        templates: holds `<name>.md`, Jinja templates.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=select_autoescape(default=False, enabled_extensions=()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files = ResultFiles(results, {"published": PUBLISHED})
    environment.globals |= {**_WORDS, "row": files.row, "rows": files.rows, "value": files.value}

    def render(name: str) -> str:
        try:
            return environment.get_template(f"{name}.md").render().strip("\n")
        except TemplateNotFound:
            known = sorted(path.stem for path in templates.glob("*.md"))
            raise unknown("template of figures", name, known) from None

    return render


def check(pages: Iterable[Path], render: Callable[[str], str]) -> list[Difference]:
    """All differences of all pages.

    Raises:
        UserError: a table, a row, a template or the end of a place is missing.
    """
    return [found for page in pages for found in differences(page, page.read_text(encoding="utf-8"), render)]


def write(pages: Iterable[Path], render: Callable[[str], str]) -> list[Path]:
    """Write all figures; returns the pages that have changed.

    Raises:
        UserError: as `check`; no page has changed then.
    """
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    new = {page: filled(page, text, render) for page, text in texts.items()}
    changed = [page for page in texts if new[page] != texts[page]]
    for page in changed:
        write_text(page, new[page])
    return changed


def unused(pages: Iterable[Path], templates: Path = TEMPLATES) -> list[str]:
    """Templates that no page names."""
    named = {place.template for page in pages for place in places(page, page.read_text(encoding="utf-8"))}
    return sorted({path.stem for path in templates.glob("*.md")} - named)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run; returns 1 where `--check` finds a difference, 2 where something is missing.

    Args:
        arguments: of the command line; those of the process if None.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if anything differs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables")
    options = parser.parse_args(arguments)
    render = renderer(options.results)
    try:
        table = front_picture.drawn(ResultFiles(options.results))
        current = front_picture.is_of(table, options.results)
        if options.check:
            found = [*map(str, check(PAGES, render))]
            found += [] if current else [f"{options.results / 'gains.png'} shows other figures"]
            print(*found, sep="\n", end="\n" if found else "")
            return int(bool(found))
        changed = write(PAGES, render)
        changed += [] if current else front_picture.write(table, options.results)
        print(*changed, sep="\n")
        return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
