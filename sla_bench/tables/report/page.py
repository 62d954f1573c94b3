"""The report as one HTML file, a pure function of the records."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sla_bench.records.files import write_output
from sla_bench.records.store import Store
from sla_bench.tables.report.details import Details, script_json
from sla_bench.tables.report.sections import METHOD, Section, section_of

_MOST_ROWS = 200
"""More rows of a table are shown when they are asked for: the layout of thousands takes a second."""


def write_report(stores: Iterable[Store], path: Path) -> list[Section]:
    """Write the report of some scenarios and return what it shows.

    Args:
        stores: one per scenario, in the order of the page.
        path: the HTML file, as `write_output` takes it.

    Raises:
        UserError: the file can't be written.
    """
    details = Details()
    sections = [section_of(store, details) for store in stores]
    content = page(sections, details).encode()
    write_output(path, lambda file: file.write(content))
    return sections


def page(sections: list[Section], details: Details) -> str:
    """Return the page: the same sections give the same text.

    Style and script stand inside it and are admitted by their hash; whatever else a browser could fetch or
    run is forbidden by the page's own policy, and every text from the records is escaped.
    """
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        sections=sections,
        method=METHOD,
        most=_MOST_ROWS,
        details=Markup(script_json(details.content())),
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
    )


def _asset(name: str) -> str:
    return (resources.files("sla_bench.tables.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a content security policy names an admitted text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
