import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import real_formats
from made_up_records import write_records
from PIL import Image

from sla_bench.cli.app import run_command_line
from sla_bench.tables import files

TINY = ["steps=2", "validations=1", "validation_episodes=4", "jackknife_episodes=0"]


def command(*arguments, data_root, out):
    settings = [text for setting in TINY for text in ("--set", setting)]
    common = ["--budget", "smoke", "--data-root", str(data_root), "--out", str(out), "--episodes", "10"]
    return ["run", "fewshot", *arguments, *common, *settings]


def in_process(*arguments, capsys):
    code = run_command_line(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def in_shell(arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "sla_bench", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_reader_that_has_gone_ends_a_command_without_a_word(tmp_path):
    write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6})
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sla_bench", "runs", "--out", str(tmp_path)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def assert_one_line(code, err, *fragments):
    assert code == 2
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    for fragment in fragments:
        assert fragment.lower() in lines[0].lower(), (fragment, lines[0])


def test_help_needs_no_torch_and_names_the_options():
    code = (
        "import sys\nfrom sla_bench.cli.app import run_command_line as run\n"
        "assert run(['--help']) == 0\n"
        "assert not {'numpy', 'pandas', 'torch', 'scipy'} & set(sys.modules)\n"
        "assert run(['run', 'fewshot', '--help']) == 0\n"
        "assert run(['run', 'fewshot', '--learner', 'x']) == 2\n"
        "assert run(['run', 'fewshot', '--ways', '50']) == 2\n"
        "assert run(['leaderboard', '--out', sys.argv[1]]) == 2\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.devnull + "x"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for option in ("--dataset", "--shots", "--learner", "--method", "--transform", "--seed", "--set"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--learner", "protonett"], ["'protonet'"]),
        (["--lerner", "protonet"], ["--learner"]),
        (["--precision", "fp3"], ["'fp32'"]),
        (["--shots", "five"], ["--shots", "five", "integer"]),
        (["--ways", "21"], ["20 test classes", "--ways 21"]),
        (["--train-ways", "5", "--ways", "21"], ["20 test classes", "--ways 21"]),
        (["--method", "sla+sd"], ["no fixed set of classes"]),
        (["--set", "lr=1"], ["no such field"]),
        (["--dataset", "folder:nowhere"], ["nowhere"]),
        (["--dataset", "fc100"], ["cifar-100-python", "fc100"]),
        (["--dataset", "mini_imagenet"], ["mini"]),
        (["--dataset", "tiered_imagenet"], ["tiered"]),
        (["--workers", "0"], ["--workers"]),
    ],
)
def test_mistakes_are_one_line(arguments, fragments, capsys, tmp_path):
    code, _, err = in_process(*command(*arguments, data_root=tmp_path, out=tmp_path / "out"), capsys=capsys)
    assert_one_line(code, err, *fragments)


@pytest.mark.parametrize("arguments", [["frobnicate"], ["datasets", "info", "glyhps"], ["evaluate", "0000"]])
def test_unknown_commands_and_names(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = in_process(*arguments, capsys=capsys)
    assert_one_line(code, err)


def folder_of_images(root, classes=12, per_class=24, size=20):
    rng = np.random.default_rng(0)
    for k in range(classes):
        (root / f"class{k:02}").mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 256, (size, size, 4 if i % 3 == 1 else 3), dtype=np.uint8)
            image = Image.fromarray(pixels)
            (image.convert("L") if i % 3 == 2 else image).save(root / f"class{k:02}" / f"{i}.png")
    return root


def test_a_folder_with_an_empty_class_or_a_broken_image(tmp_path, capsys):
    images = folder_of_images(tmp_path / "images", classes=16)
    broken = images / "class03" / "7.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    arguments = command("--dataset", f"folder:{images}:32", data_root=tmp_path, out=tmp_path / "out")
    code, _, err = in_process(*arguments, capsys=capsys)
    assert_one_line(code, err.splitlines()[-1], "7.png")
    broken.write_bytes(whole)
    (images / "zebra").mkdir()
    code, _, err = in_process(*arguments, "--dry-run", capsys=capsys)
    assert code == 0
    assert "without a picture: zebra" in err


def test_a_data_root_that_is_a_file(tmp_path, capsys):
    root = tmp_path / "data"
    root.write_text("")
    code, _, err = in_process(*command(data_root=root, out=tmp_path / "out"), capsys=capsys)
    assert_one_line(code, err, str(root))


def test_an_out_folder_that_can_not_be_written_is_found_before_training(tmp_path, capsys):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    (tmp_path / "out").write_text("")
    arguments = command("--dataset", "fc100", data_root=tmp_path, out=tmp_path / "out")
    code, _, err = in_process(*arguments, capsys=capsys)
    assert_one_line(code, err, "could not write", "out")


def test_a_dry_run_refuses_a_device_that_a_run_would_refuse(tmp_path, capsys):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    arguments = command(
        "--dataset", "fc100", "--dry-run", "--device", "gpu", data_root=tmp_path, out=tmp_path
    )
    code, out, err = in_process(*arguments, capsys=capsys)
    assert_one_line(code, err, "--device 'gpu'", "cuda:0")
    assert "to run" not in out


def test_dry_run_lists_and_runs_nothing(tmp_path, capsys):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    arguments = command("--dataset", "fc100", "--dry-run", data_root=tmp_path, out=tmp_path / "out")
    code, out, _ = in_process(*arguments, capsys=capsys)
    assert code == 0
    assert out.count("  to run  ") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_real_formats_run_end_to_end(tmp_path):
    real_formats.write_cifar100(tmp_path, 20, 4)
    arguments = command("--dataset", "fc100", data_root=tmp_path, out=tmp_path / "out")
    done = in_shell(arguments)
    assert done.returncode == 0, done.stderr
    assert "SLA+AG" in done.stdout
    assert "Traceback" not in done.stderr
    names = {p.name for p in (tmp_path / "out" / "fewshot").iterdir()}
    assert {"leaderboard.csv", "leaderboard.md", "gains.png", "gains.svg", "accuracies.png"} <= names


@pytest.mark.slow
def test_a_run_is_recorded_once_and_evaluated_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    images = folder_of_images(tmp_path / "images", classes=16)
    arguments = command("--dataset", f"folder:{images}:32", data_root=tmp_path, out=tmp_path / "out")
    assert run_command_line(arguments) == 0
    capsys.readouterr()
    assert run_command_line(arguments) == 0
    assert "2 of 2 runs are recorded already" in capsys.readouterr().out
    runs = sorted((tmp_path / "out" / "fewshot" / "runs").iterdir())
    assert len(runs) == 2
    stamp = (runs[0] / "model.safetensors").stat().st_mtime_ns
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run_command_line(["evaluate", runs[0].name[:8], "--shots", "1", "--episodes", "12", *folders]) == 0
    assert "5-way 1-shot" in capsys.readouterr().out
    assert len(list((runs[0] / "evaluations").iterdir())) == 2
    assert (runs[0] / "model.safetensors").stat().st_mtime_ns == stamp
    monkeypatch.undo()
    assert run_command_line(["plot", "--out", str(tmp_path / "out")]) == 0
    assert "gains.png" in capsys.readouterr().out


@pytest.mark.slow
def test_a_failed_run_leaves_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    images = folder_of_images(tmp_path / "images", classes=16)
    arguments = command("--dataset", f"folder:{images}:32", data_root=tmp_path, out=tmp_path / "out")
    failing = [*arguments, "--shots", "1", "--shots", "30", "--method", "baseline"]
    code, out, err = in_process(*failing, capsys=capsys)
    assert code == 2
    assert "FAILED" in err
    assert "Traceback" not in err
    assert "5-way 1-shot" in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("how", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_command_that_is_stopped_leaves_a_checkpoint_and_says_so(how, code, word, tmp_path):
    """SIGTERM to the whole process group and twice, as a batch scheduler does."""
    images = folder_of_images(tmp_path / "images", classes=16)
    arguments = command(
        *("--dataset", f"folder:{images}:32", "--workers", "1", "--method", "baseline", "--seed", "0"),
        *("--checkpoint-every", "2"),
        data_root=tmp_path,
        out=tmp_path / "out",
    )
    arguments += ["--set", "steps=1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sla_bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def newest():
        return max((p.name for p in tmp_path.glob("out/fewshot/runs/*/checkpoints/0/step-*.pt")), default="")

    while not newest():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    before = newest()
    # Steps go on, and the next checkpoint is not due.
    time.sleep(1)
    for _ in range(2 if how == "SIGTERM" else 1):
        os.killpg(process.pid, getattr(signal, how))
    _, err = process.communicate(timeout=90)
    assert process.returncode == code
    assert err.splitlines()[-1] == f"sla-bench: {word}; finished runs are kept, the same command resumes"
    assert "Traceback" not in err
    assert newest() > before
