import pytest
from folder_drawings import put, put_parts

from sla_bench.cli.app import run_command_line
from sla_bench.data.folder import Folder
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_tree import left_out_of
from sla_bench.data.named import load_dataset
from sla_bench.errors import UserError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ANNEX = b"/annex/objects/SHA256E-s12--abc.jpg\n"


def test_all_extensions_of_jpeg_are_read(tmp_path):
    for name, suffix in {"a": ".jfif", "b": ".jpe", "c": ".JFIF"}.items():
        put(tmp_path / name, 3, suffix)
    assert len(list_folder(tmp_path).images) == 9


def test_everything_that_is_not_used_has_its_kind_and_name(tmp_path):
    put_parts(tmp_path, {"": "ab"})
    put(tmp_path / "__background__", 2)
    put(tmp_path / "a" / "2021" / "may", 4)
    put(tmp_path / "a", 2, ".HEIC")
    put(tmp_path / ".net", 5)
    put(tmp_path / "@eaDir" / "x", 6)
    put(tmp_path, 1, ".jpg")
    for name in ("$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", ".git", "empty"):
        (tmp_path / name).mkdir()
    put(tmp_path / ".git" / "annex", 9)
    (tmp_path / "__MACOSX" / "._a.jpg").touch()
    for name in ("Thumbs.db", ".DS_Store", "._0.png", "notes.txt"):
        (tmp_path / "a" / name).touch()
    (tmp_path / "b" / ".secret.png").touch()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "b" / "annexed.png").symlink_to("../.git/annex/objects/x/y.png")
    (tmp_path / "b" / "pointer.jpg").write_bytes(LFS)
    (tmp_path / "b" / "unlocked.jpg").write_bytes(ANNEX)
    listing = list_folder(tmp_path)
    assert listing.class_names == ("__background__", "a", "b")
    assert len(listing.images) == 8
    assert listing.left_out.found == {
        ".heic files": {"a/0.HEIC": 1, "a/1.HEIC": 1},
        ".txt files": {"a/notes.txt": 1},
        "pictures in folders below a class": {"a/2021": 4},
        "hidden pictures": {"b/.secret.png": 1},
        "git-annex files without content": {"b/annexed.png": 1, "b/unlocked.jpg": 1},
        "dangling links": {"b/gone.png": 1},
        "git-lfs pointers": {"b/pointer.jpg": 1},
        "class folders without a picture": {"empty": 1},
        "pictures beside the class folders": {"0.jpg": 1},
        "pictures in hidden folders and folders of the system": {".net": 5, "@eaDir": 6},
    }
    lines = list(listing.left_out.lines())
    assert "left out: 11 pictures in hidden folders and folders of the system: .net (5), @eaDir (6)" in lines
    assert "left out: 1 dangling link: b/gone.png" in lines


@pytest.mark.parametrize("content", [LFS, ANNEX])
def test_a_class_of_pointers_alone_is_refused(tmp_path, content):
    put_parts(tmp_path, {"": "ab"})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"the class 'c' is empty: .*holds 1 git-.*convert or fetch them"):
        list_folder(tmp_path)


def test_small_pictures_are_no_pointers(tmp_path):
    put_parts(tmp_path, {"": "ab"}, drawn=True)
    (tmp_path / "a" / "tiny.pbm").write_bytes(b"P1\n2 2\n1 0\n0 1\n")
    assert len(list_folder(tmp_path).images) == 7


def test_many_names_are_cut_in_lines_and_records(tmp_path):
    put_parts(tmp_path, {"": "ab"})
    put(tmp_path, 150)
    account = list_folder(tmp_path).left_out
    assert list(account.lines()) == [
        "left out: 150 pictures beside the class folders: 0.png, 1.png, 10.png and 147 more"
    ]
    (record,) = account.record().values()
    assert (record["count"], len(record["names"])) == (150, 100)


def test_each_command_says_it_each_time(tmp_path, capsys):
    put_parts(tmp_path / "birds", {"": "ab"}, count=10, drawn=True)
    put(tmp_path / "birds" / "a" / "more", 7)
    name = f"folder:{tmp_path / 'birds'}:16"
    end = ["--data-root", str(tmp_path / "data")]
    run = ["run", "imbalanced", "--dataset", name, "--budget", "smoke", "--dry-run", "--out", str(tmp_path)]
    for command in (["datasets", "info", name], ["datasets", "prepare", name], run, run):
        assert run_command_line([*command, *end]) == 0
        said = capsys.readouterr()
        lines = [line for line in (said.out + said.err).splitlines() if "left out: " in line]
        assert lines == [f"{name}: left out: 7 pictures in folders below a class: a/more (7)"]


def test_the_library_says_it_once(tmp_path, capsys):
    put_parts(tmp_path / "birds", {"": "ab"}, count=10, drawn=True)
    put(tmp_path / "birds", 7)
    for split in ("train", "val", "test"):
        load_dataset(f"folder:{tmp_path / 'birds'}:16", split, "images", tmp_path / "data")
    assert capsys.readouterr().err.count("7 pictures beside the class folders") == 1


def test_bad_pictures_that_were_skipped_are_among_them(tmp_path, capsys):
    put_parts(tmp_path / "birds", {"": "ab"}, count=10, drawn=True)
    (tmp_path / "birds" / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    name, end = f"folder:{tmp_path / 'birds'}:16", ["--data-root", str(tmp_path / "data")]
    assert run_command_line(["datasets", "prepare", name, "--skip-bad", *end]) == 0
    capsys.readouterr()
    assert run_command_line(["datasets", "info", name, *end]) == 0
    assert "left out: 1 picture that can't be decoded: a/0.png" in capsys.readouterr().out
    assert Folder(tmp_path / "birds", 16).class_sizes("train", "images", tmp_path / "data") == {
        "a": 6,
        "b": 7,
    }


def test_a_search_for_pictures_counts_what_it_leaves_out(tmp_path):
    put(tmp_path, 2)
    put(tmp_path / "sub", 2, ".heic")
    put(tmp_path / "__cache__", 3)
    put(tmp_path / ".tmp", 1)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "no_extension").touch()
    assert left_out_of(tmp_path).found == {
        ".heic files": {"sub/0.heic": 1, "sub/1.heic": 1},
        "other files": {"no_extension": 1},
        "pictures in hidden folders and folders of the system": {".tmp": 1, "__cache__": 3},
        "pictures in links to folders": {"link": 2},
    }
