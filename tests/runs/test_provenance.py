"""Where a run's numbers come from."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from dermaexp.runs.provenance import code_digest, components, git_commit


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", *who, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "dermaexp"
    package.mkdir()
    main = package / "__main__.py"
    main.write_text("1\n")
    assert git_commit(package) is None, "no repository"
    git("init")
    assert git_commit(package) is None, "not tracked"
    git("add", ".")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_commit(package) == commit
    (tmp_path / "notes.txt").touch()
    assert git_commit(package) == commit, "notes change no number"
    (package / "mlp.py").touch()
    assert git_commit(package) == f"{commit}+changes", "a new file may"
    (package / "mlp.py").unlink()
    main.write_text("2\n")
    assert git_commit(package) == f"{commit}+changes"


@pytest.mark.slow
def test_the_users_own_code_and_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "traced_net.py").write_text("1\n")
    (tmp_path / "traced_parts").mkdir()
    (tmp_path / "traced_parts" / "loss.py").write_text("1\n")
    config = {
        "model": {"_target_": "traced_net.Net", "layers": [{"_target_": "torch.nn.ReLU"}]},
        "loss": {"_target_": "traced_parts.loss.Loss"},
        "callbacks": {"a": {"_target_": "pytest.Callback"}},
    }
    first = components(config)
    assert first["versions"] == {"pytest": pytest.__version__}
    assert first["own_code"].keys() == {"traced_net", "traced_parts"}
    (tmp_path / "traced_parts" / "loss.py").write_text("2\n")
    second = components(config)
    assert second["own_code"]["traced_net"] == first["own_code"]["traced_net"]
    assert second["own_code"]["traced_parts"] != first["own_code"]["traced_parts"]
    timm = pytest.importorskip("timm")
    config = {"model": {"_target_": "dermaexp.models.timm_net.build"}}
    assert components(config) == {"versions": {"timm": timm.__version__}, "own_code": {}}


@pytest.mark.parametrize("is_script", [True, False], ids=["script", "notebook"])
def test_classes_of_a_script_or_a_notebook(
    is_script: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their module, __main__, was not imported and has no spec; a notebook has no file either."""
    module = types.ModuleType("its_main")
    if is_script:
        file = tmp_path / "script.py"
        file.write_text("class Net: ...")
        module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "its_main", module)
    found = components({"model": {"_target_": "its_main.Net"}})["own_code"]
    assert found == ({"its_main": code_digest(file)} if is_script else {})
