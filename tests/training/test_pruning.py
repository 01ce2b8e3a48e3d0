"""A training that its search ends early: what it reports, and that all processes end together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NO_FIGURES

from dermaexp.runs.directory import RunDirectory

TRIAL = """
class AtSecond:
    def report(self, value, epoch):
        with open("reported.txt", "a") as file:
            file.write(f"{epoch} {value}\\n")
        return epoch == 2
"""


@pytest.fixture
def pruned(
    cli: Callable[..., int], data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunDirectory]:
    """Run a job of a sweep as a trial that is pruned after its second epoch; gives its run."""
    (tmp_path / "own_trial.py").write_text(TRIAL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    trial = {"_target_": "own_trial.AtSecond"}
    monkeypatch.setattr("dermaexp.launch.attempt.trial_of", lambda job: trial)
    monkeypatch.setattr("dermaexp.launch.attempt._was_pruned", lambda trial: False)
    monkeypatch.setattr("dermaexp.compare.output.compare", lambda folder: 0)

    def run(*arguments: str) -> RunDirectory:
        data = ("dataset=npz", f"dataset.path={data_file}", "epochs=4", "model=ffn")
        assert cli("-m", *data, *NO_FIGURES, "hydra.sweep.dir=sweep", *arguments) == 0
        (folder,) = tmp_path.glob("sweep/*/run.json")
        return RunDirectory(folder.parent)

    return run


def check(run: RunDirectory, tmp_path: Path) -> None:
    """It reported both epochs once, and left what it had until then."""
    record, history = run.read_run(), run.read_history()
    assert (record["status"], record["pruned_after"]) == ("pruned", 2)
    expected = [f"{row['epoch']:.0f} {row['val_macro_auroc']}" for row in history]
    assert (tmp_path / "reported.txt").read_text().splitlines() == expected
    assert len(history) == len(run.checkpoint_files()) == 2
    assert not run.has_metrics() and not run.has_predictions()


@pytest.mark.slow
def test_it_ends_after_the_epoch_that_is_pruned(
    pruned: Callable[..., RunDirectory], tmp_path: Path, capsys
) -> None:
    check(pruned("trainer=cpu"), tmp_path)
    output = capsys.readouterr().out
    assert "job 0 pruned after epoch 2\nrun directory: " in output and "majority" not in output


@pytest.mark.distributed
def test_the_first_process_decides_for_all(
    pruned: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    check(pruned("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"), tmp_path)
