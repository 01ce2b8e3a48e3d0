"""The trained model of a run, by the verb predict and from Python."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES
from omegaconf import OmegaConf
from PIL import Image

import dermaexp
from dermaexp.core import lean_imports
from dermaexp.core.errors import UserError
from dermaexp.data import npz
from dermaexp.inference.predict import files_of
from dermaexp.inference.trained import trained_model
from dermaexp.launch.command import LIGHTNING, RESOLVERS
from dermaexp.runs.directory import RunDirectory

Cli = Callable[..., int]
RECIPES = {
    "gray cnn": ["model=cnn"],
    "colour, views, calibrated": [
        "model=cnn",
        "dataset.grayscale=false",
        "dataset.normalize=true",
        "test_time_augment=dihedral",
        "calibrate=true",
        "callbacks=[default,ema]",
        "checkpoint.test_with=last",
    ],
    "torchvision": ["model=torchvision", "model.arch=squeezenet1_1", "checkpoint.test_with=last"],
}


@pytest.fixture
def run_of(cli: Cli, data_file: Path, tmp_path: Path) -> Callable[..., RunDirectory]:
    """Train a model for two epochs on the small file."""

    def train(*options: str) -> RunDirectory:
        data = ["dataset=npz", f"dataset.path={data_file}", "epochs=2", "trainer=cpu"]
        assert cli(*data, *options, *NO_FIGURES, "hydra.run.dir=run") == 0
        return RunDirectory(tmp_path / "run")

    return train


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_rebuilt_model_gives_the_runs_test_probabilities(
    run_of: Callable[..., RunDirectory], data_file: Path, recipe: str
) -> None:
    run = run_of(*RECIPES[recipe])
    model = trained_model(run)
    images = torch.from_numpy(npz.load(str(data_file)).test.images).permute(0, 3, 1, 2)
    expected = run.read_predictions()["test_probabilities"]
    temperature, model.temperature = model.temperature, None
    with torch.inference_mode():
        np.testing.assert_allclose(model(images).numpy(), expected, atol=1e-6)
        if temperature is not None:
            model.temperature = temperature
            powers = expected.astype(np.float64) ** (1 / temperature)
            calibrated = powers / powers.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(model(images).numpy(), calibrated, atol=1e-5)


@pytest.fixture
def pictures(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """The first test images as files, one of them as a list, larger, gray or transparent."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(arrays["test_images"][:3]):
        Image.fromarray(image).save(folder / f"{index}.png")
    large = Image.fromarray(arrays["test_images"][3]).resize((90, 40))
    large.convert("RGBA").save(folder / "3.png")
    large.convert("L").save(folder / "4.png")
    return folder


def test_predict_writes_a_row_for_each_picture(
    cli: Cli, run_of: Callable[..., RunDirectory], pictures: Path, tmp_path: Path, capsys
) -> None:
    run = run_of("model=ffn")
    assert cli("predict", "run", "pictures", "--csv", "out.csv") == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [Path(row["file"]).name for row in rows] == [f"{index}.png" for index in range(5)]
    expected = run.read_predictions()["test_probabilities"][:3]
    names = run.read_metrics()["data"]["classes"]
    found = [[float(row[f"p({name})"]) for name in names] for row in rows]
    np.testing.assert_allclose(found[:3], expected, atol=1e-6)
    assert [row["predicted"] for row in rows[:3]] == [names[k] for k in expected.argmax(axis=1)]
    (tmp_path / "list.csv").write_text("picture\npictures/1.png\n")
    assert cli("predict", "run", "list.csv", "--column", "picture", "--min-confidence", "1") == 0
    assert "\N{EN DASH}" in capsys.readouterr().out, "it abstains"


def test_predict_shows_names_below_the_folder_of_all_pictures(
    cli: Cli, run_of: Callable[..., RunDirectory], pictures: Path, tmp_path: Path, capsys
) -> None:
    run_of("model=ffn")
    capsys.readouterr()
    deep = Path("a_folder_whose_name_is_long") / "and_another_folder_whose_name_is_long"
    (deep / "left").mkdir(parents=True)
    (pictures / "0.png").rename(deep / "left" / "0.png")
    (pictures / "1.png").rename(deep / "1.png")
    assert cli("predict", "run", str(deep)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"2 pictures in {deep}" in " ".join(lines[:2]).replace("  ", "")
    assert {line.split()[0] for line in lines if ".png" in line} == {"1.png", "left/0.png"}
    assert cli("predict", "run", str(deep.absolute() / "1.png"), "pictures/2.png") == 0
    assert "pictures/2.png" in capsys.readouterr().out, "absolute and relative paths have no folder"


def test_a_model_of_a_script_needs_that_script(run_of: Callable[..., RunDirectory]) -> None:
    run = run_of("model=ffn")
    record = json.loads((run.path / "run.json").read_text())
    record["config"]["model"] = {"_target_": "__main__.Gone"}
    (run.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="Gone is not defined by the program that runs"):
        trained_model(run)


def test_what_is_no_run_is_said_before_torch_is_imported(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(lean_imports, "import_lightning", lambda: pytest.fail("it takes seconds"))
    (tmp_path / "0.png").touch()
    for job in ("seed=1", "seed=0"):
        (tmp_path / "sweep" / job).mkdir(parents=True)
        (tmp_path / "sweep" / job / "run.json").touch()
    assert cli("predict", "sweep", "0.png") == 1
    line = "error: sweep holds several runs: expected one of them, such as sweep/seed=0\n"
    assert capsys.readouterr().err == line


def test_pictures_of_other_kinds_are_counted(tmp_path: Path, capsys) -> None:
    for name in ("a.png", "b.heic", "c.HEIC"):
        (tmp_path / name).touch()
    assert [file.name for file in files_of(tmp_path, "file")] == ["a.png"]
    assert "left out (2 .heic)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "nothere.png"], "nothere.png is missing"),
        (["run", "text.png", "pictures/0.png"], "text.png cannot be decoded"),
        (["run", "empty.png"], "empty.png has 0 bytes"),
        (["run", "list.csv"], "list.csv has no column file: its columns are picture"),
        (["run", "nothing"], "nothing has no pictures"),
        (["pictures", "pictures"], "pictures is no run directory"),
        (["run", "pictures", "--top", "0"], "--top 0: expected"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli,
    run_of: Callable[..., RunDirectory],
    pictures: Path,
    tmp_path: Path,
    capsys,
    arguments: list[str],
    line: str,
) -> None:
    run_of("model=ffn")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").touch()
    (tmp_path / "list.csv").write_text("picture\npictures/1.png\n")
    capsys.readouterr()
    assert cli("predict", *arguments) == 1
    output = capsys.readouterr()
    assert line in output.err
    assert output.err.count("\n") == 1
    assert ("0.png" in output.out) == ("pictures/0.png" in arguments), "the others go on"


def test_checkpoints_that_cannot_be_used(
    cli: Cli, run_of: Callable[..., RunDirectory], pictures: Path, tmp_path: Path, capsys
) -> None:
    run = run_of("model=ffn")
    whole = run.best_checkpoint.read_bytes()
    state = torch.load(run.best_checkpoint, weights_only=True)
    state["state_dict"].popitem()
    torch.save(state, run.best_checkpoint)
    for content, line in (
        (run.best_checkpoint.read_bytes(), "best.ckpt is of another model than the run"),
        (whole[:1000], "best.ckpt is damaged"),
    ):
        run.best_checkpoint.write_bytes(content)
        assert cli("predict", "run", "pictures") == 1
        assert line in capsys.readouterr().err
    run.best_checkpoint.unlink()
    for words in (
        ["predict", "run", "pictures"],
        ["evaluate", "run"],
        ["explain", "run"],
        ["export", "run", "--format", "safetensors"],
    ):
        assert cli(*words) == 1
        error = capsys.readouterr().err
        assert "run/checkpoints/best.ckpt is missing; `python -m dermaexp rm` frees" in error
        assert f"train a new run, cd {tmp_path} && python -m dermaexp dataset=npz" in error
        assert error.count("\n") == 1
    written = {"evaluations", "explanations", "exports"}
    assert not written & {item.name for item in tmp_path.iterdir()}, "nothing is left"


def test_from_python(
    data_file: Path, arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in one process, which stays as it was."""
    monkeypatch.chdir(tmp_path)
    words = ["model=ffn", "dataset=npz", f"dataset.path={data_file}", "epochs=2", "trainer=cpu"]
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    loggers = [logging.getLogger(name) for name in LIGHTNING]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.INFO)
    for name in RESOLVERS:
        OmegaConf.clear_resolver(name)
    torch.manual_seed(5)

    def state() -> tuple:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        logs = list(logging.root.handlers), [logger.level for logger in loggers]
        resolvers = [name for name in RESOLVERS if OmegaConf.has_resolver(name)]
        return Path.cwd(), dict(os.environ), sys.argv, handlers, logs, resolvers

    before = state()
    runs = [dermaexp.run([*words, *NO_FIGURES]) for _ in range(2)]
    assert state() == before
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert drawn == torch.rand(1), "random numbers go on"
    logging.root.removeHandler(handler)
    first, second = runs
    assert first.path != second.path
    assert first.metrics["test"] == second.metrics["test"]
    assert list(first.history["epoch"]) == [1, 2]
    targets, probabilities = first.predictions["test"]
    assert (targets == arrays["test_labels"].ravel()).all()
    answers = dermaexp.load_run(first.path).predict(arrays["test_images"])
    np.testing.assert_allclose(answers[first.classes], probabilities, atol=1e-6)
    assert list(answers["class"]) == [first.classes[k] for k in probabilities.argmax(axis=1)]
    assert f"macro AUROC {first.metrics['test']['macro_auroc']:.4f}" in repr(first)
    assert "<table" in first._repr_html_()
    with pytest.raises(UserError, match="the key modle is unknown: did you mean 'model'"):
        dermaexp.run(["modle=cnn"])
    with pytest.raises(UserError, match="is no run directory"):
        dermaexp.load_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="an image is float64 of shape"):
        first.predict(np.zeros((2, 5, 5, 3)))


def test_importing_dermaexp_imports_no_torch() -> None:
    code = "import sys, dermaexp; dermaexp.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_mistyped_verb(cli: Cli, capsys) -> None:
    assert cli("predct", "run") == 1
    assert "the verb predct is unknown: did you mean 'predict'?" in capsys.readouterr().err
