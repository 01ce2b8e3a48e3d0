"""Exported models, as other programs use them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import NO_FIGURES
from PIL import Image
from safetensors import safe_open

import dermaexp
from dermaexp.data import load
from dermaexp.inference import export, exporters
from dermaexp.inference.exporters import Exported

Cli = Callable[..., int]


@pytest.fixture
def train(cli: Cli, data_file: Path) -> Callable[..., None]:
    def run(*options: str) -> None:
        data = ["dataset=npz", f"dataset.path={data_file}", "epochs=1", "trainer=cpu"]
        assert cli(*data, *options, *NO_FIGURES, "hydra.run.dir=run") == 0

    return run


@pytest.mark.parametrize(
    "options",
    [
        [
            *("model=ffn", "test_time_augment=dihedral", "calibrate=true"),
            *("dataset.grayscale=false", "dataset.normalize=true"),
        ],
        ["model=torchvision", "model.arch=squeezenet1_1"],
    ],
)
def test_onnx_gives_the_runs_probabilities(
    cli: Cli,
    train: Callable[..., None],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    capsys,
    options: list[str],
) -> None:
    train(*options)
    assert cli("export", "run", "--format", "onnx", "--output", "out") == 0
    assert "checked on 50 test images of small" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    (found,) = session.run(None, {"images": arrays["test_images"]})
    run = dermaexp.load_run(tmp_path / "run")
    expected = run.predict(arrays["test_images"])[run.classes]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == run.classes
    assert metadata["data_fingerprint"] == run.record["data"]["fingerprint"]


def test_the_program_beside_it_predicts_pictures_of_any_size(
    cli: Cli, train: Callable[..., None], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    train("model=ffn")
    assert cli("export", "run", "--output", "out") == 0
    program = tmp_path / "out" / "predict.py"
    assert len(program.read_text().splitlines()) < 30
    files = []
    for index, size in enumerate([(12, 12), (40, 30), (9, 25)]):
        files.append(f"{index}.jpg")
        Image.fromarray(arrays["test_images"][index]).resize(size).save(tmp_path / files[-1])
    Image.open(tmp_path / "1.jpg").convert("L").save(tmp_path / "gray.png")
    files.append("gray.png")
    assert cli("predict", "run", *files, "--csv", "out.csv") == 0
    expected = list(csv.DictReader((tmp_path / "out.csv").open()))
    answer = subprocess.run(
        [sys.executable, "-I", program, *files], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    found = list(csv.DictReader(io.StringIO(answer.stdout), delimiter="\t"))
    columns = [name for name in expected[0] if name.startswith("p(")]
    assert [row["predicted"] for row in found] == [row["predicted"] for row in expected]
    numbers, wanted = (
        np.array([[float(row[name]) for name in columns] for row in rows])
        for rows in (found, expected)
    )
    np.testing.assert_allclose(numbers, wanted, atol=1e-5)


def test_the_other_formats(
    cli: Cli, train: Callable[..., None], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """In one folder, each with its own list of files."""
    train("model=ffn", "test_time_augment=dihedral_zoom")
    for name in ("torch_export", "safetensors"):
        assert cli("export", "run", "--format", name, "--output", "out") == 0
    run = dermaexp.load_run(tmp_path / "run")
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    with torch.inference_mode():
        found = program(torch.from_numpy(arrays["test_images"]))
    expected = run.predict(arrays["test_images"])[run.classes]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"])["seed"] == 0
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, value in run.model.state_dict().items():
        assert torch.equal(weights[key], value)


def test_nothing_is_written_unless_the_check_passes(
    cli: Cli,
    train: Callable[..., None],
    data_file: Path,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("model=ffn")
    real = exporters.BY_FORMAT["safetensors"]

    def shifted(*arguments) -> Exported:
        content, predict = real(*arguments)
        return Exported(content, lambda images: predict(images) + 2e-5)

    def failing(*_) -> Exported:
        raise RuntimeError("no such operator")

    def error(*words: str) -> str:
        capsys.readouterr()
        assert cli("export", *words, "--format", "safetensors") == 1
        assert not list(tmp_path.glob("exports/*/*")), "nothing is left"
        return capsys.readouterr().err

    monkeypatch.setitem(exporters.BY_FORMAT, "safetensors", shifted)
    assert "model.safetensors differs from the run's model by 2e-05" in error("run")
    monkeypatch.setitem(exporters.BY_FORMAT, "safetensors", failing)
    assert "cannot be exported as safetensors: RuntimeError: no such operator" in error("run")
    assert "nowhere is no run directory" in error("nowhere")
    monkeypatch.setitem(export.FORMATS, "safetensors", ("a", ("not_installed",)))
    assert "not_installed is missing: python -m pip install 'dermaexp[export]'" in error("run")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "_kept", {})
    data_file.unlink()
    assert cli("export", "run", "--format", "safetensors") == 0
    assert "images of noise, not on real images" in capsys.readouterr().out
