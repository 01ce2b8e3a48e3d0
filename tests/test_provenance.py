"""Where a run's numbers come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dermaexp.provenance import git_commit


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
