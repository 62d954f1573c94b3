import shlex

import numpy as np
import pytest
from PIL import Image
from pretrained_networks import needs_timm, weights_file

from sla_bench.cli.app import run_command_line

COLOURS = [(200, 60, 60), (60, 200, 60), (60, 60, 200)]


@pytest.fixture
def folder(tmp_path):
    """Three classes of 12 to 14 pictures; the third is the hardest, since its colour changes."""
    random = np.random.default_rng(0)
    for k, colour in enumerate(COLOURS):
        (tmp_path / "photos" / f"class <{k}>").mkdir(parents=True)
        for j in range(12 + k):
            base = np.array(COLOURS[j % 3] if k == 2 else colour)
            pixels = (base + random.integers(-50, 50, (40, 40, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"class <{k}>" / f"{j}.png")
    return tmp_path


@needs_timm
def test_advice_names_a_method_a_gain_and_the_hardest_class(folder, capsys, monkeypatch):
    given = ["advise", f"folder:{folder / 'photos'}:32", "--backbone", "timm:test_resnet"]
    given += ["--weights", str(weights_file(folder)), "--data-root", str(folder / "data")]
    given += ["--page", str(folder / "advice.html")]
    assert run_command_line(given) == 0
    out = capsys.readouterr().out
    assert "39 pictures of 32 px in 3 classes of 12 to 14; scenario standard" in out
    assert "Use " in out
    assert "class <2>" in out.partition("Next to try")[2]
    page = (folder / "advice.html").read_text()
    assert "class &lt;2&gt;" in page
    assert "class <2>" not in page
    assert "Not tested" not in page
    # The same answer from the kept features alone.
    monkeypatch.setattr("sla_bench.models.backbones.pretrained.Pretrained.forward", None)
    assert run_command_line(given) == 0
    assert capsys.readouterr().out == out


@needs_timm
def test_small_classes_are_named_and_the_next_command_is_one_that_the_folder_can_serve(folder, capsys):
    for path in (folder / "photos" / "class <0>").glob("[1-9]*.png"):
        path.unlink()
    (folder / "photos" / "class <0>").rename(folder / "photos" / "small")
    weights = str(weights_file(folder))
    given = ["advise", f"folder:{folder / 'photos'}:32", "--backbone", "timm:test_resnet"]
    given += ["--weights", weights, "--data-root", str(folder / "data"), "--page", str(folder / "a.html")]
    assert run_command_line(given) == 0
    printed = capsys.readouterr()
    assert "not compared, fewer than 12 pictures: 'small'" in printed.err
    assert "fewer pictures than the others: small.</p>" in (folder / "a.html").read_text()
    command = printed.out.partition("(run ")[2].partition(")")[0]
    assert f"--weights {weights} --train last-stage" in command
    assert run_command_line(["run", *shlex.split(command), "--dry-run", "--out", str(folder)]) == 0


@needs_timm
def test_a_folder_that_is_too_small_is_said(folder, capsys):
    for path in (folder / "photos").glob("*/[3-9].png"):
        path.unlink()
    given = ["advise", f"folder:{folder / 'photos'}:32", "--backbone", "timm:test_resnet"]
    assert run_command_line([*given, "--weights", str(weights_file(folder)), "--data-root", str(folder)]) == 2
    assert "0 classes have the 12 pictures" in capsys.readouterr().err
    assert run_command_line([*given, "--seed", "-1"]) == 2
    assert "--seed must be a whole number of at least 0, got -1" in capsys.readouterr().err
