import pytest
from spanned import runs_of

from sla_bench.data.folder import Folder
from sla_bench.data.folder_names import FolderName, canonical_dataset, parse
from sla_bench.errors import UserError
from sla_bench.grids.files import read_grid_file


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPELLINGS = {
    "data": "data",
    "data:84": "data:84",
    "data:32": "data:32",
    "/a/b c/ü:32": "/a/b c/ü:32",
    "data:32,flip=false": "data:32,flip=no",
    "data:32,FLIP=0": "data:32,flip=no",
    "data:32, flip = no": "data:32,flip=no",
    "data:32,flip=True,fit=center,jitter=0.40,crop_padding=4,min_images=1": "data:32",
    "data:64,crop-padding=6": "data:64",
    "data:64,crop_padding=4": "data:64,crop_padding=4",
    "data,crop_padding=8,jitter=.25": "data,jitter=0.25",
    "data:32,min_images=5,crop_padding=0,jitter=0,flip=no,fit=pad": (
        "data:32,fit=pad,flip=no,jitter=0,crop_padding=0,min_images=5"
    ),
    "data,jitter=1e-05": "data,jitter=1e-05",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_the_same_data_have_one_name(text):
    assert str(parse(text)) == SPELLINGS[text]
    assert parse(SPELLINGS[text]) == parse(text)
    assert canonical_dataset(f"folder:{text}") == f"folder:{SPELLINGS[text]}"
    assert Folder(text).name == f"folder:{SPELLINGS[text]}"


WRONG = {
    "data,flop=no": "unknown option 'flop' of folder:PATH; did you mean 'flip'",
    "data,flip=maybe": "flip=maybe: write flip=yes or flip=no",
    "data,flip": "'flip' needs a value",
    "data,flip=": "flip=: write flip=yes",
    "data,fit=padd": "fit=padd: unknown value; did you mean 'pad'",
    "data,fit=pad:32": r"the size stands before the options: folder:data:32,fit=pad",
    "data,jitter=1.5": "jitter=1.5: a number from 0 to 1",
    "data,jitter=nan": "jitter=nan: a number from 0 to 1",
    "data,crop_padding=-1": "crop_padding=-1: a whole number from 0",
    "data:32,crop_padding=33": "crop_padding=33 is more than the 32 pixels",
    "data,crop_padding=2.5": "crop_padding=2.5: a whole number",
    "data,min_images=0": "min_images=0: a whole number from 1",
    "data,min_images=inf": "min_images=inf: a whole number from 1",
    "data,flip=no,flip=yes": "flip is given twice",
    "data:5,flip=no": "8 to 1024 pixels wide, not 5",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_options_are_named(text):
    with pytest.raises(UserError, match=WRONG[text]):
        parse(text)


def test_a_path_that_exists_wins(here):
    for name in ("data,flip=no", "a,b=2", "data:32", "x,flip=no,fit=pad"):
        (here / name).mkdir()
    assert parse("data,flip=no") == FolderName("data,flip=no")
    assert parse("data,flip=no:32,flip=no") == FolderName("data,flip=no", 32, flip=False)
    assert parse("a,b=2:16,jitter=0") == FolderName("a,b=2", 16, jitter=0.0)
    assert parse("data:32,fit=stretch") == FolderName("data:32", fit="stretch")
    # The longest path that exists.
    assert parse("x,flip=no,fit=pad,jitter=0") == FolderName("x,flip=no,fit=pad", jitter=0.0)
    with pytest.raises(UserError, match="unknown option 'c' of folder:PATH; known: fit, flip"):
        parse("a,b=2,c=3")


def test_a_path_that_is_elsewhere_keeps_its_commas():
    """A record must be read where its pictures are not."""
    for text in ("/photos,year=2024:32", "/a,b=1/c:64", "/a, b", "/a=b,c"):
        assert str(parse(text)) == text
    assert parse("/photos,year=2024:32,flip=no") == FolderName("/photos,year=2024", 32, flip=False)


def test_options_reach_the_data_set():
    folder = Folder("data:64,flip=no,jitter=0,crop_padding=2,min_images=3,fit=pad")
    found = folder.properties
    assert (found.size, found.fit, found.flip, found.jitter, found.crop_padding) == (64, "pad", False, 0.0, 2)
    assert folder.min_images == 3
    assert Folder("data", 64, flip=False, jitter=0, crop_padding=2, min_images=3, fit="pad") == folder
    with pytest.raises(UserError, match="unknown option 'zoom'"):
        Folder("data", zoom=2)


def names(settings, dataset="folder:data:32"):
    return [run.dataset for run in runs_of("imbalanced", settings, method=["baseline"], dataset=[dataset])]


def test_settings_of_the_data_change_the_name():
    assert names(["data.flip=false"]) == ["folder:data:32,flip=no"]
    assert names(["data.fit=pad", "data.jitter=0"], "folder:data,fit=stretch") == [
        "folder:data,fit=pad,jitter=0"
    ]
    # --set wins over the name, and over --dataset.
    assert names(["data.flip=yes"], "folder:data:32,flip=no") == ["folder:data:32"]
    assert names(["data.flip=no", "dataset=folder:b"]) == ["folder:b,flip=no"]
    assert names([], "folder:data:32,flip=true") == ["folder:data:32"]


def test_the_same_data_are_trained_on_once():
    spellings = ["folder:data:32,flip=no", "folder:data:32,flip=false"]
    (run,) = runs_of("imbalanced", method=["baseline"], dataset=spellings)
    assert run.dataset == "folder:data:32,flip=no"


@pytest.mark.parametrize(
    ("settings", "dataset", "words"),
    [
        (["flip=false"], "folder:data:32", "did you mean 'data.flip', an option of folder:PATH"),
        (["data.flop=1"], "folder:data:32", "data.flop: no such option of a folder; did you mean 'flip'"),
        (["data.flip=5"], "folder:data:32", "flip=5: write flip=yes or flip=no"),
        (["data.flip=false"], "glyphs20", "data.flip: only folder:PATH .* images of 'glyphs20'"),
    ],
)
def test_wrong_settings_of_the_data(settings, dataset, words):
    with pytest.raises(UserError, match=words):
        names(settings, dataset)


def test_existing_names_keep_their_run_ids():
    """Golden: ids that the command line gave before folders had options."""
    for name, known in (
        ("folder:data", "9094fc33de4f"),
        ("folder:data:32", "e476627e8f77"),
        ("glyphs20", "2c7da342718b"),
    ):
        (run,) = runs_of("imbalanced", method=["baseline"], budget="smoke", dataset=[name])
        assert run.digest(data="0" * 16) == known


GRID = """
scenario: imbalanced
dataset: [folder:data:32, "folder:other:32,flip=false"]
method: baseline
set:
  data.jitter: [0, 0.2]
exclude:
  - dataset: "folder:data:32,jitter=0.0"
"""


def test_a_grid_file_takes_the_options(here):
    (here / "grid.yaml").write_text(GRID)
    found = [task.run.dataset for task in read_grid_file(here / "grid.yaml").tasks()["imbalanced"]]
    assert sorted(found) == sorted(
        [
            "folder:other:32,flip=no,jitter=0",
            "folder:data:32,jitter=0.2",
            "folder:other:32,flip=no,jitter=0.2",
        ]
    )
    (here / "grid.yaml").write_text(GRID.replace("data.jitter", "data.gitter"))
    with pytest.raises(UserError, match=r"grid\.yaml:6: .*data.gitter: no such option.*'jitter'"):
        read_grid_file(here / "grid.yaml")
