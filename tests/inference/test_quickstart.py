"""examples/quickstart.ipynb runs from its first cell to its last, without a network."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbmake.nb_run import NotebookRun

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = nbformat.read(NOTEBOOK, 4)
    assert not any(cell.get("outputs") for cell in stored.cells), "it is kept without outputs"
    monkeypatch.setenv("HOME", str(tmp_path))  # without ~/.medmnist
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = tmp_path / NOTEBOOK.name
    text = NOTEBOOK.read_text(encoding="utf-8")
    few = r"epochs=1\", \"+trainer.limit_train_batches=4"
    notebook.write_text(text.replace("epochs=3", few), encoding="utf-8")
    result = NotebookRun(notebook, 300).execute()
    assert result.error is None, result.error
    outputs = [output for cell in result.nb.cells for output in cell.get("outputs", ())]
    results = [output.data for output in outputs if output.output_type == "execute_result"]
    pages = [data["text/html"] for data in results if "text/html" in data]
    assert sum("image/png" in data for data in results) == 5
    assert len(pages) == 6
    assert "SYNTHETIC" in pages[0]
    assert "majority baseline" in pages[3]
    assert len(list((tmp_path / "outputs").glob("*/*/predictions.npz"))) == 2
