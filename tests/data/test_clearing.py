"""`datasets clear`: what is prepared or rendered goes, everything else stays."""

import io
import shutil

import pytest
from real_formats import write_folder, write_tiny_imagenet

from sla_bench.cli.app import run_command_line
from sla_bench.data.clearing import prepared_below
from sla_bench.data.folder import Folder
from sla_bench.data.named import dataset_named


def render(name, root):
    dataset_named(name).reduced(2, 1).load("val", "classes", root)


@pytest.fixture
def root(tmp_path):
    """Photographs that were converted, a folder at two sizes and in two states, and rendered images."""
    root = tmp_path / "data"
    write_tiny_imagenet(root)
    dataset_named("tiny_imagenet").prepare(root)
    photos = tmp_path / "photos"
    write_folder(photos, classes=3, per_class=5, size=16)
    for size in (16, 24):
        Folder(photos, size).prepare(root)
    min(photos.rglob("*.png")).unlink()
    Folder(photos, 16).prepare(root)
    render("glyphs20", root)
    return root


def originals(root):
    return {
        path: path.read_bytes()
        for folder in (root, root.parent / "photos")
        for path in folder.rglob("*")
        if path.is_file() and "prepared" not in path.parts
    }


def folders(root):
    return {path.name for path in (root / "prepared").iterdir() if path.is_dir()}


def clear(root, *arguments, capsys):
    code = run_command_line(["datasets", "clear", *arguments, "--data-root", str(root)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_without_consent_it_shows_names_and_sizes_and_deletes_nothing(root, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = folders(root)
    assert len(before) == 5
    code, out, _ = clear(root, capsys=capsys)
    assert code == 0
    for name in before:
        size = sum(file.stat().st_size for file in (root / "prepared" / name).iterdir())
        assert f"{size / 1e6:.1f} MB  {root / 'prepared' / name}" in out
    assert f"of {root.parent / 'photos'}" in out
    assert "--yes" in out.splitlines()[-1]
    assert folders(root) == before


def test_all_that_was_prepared_goes_and_originals_stay(root, capsys):
    kept = originals(root)
    code, out, _ = clear(root, "--yes", capsys=capsys)
    assert (code, folders(root)) == (0, set())
    assert "freed" in out
    assert originals(root) == kept
    assert clear(root, "--yes", capsys=capsys)[1].startswith("nothing is prepared")
    # What is needed is made again.
    assert len(dataset_named("tiny_imagenet").prepare(root)) > 0


@pytest.mark.parametrize(
    ("name", "gone"), [("tiny_imagenet", 1), ("glyphs20", 1), ("folder:{}:16", 2), ("folder:{}:24", 1)]
)
def test_one_data_set_is_cleared(name, gone, root, capsys):
    """Of a folder the former states, too."""
    before = folders(root)
    assert clear(root, name.format(root.parent / "photos"), "--yes", capsys=capsys)[0] == 0
    assert len(before) - len(folders(root)) == gone


def test_names_that_begin_alike_are_told_apart(root, capsys):
    render("glyphs", root)
    render("glyphs-rot", root)
    assert clear(root, "glyphs", "--yes", capsys=capsys)[0] == 0
    left = sorted(name.rpartition("-")[0] for name in folders(root) if name.startswith("glyphs"))
    assert left == ["glyphs-rot", "glyphs20"]


def test_files_that_were_not_made_here_stay(root, capsys):
    prepared = root / "prepared"
    (prepared / "tiny_imagenet" / "mine.txt").write_text("mine")
    (prepared / "tiny_imagenet" / "mine.npy").write_bytes(b"mine")
    (prepared / "own" / "below").mkdir(parents=True)
    (prepared / "own" / "train.npy").write_bytes(b"mine")
    (prepared / "own" / "labels.json").write_text("{}")
    outside = root.parent / "outside"
    shutil.copytree(prepared / "tiny_imagenet", outside)
    (prepared / "linked").symlink_to(outside)
    code, _, err = clear(root, "--yes", capsys=capsys)
    assert code == 2
    assert "mine.npy and more, which was not made here" in err
    assert folders(root) == {"tiny_imagenet", "own", "linked"}
    assert sorted(path.name for path in (prepared / "tiny_imagenet").iterdir()) == ["mine.npy", "mine.txt"]
    assert {path.name for path in (prepared / "own").iterdir()} == {"below", "train.npy", "labels.json"}
    assert len(list(outside.iterdir())) > 2


def test_what_another_command_writes_stays(root, capsys):
    from filelock import FileLock

    (folder,) = (one.folder for one in prepared_below(root, "glyphs20"))
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        code, _, err = clear(root, "--yes", capsys=capsys)
    assert code == 2
    assert f"{folder} stays: another command writes it" in err
    assert folders(root) == {folder.name}


def test_an_unfinished_conversion_is_cleared(root, capsys):
    (folder,) = (one.folder for one in prepared_below(root, "glyphs20"))
    (folder / "val.json").unlink()
    (folder / ".val.part").write_bytes(b"half")
    assert clear(root, "--yes", capsys=capsys)[0] == 0
    assert folders(root) == set()


def test_unknown_names_and_roots(tmp_path, capsys):
    assert "did you mean 'glyphs'" in clear(tmp_path, "glyhps", capsys=capsys)[2]
    code, out, _ = clear(tmp_path / "missing", capsys=capsys)
    assert (code, "nothing is prepared" in out) == (0, True)
