"""The model card: its front matter as Hugging Face reads it, and what it says of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers import NO_FIGURES

from dermaexp.inference.card import card
from dermaexp.runs.directory import RunDirectory

Cli = Callable[..., int]


def test_a_card_has_the_runs_numbers(cli: Cli, data_file: Path, tmp_path: Path, capsys) -> None:
    data = ["dataset=npz", f"dataset.path={data_file}", "dataset.classes=['a|b',b,melanoma]"]
    assert cli(*data, "model=ffn", "epochs=1", *NO_FIGURES, "hydra.run.dir=run") == 0
    capsys.readouterr()
    assert cli("card", "run") == 0
    text = capsys.readouterr().out
    front = yaml.safe_load(text.split("---\n")[1])
    (result,) = front["model-index"][0]["results"]
    test = RunDirectory(tmp_path / "run").read_metrics()["test"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "accuracy": test["accuracy"],
        "roc_auc": test["macro_auroc"],
        "f1": test["macro_f1"],
    }
    assert front["license"] == "other"
    low, high = test["intervals"]["accuracy"]
    assert f"| accuracy | {test['accuracy']:.4f} | {low:.3f}–{high:.3f} |" in text  # noqa: RUF001
    (row,) = (line for line in text.splitlines() if line.startswith("| a\\|b |"))
    assert f"| {test['per_class']['a|b']['samples']} |" in row
    assert "**Not for clinical use.**" in text
    assert "Not measured: the run did not know which images show the same lesion" in text
    taken = test["confusion_matrix"][0][1] / test["per_class"]["a|b"]["samples"]
    assert f"{100 * taken:.1f}\N{NO-BREAK SPACE}% are taken for b" in text
    assert "Synthetic" not in text
    assert cli("card", "run", "--output", "README.md") == 0
    assert (tmp_path / "README.md").read_text() == text
    capsys.readouterr()
    assert cli("card", "run", "--output", "README.md") == 1
    assert "README.md exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "synthetic", "licence"),
    [
        ("dermaexp.data.medmnist.load", False, "cc-by-nc-4.0"),
        ("dermaexp.data.medmnist.load", True, "other"),
        ("mine.load", False, "other"),
    ],
)
def test_the_licence_is_that_of_a_medmnist_set(
    cli: Cli, tmp_path: Path, target: str, synthetic: bool, licence: str
) -> None:
    arguments = ["dataset=synthetic", "dataset.size=8", "trainer=debug", "model=ffn"]
    assert cli(*arguments, *NO_FIGURES, "hydra.run.dir=run") == 0
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    record["config"]["dataset"] |= {"_target_": target, "flag": "dermamnist"}
    record["choices"]["dataset"] = "dermamnist" if "medmnist" in target else "mine"
    record["data"]["synthetic"] = synthetic
    file.write_text(json.dumps(record))
    text = card(RunDirectory(tmp_path / "run"))
    assert yaml.safe_load(text.split("---\n")[1])["license"] == licence
    assert "**Synthetic data**" in text, "metrics.json says so, too"
