"""The command line: what it promises to people (help, tables, words) and to programs (JSON, exit codes)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from segtrial import api, cli, cli_demo, console, models
from segtrial.errors import Interrupted
from tests import tiny

FLAGS = {
    "demo": ["--minutes", "--out"],
    "train": [
        *("--budget", "--data", "--epochs", "--find-lr", "--fit-batch", "--from", "--minutes", "--model", "--out"),
        *("--recipe", "--seed", "--set", "--steps", "--task"),
    ],
    "evaluate": ["--data", "--device", "--extras", "--json", "--split"],
    "fit": ["--json", "--one-batch", "--untouched"],
    "export": ["--data", "--force", "--format", "--json", "--most-loss", "--out", "--precision"],
    "push": ["--card", "--findings", "--json", "--license", "--public"],
    "explain": [
        *("--class", "--data", "--device", "--json", "--layer", "--most-side", "--out", "--patch", "--region"),
        *("--split", "--worst"),
    ],
    "calibrate": ["--data", "--device", "--json", "--out", "--split"],
    "explain-metric": ["--data", "--json", "--split"],
    "compare": ["--budget", "--json", "--on", "--out", "--plan", "--sbatch", "--workers"],
    "tune": ["--budget", "--json", "--no-final", "--out", "--storage", "--trials", "--workers"],
    "report": ["--baseline", "--block-frames", "--json", "--margin", "--name", "--out", "--score", "--split"],
    "predict": [
        "--confidence",
        "--device",
        "--json",
        "--max-pixels",
        "--no-confidence",
        "--no-overlay",
        "--no-resume",
        "--on",
        "--out",
        "--overlap",
        "--overlay",
        "--resume",
        "--save",
        "--tile",
        "--tta",
    ],
    "models": ["--classes", "--json", "--size"],
    "serve": [
        "--allow-host",
        "--anyone",
        "--device",
        "--host",
        "--max-mb",
        "--max-pixels",
        "--per-client",
        "--port",
        "--queue",
        "--seconds",
        "--tile",
        "--token",
        "--watch",
    ],
    "recipe": [],
    "data": [],
    "inspect": ["--against", "--force", "--json", "--model", "--report", "--write"],
}


def test_the_verbs_and_their_flags():
    """A public surface: adding to it is a decision, and taking away breaks somebody."""
    verbs = get_command(cli.app).commands
    found = {
        name: sorted(
            flag
            for parameter in verb.params
            for flag in (*parameter.opts, *parameter.secondary_opts)
            if flag.startswith("--") and flag != "--help"
        )
        for name, verb in verbs.items()
    }
    assert found == FLAGS


HELP = """import sys; from segtrial.cli import main
for words in sys.argv[1:]:
    main(words.split())
    if heavy := {"torch", "numpy", "matplotlib", "rich"} & set(sys.modules):
        sys.exit(f"{words} loads {heavy}")
"""
ASKED = ["", "--help", *(f"{verb} --help" for verb in FLAGS)]


def test_no_help_loads_torch():
    done = subprocess.run([sys.executable, "-c", HELP, *ASKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("Usage: segtrial") == len(ASKED)


def test_the_list_of_verbs_has_no_half_sentences(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "..." not in said.partition("Commands:")[2]
    assert said.index("inspect") < said.index("train  ") < said.index("predict") < said.index("serve")


@pytest.mark.parametrize("verb", FLAGS)
def test_help_teaches_by_an_example(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    assert f"Example: segtrial {verb}" in " ".join(capsys.readouterr().out.split())


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "segtrial", "train", "--data"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Option '--data' requires an argument" in done.stderr


def test_a_finished_run_is_left_alone(tiny_data, tiny_run, own_cache, capsys):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiny_run.rglob("*.*") if path.is_file()}
    assert cli.main(tiny.words(tiny_data, tiny_run)) == 0
    said = capsys.readouterr()
    assert "is finished; nothing to do" in said.err
    assert "miou_dataset" in said.out
    assert f"Report  {tiny_run / 'report.html'}" in said.out
    assert f"segtrial explain {tiny_run} --out why" in said.out
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiny_run.rglob("*.*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {".lock"}


def test_evaluate_prints_one_object(tiny_run, own_cache, capsys):
    """The literal shape that programs rely on; schema 1."""
    assert cli.main(["evaluate", str(tiny_run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == 1
    names = {"miou_dataset", "miou_image", "miou_class", "pixel_accuracy", "mean_class_accuracy", "dice_dataset"}
    assert set(result["scores"]) == {*names, "frequency_weighted_iou"}
    assert all(0 <= value <= 1 for value in result["scores"].values())
    assert set(result["intervals"]["miou_dataset"]) == {"low", "high", "over", "n_blocks"}
    assert [set(row) for row in result["per_class"]] == [
        {"name", "iou", "dice", "precision", "recall", "f1", "support"}
    ] * len(tiny.NAMES)
    assert [row["name"] for row in result["per_class"]] == list(tiny.NAMES)
    assert result["n_images"] == 6
    assert set(result["scores"]) <= set(result["definitions"])
    assert result["split"] == "val"


def test_evaluate_without_json_prints_tables(tiny_run, own_cache, capsys):
    assert cli.main(["evaluate", str(tiny_run), "--split", "train"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("95 % interval", "miou_dataset", "precision", *tiny.NAMES))


def test_models_lists_every_network(capsys):
    assert cli.main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["schema"] == 1
    assert [model["name"] for model in listed["models"]] == models.names()
    for model in listed["models"]:
        assert set(model) == {"name", "caption", "paper", "differs", "options", "parameters"}
        assert model["parameters"] > 0
        assert all(set(option) == {"name", "type", "default", "choices", "chosen"} for option in model["options"])


def test_one_model_says_what_it_costs(capsys):
    assert cli.main(["models", "unet:batchnorm=false", "--size", "572x572", "--classes", "2", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["parameters"] == 31_031_810  # ARCHITECTURES: 3 channels -> 2 classes, no batch normalisation
    assert set(model["costs"]) == {"size", "multiply_adds", "bytes_per_image", "bytes_of_weights"}
    assert model["costs"]["bytes_of_weights"] == 31_031_810 * 20
    assert {"name": "batchnorm", "type": "bool", "default": True, "choices": [], "chosen": False} in model["options"]


@pytest.mark.parametrize("size", ["360", "0x480", "-1x4", "360x", "axb", "360x480x3"])
def test_a_wrong_size_is_explained(size, capsys):
    assert cli.main(["models", "unet", f"--size={size}"]) == 2
    assert "--size" in (said := capsys.readouterr().err)
    assert "360x480" in said


def test_models_says_what_may_be_chosen(capsys):
    assert cli.main(["models", "unet"]) == 0
    said = capsys.readouterr().out
    assert "skips=true" in said
    assert "resnet34" in said
    assert "segnet" not in said
    assert "Differs from the paper" in said
    assert "multiply-adds" in said


def test_models_is_one_line_or_two_for_each(capsys):
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}  " in said for name in models.names())
    assert "Differs" not in said


def test_predict_prints_one_object(tiny_data, tiny_run, tmp_path, capsys):
    words = ["predict", str(tiny_run), str(tiny_data / "val/images"), "--out", str(tmp_path), "--json", "--no-overlay"]
    assert cli.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"schema", "out", "done", "kept", "skipped"}
    assert len(result["done"]) == 6
    assert not list(tmp_path.glob("*_overlay.png"))
    assert len(list(tmp_path.glob("*_confidence.png"))) == 6
    assert cli.main([*words, "--resume"]) == 0
    assert len(json.loads(capsys.readouterr().out)["kept"]) == 6


def test_predict_lists_what_it_skipped(tiny_data, tiny_run, tmp_path, capsys):
    shutil.copytree(tiny_data / "val/images", tmp_path / "in")
    (tmp_path / "in/2.png").write_bytes(b"not a picture")
    assert cli.main(["predict", str(tiny_run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]) == 3
    (skipped,) = json.loads(capsys.readouterr().out)["skipped"]
    assert skipped["path"] == str(tmp_path / "in/2.png")
    assert "Put a picture there" in skipped["reason"]


def fail(*args: object, **kwargs: object) -> None:
    raise ZeroDivisionError("of ours")


def test_our_own_fault_is_exit_code_1_and_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(api, "evaluate", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["evaluate", "anything"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: of ours" in said
    assert "a fault of Segtrial, not of your input" in said
    assert "Traceback" not in said
    (written,) = tmp_path.glob("segtrial-*.txt")
    assert str(written) in said
    assert "Traceback" in written.read_text()


def test_traceback_shows_where_in_the_code(monkeypatch, capsys):
    monkeypatch.setattr(api, "evaluate", fail)
    assert cli.main(["--traceback", "evaluate", "anything"]) == 1
    assert "in fail" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGINT), 130), (Interrupted(signal.SIGTERM), 143)],
)
def test_interrupted_it_says_how_to_go_on(raised, code, monkeypatch, capsys):
    def stop(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(api, "train", stop)
    assert cli.main(["train", "--data", "my photos", "--out", "run"]) == code
    assert "The same command continues:\n  segtrial train --data 'my photos' --out run" in capsys.readouterr().err


def test_sigterm_ends_any_verb(monkeypatch):
    monkeypatch.setattr(api, "predict", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["predict", "run", "image.png", "--out", "out"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_demo_does_everything_once(tmp_path, own_cache, monkeypatch, capsys):
    monkeypatch.setattr(cli_demo, "SOURCE", "toytown:scenes=6,frames=2,size=32x48")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli.main(["--traceback", "demo", "--out", str(tmp_path), "--minutes", "0.02"]) == 0
    said = capsys.readouterr().out
    assert "miou_dataset" in said
    assert "segtrial train --data FOLDER" in said
    assert (tmp_path / "run/report.html").exists()
    pictures = {path.name for path in (tmp_path / "pictures").glob("*.png")}
    assert pictures
    assert pictures < {path.name for path in (tmp_path / "answers").glob("*.png")}


class Clock:
    """Seconds that a test lets pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "steps": 900, "loss": 0.8123, "images_per_second": 38.44, "seconds_left": 190.0, **more}


def test_progress_in_words():
    assert console.step_words(record(120, headline="miou_dataset", score=0.4312)) == (
        "120/900 steps, loss 0.812, miou_dataset 0.431, 38.4 images/s, 3 min 10 s left"
    )
    assert "miou" not in console.step_words(record(1))


def test_a_log_gets_a_line_now_and_then(capsys):
    clock = Clock()
    lines = console.Lines(clock)
    for second in range(25):
        clock.now = float(second)
        lines.step(record(second))
        lines.bar(second, 25, "decoding")
    lines.step(record(900))
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "training: 10/900 steps",
        "training: 20/900 steps",
        "training: 900/900 steps",
    ]


def test_a_terminal_gets_bars_and_notes(capsys):
    live = console.Live()
    live.note("what [bold] was\x1b[2J found")
    live.bar(1, 2, "decoding train")
    live.bar(2, 2, "decoding train")
    live.step(record(1))
    live.close()
    assert "what [bold] was\N{REPLACEMENT CHARACTER}[2J found" in capsys.readouterr().err


def test_nobody_at_a_terminal_means_lines():
    with console.watching() as watch:
        assert isinstance(watch, console.Lines)


@pytest.mark.parametrize("words", ["--help", "models compact"])
def test_output_that_nobody_reads_is_no_fault(words):
    """`segtrial models | head`: the pipe closes early; the code is what a shell gives to SIGPIPE."""
    command = f"{sys.executable} -m segtrial {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("recipe", [["mine.yaml"], ["--recipe", "mine.yaml"]], ids=["argument", "option"])
def test_every_word_of_train_reaches_the_verb(recipe, monkeypatch, tiny_run):
    given: dict[str, object] = {}

    def train(model: str, data: str, out: Path, **rest: object) -> api.Run:
        given.update(rest, model=model, data=data, out=out)
        return api.Run(tiny_run)

    monkeypatch.setattr(api, "train", train)
    words = ["--model", "unet", "--data", "photos", "--out", "run", "--epochs", "1.5", "--seed", "3"]
    words += ["--set", "ema=0.5", "--set", "clip=1", "--from", "before", "--task", "binary", "--fit-batch"]
    words += ["--budget", "small"]
    assert cli.main(["--traceback", "train", *recipe, *words]) == 0
    del given["watch"]
    budget = {"epochs": 1.5, "steps": None, "minutes": None}
    named = {
        "model": "unet",
        "data": "photos",
        "out": Path("run"),
        "recipe": "mine.yaml",
        "start": Path("before"),
        "task": "binary",
        "fit_batch": True,
        "budget": "small",
    }
    assert given == {**named, **budget, "seed": 3, "settings": ["ema=0.5", "clip=1"]}


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("Unable to allocate 3 GiB"),
    ],
)
def test_the_end_of_the_memory_is_not_our_fault(fault, monkeypatch, capsys):
    def evaluate(*_, **__):
        raise fault

    monkeypatch.setattr(api, "evaluate", evaluate)
    assert cli.main(["evaluate", "run"]) == 2
    said = capsys.readouterr().err
    assert "Choose a smaller network" in said
    assert "fault of Segtrial" not in said
