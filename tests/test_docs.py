"""Pages name existing things, and every piece is on a page."""

import re
import runpy
import tomllib

import documented
import numpy as np
import pytest
from documented import PAGES, ROOT
from PIL import Image

from sla_bench.registry import (
    BACKBONES,
    DATASETS,
    LAUNCHERS,
    LEARNERS,
    LOSSES,
    METHODS,
    MIXES,
    SCENARIOS,
    STAGE_TWO,
    TRANSFORMS,
)

INDEX = ROOT / "docs" / "README.md"
# Its pieces exist in the copy of the package that tests/test_adding_a_piece.py makes.
EXAMPLES = ROOT / "docs" / "adding-a-piece.md"
FURTHER = [
    ROOT / "CONTRIBUTING.md",
    *(ROOT / folder / "README.md" for folder in ("datasets", "results", "results/reference", "tests")),
]
OTHERS_CODE = {"adding-a-piece", "peers"}
"""Pages that name files of other projects, or of pieces that are only an example."""
MOST_PAGES, MOST_WORDS = 12, 15_000
REGISTRIES = [
    LEARNERS,
    LOSSES,
    METHODS,
    TRANSFORMS,
    MIXES,
    BACKBONES,
    DATASETS,
    SCENARIOS,
    LAUNCHERS,
    STAGE_TWO,
]
NAMES = [(registry, name) for registry in REGISTRIES for name in registry]
COMMANDS = [
    (page, words) for page in [*PAGES, *FURTHER] if page != EXAMPLES for words in documented.commands(page)
]
FIGURE = ROOT / "docs" / "figures" / "label_augmentation.py"


def spoken_of(name):
    """A name in backquotes, alone or in a command."""
    return re.compile(rf"`(?:[^`\n]*[\s=])?{re.escape(name)}(?::PATH|[\s:][^`\n]*)?`")


def text_without_examples():
    pages = [page for page in [*PAGES, ROOT / "datasets" / "README.md"] if page != EXAMPLES]
    return "\n".join(page.read_text() for page in pages)


@pytest.mark.parametrize(("registry", "name"), NAMES, ids=lambda value: getattr(value, "kind", value))
def test_every_piece_is_in_the_docs_with_its_options(registry, name):
    text = text_without_examples()
    assert spoken_of(name).search(text), f"no page of docs/ speaks of the {registry.kind} `{name}`"
    for option in registry[name].options:
        named = rf"`{registry.kind}\.(?:{option}|NAME)\b|`{option}`"
        assert re.search(named, text) or f"{registry.kind}.{option}" in text, f"{name}: {option}"


def test_a_name_is_found_only_as_a_word_of_its_own():
    assert spoken_of("sla").search("take `sla` or")
    assert spoken_of("sla").search("`--method sla`")
    assert not spoken_of("sla").search("`sla+sd` and `rotation-sla` and sla")


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page.stem}: {' '.join(words)}" for page, words in COMMANDS]
)
def test_commands_name_things_that_exist(page, words):
    documented.check_command(words)


@pytest.mark.parametrize(
    "page", [*PAGES, *FURTHER, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_scripts_and_tests_that_a_page_names_exist(page):
    for path in documented.links(page):
        assert (page.parent / path).exists(), path
    text = page.read_text()
    for path, anchor in documented.anchors(page):
        there = page.parent / path if path else page
        assert anchor in documented.headings(there), f"{path}#{anchor}"
    scripts = re.findall(r"python ((?:benchmarks|examples|docs)/\S+\.py)", text)
    tests = re.findall(r"\b(tests/[\w/]+\.py)", text)
    for path in (*scripts, *tests):
        assert (ROOT / path).is_file(), path


def test_modules_that_pages_and_comments_name_exist():
    ours = [page for page in [*PAGES, *FURTHER] if page.stem not in OTHERS_CODE]
    ours += [
        path for folder in ("sla_bench", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
    ]
    there = [f"/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("[!.]*/**/*.py")]
    named = {(path.name, name) for path in ours for name in re.findall(r"`([\w/]+\.py)`", path.read_text())}
    assert len(named) > 50
    assert not [one for one in named if not any(path.endswith(f"/{one[1]}") for path in there)]


def test_the_index_has_every_page_and_the_readme_leads_to_it():
    listed = documented.links(INDEX)
    assert {page.name for page in PAGES} - {INDEX.name} <= set(listed)
    assert len(listed) == len(set(listed))
    assert "docs/README.md" in documented.links(ROOT / "README.md")


def test_the_sdist_has_the_pictures_of_results_that_pages_show():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kept = {
        pattern.removeprefix("!/")
        for pattern in project["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]
        if pattern.startswith("!/")
    }
    shown = {
        (page.parent / path).resolve().relative_to(ROOT).as_posix()
        for page in [*PAGES, *FURTHER, ROOT / "README.md"]
        for path in documented.links(page)
        if path.endswith((".png", ".svg"))
    }
    assert kept == {path for path in shown if path.startswith("results/")}


def test_code_on_a_page_runs():
    blocks = documented.blocks(ROOT / "docs" / "models.md", "python")
    assert blocks
    for code in blocks:
        exec(compile(code, "models.md", "exec"), {})


def test_docs_are_short():
    assert len(PAGES) - 1 <= MOST_PAGES, "without the index"
    assert sum(len(page.read_text().split()) for page in PAGES) <= MOST_WORDS


def test_the_figure_is_drawn_by_its_script_the_same_each_time(tmp_path):
    names = runpy.run_path(str(FIGURE))
    first, second = (names["draw"](tmp_path / folder) for folder in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    committed = [FIGURE.with_suffix(path.suffix) for path in first]
    assert all(path.stat().st_size < 150_000 for path in committed)
    # Other versions of matplotlib set letters a little differently: seen from afar there is no difference.
    drawn, kept = (Image.open(path).convert("RGB") for path in (first[0], committed[0]))
    assert drawn.size == kept.size
    afar = [np.asarray(image.reduce(16), np.int16) for image in (drawn, kept)]
    assert np.abs(afar[0] - afar[1]).mean() < 3
