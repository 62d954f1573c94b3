"""Code, commands and links on pages, and a check of the commands."""

import re
import shlex
from pathlib import Path

import pytest
from pretrained_networks import HAS_LITE0

from sla_bench.cli.app import app
from sla_bench.cli.options import TrainingExecution
from sla_bench.grids.files import open_grid_file
from sla_bench.grids.tasks import form_of, options_model, span
from sla_bench.registry import DATASETS, SCENARIOS

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
_COMMAND = re.compile(r"python3? -m sla_bench\b([^\n`]*)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page, language=""):
    # One expression for all languages: else the end of a block is taken for the beginning of the next.
    return [text for name, text in _BLOCK.findall(page.read_text()) if name == language]


def commands(page):
    """The words behind `python -m sla_bench` of each command, in blocks and in running text."""
    # In a paragraph a command may be broken into lines as any sentence is.
    prose = _BLOCK.sub("", page.read_text())
    inline = [match.replace("\n", " ") for match in re.findall(r"`(python -m sla_bench [^`]+)`", prose)]
    fenced = [line for text in blocks(page) for line in text.replace("\\\n", " ").splitlines()]
    found = [match[1] for line in (*inline, *fenced) for match in _COMMAND.finditer(line)]
    words = [shlex.split(command.partition("&&")[0], comments=True) for command in found]
    return [w for w in words if "..." not in w]


def links(page):
    """Paths that a page links to or shows, relative to it."""
    text = page.read_text()
    return re.findall(r"\]\((?!https?:)([^)#]+)", text) + re.findall(r'src="([^"]+)"', text)


def anchors(page):
    """Path, empty on the page itself, and anchor of each link to a heading of a page."""
    return re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text())


def headings(page):
    """Anchors of a page's headings, as forges and MkDocs make them."""
    text = _BLOCK.sub("", page.read_text())
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def check_command(words):
    """Parse a command, and span what a grid of it would run; nothing is read or run.

    Raises:
        Exception: an option, a value or a name is wrong.
    """
    if any(word.startswith("pretrained:") for word in words) and not HAS_LITE0:
        pytest.skip("weights of Lite0 are not installed (extra pretrained-small)")
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)[:3]
    if "--help" in words:
        return
    given = bound.arguments
    if words[:1] in (["run"], ["tune"]):
        if words[1] in SCENARIOS:
            form = form_of(words[1])
            values = given.get("options", options_model(form)()).model_dump()
            if given.get("controls"):
                values["method"] = [*values["method"], "controls"]
            assert span(form, values, given.get("set_") or []), words
        else:
            elsewhere = (*TrainingExecution.model_fields, "yes")
            assert open_grid_file(ROOT / given["file"], True, elsewhere).tasks(), words
    if words[:1] == ["datasets"] and given.get("name", "NAME") != "NAME":
        DATASETS.check(given["name"])
    assert command
