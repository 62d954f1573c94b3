"""How help, messages, docs and module docstrings are worded."""

import ast
import itertools
import re

import pytest
from cyclopts import App
from documented import PAGES, ROOT

from sla_bench.cli.app import app, run_command_line

# `unfold`, torch's function, stands in code only.
REFUSED = re.compile(
    r"\b(mend(s|ed|ing)?|pass(es|ed|ing)? over|go(es|ing|ne)? on|went on|unfold(s|ed|ing)?|anew|further"
    r"|(make|makes|made|making) (\w+ ){0,2}again)\b",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?:^|(?<=[.!?]) )([^.!?]+(?:[.!?](?! |$)[^.!?]*)*[.!?]?)")
OPENING = re.compile(r"\W*(What|Whether|Of)\b", re.IGNORECASE)
TEXTS = [
    ROOT / "README.md",
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "datasets" / "README.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "results").glob("**/README.md")),
]
PACKAGE = sorted((ROOT / "sla_bench").rglob("*.py"))
MOST_WORDS = 12


def refused(text):
    """Words and openings of sentences, of a text in one line, that are not wanted; a question may open so."""
    found = [match[0] for match in REFUSED.finditer(text)]
    sentences = [match[1] for match in SENTENCE.finditer(text)]
    return found + [s for s in sentences if OPENING.match(s) and not s.endswith("?")]


def paragraphs(markdown):
    """Paragraphs, list items, headings and cells of a page, each in one line, without code and comments."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->|`[^`]*`", " CODE ", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)|\*\*|<[^>]*>", "", text)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) |#)|(?<=\n)#+ .*|\|", text)
    return [" ".join(part.split()).lstrip("#*- ") for part in parts if part.strip()]


def unreleased(changelog):
    return re.search(r"^## Unreleased\n(.*?)^## ", changelog, flags=re.DOTALL | re.MULTILINE)[1]


def messages(source):
    """Texts of a module that are raised, or that are given to `UserError`, each in one line."""
    for node in ast.walk(ast.parse(source)):
        is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError"
        if isinstance(node, ast.Raise) or is_error:
            yield from _texts(node)


def _texts(node):
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
        yield " ".join("".join(map(str, parts)).split())
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield " ".join(node.value.split())
    else:
        yield from itertools.chain(*map(_texts, ast.iter_child_nodes(node)))


def commands(parent, *words):
    """The words of each command and subcommand."""
    yield words
    for name in parent:
        if not name.startswith("-") and isinstance(parent[name], App):
            yield from commands(parent[name], *words, name)


def long_docstring(source):
    text = ast.get_docstring(ast.parse(source)) or ""
    return text if len(text.split()) > MOST_WORDS else ""


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page):
    assert [f for text in paragraphs(page.read_text()) for f in refused(text)] == []


def test_the_next_release_in_the_changelog():
    text = unreleased((ROOT / "CHANGELOG.md").read_text())
    assert [f for part in paragraphs(text) for f in refused(part)] == []


@pytest.mark.parametrize("words", [*commands(app)], ids=" ".join)
def test_help(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert run_command_line([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    parts = [part.strip() for line in lines for part in re.split(r"[│\[]|\s{2,}", line)]
    assert [f for part in parts for f in refused(part)] == []
    assert len(parts) > 3


def test_messages():
    found = {str(p.relative_to(ROOT)): [*map(refused, messages(p.read_text()))] for p in PACKAGE}
    assert {path: flaws for path, texts in found.items() if (flaws := [f for t in texts for f in t])} == {}
    assert sum(map(len, found.values())) > 300


def test_module_docstrings_are_short():
    found = {str(p.relative_to(ROOT)): long_docstring(p.read_text()) for p in PACKAGE}
    assert {path: text for path, text in found.items() if text} == {}


@pytest.mark.parametrize(
    ("text", "flaws"),
    [
        ("Only the newest release is mended.", ["mended"]),
        ("The rest goes on, is passed over, and made anew.", ["goes on", "passed over", "anew"]),
        ("The command makes it again and unfolds further rows.", ["makes it again", "unfolds", "further"]),
        ("What is read is kept.", ["What is read is kept."]),
        ("It is read. Of others nothing is kept.", ["Of others nothing is kept."]),
        ("**Whether** it fits: see 1.5 below.", ["**Whether** it fits: see 1.5 below."]),
        ("What are ways? They say of what it is made.", []),
        ("A recommended amendment; it goes to the pass, over there, again.", []),
    ],
)
def test_made_up_sentences(text, flaws):
    assert refused(text) == flaws


def test_made_up_pages():
    page = "# What it is\n\nKept `goes on`\nand fixed.\n\n```\nanew\n```\n* one\n* Of two\n\n| of rows |\n"
    found = [refused(part) for part in paragraphs(page)]
    assert [flaws for flaws in found if flaws] == [["What it is"], ["Of two"], ["of rows"]]
    assert unreleased("# Changes\n\n## Unreleased\n\n* a\n\n## 0.1\n\n* b\n").split() == ["*", "a"]


def test_made_up_messages():
    source = (
        '"""A module whose docstring is one word too long, as this sentence shows clearly."""\n'
        'def f(x):\n    raise ValueError(f"what is "\n        f"missing: {x}")\n'
        'error = UserError("go on")\nprint("anew")\n'
    )
    assert [*messages(source)] == ["what is missing: X", "go on"]
    assert [*map(refused, messages(source))] == [["what is missing: X"], ["go on"]]
    assert long_docstring(source)
    assert not long_docstring(source.replace("clearly", "").replace("too long, ", ""))
