"""What is sent to others: whose files are replaced, no absolute paths, no formulas, no markup."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest
from helpers import OTHER_DATA, compare_command, exit_code, make_run, rows, write_run

from dermaexp.audit.__main__ import main
from dermaexp.compare import output
from dermaexp.compare.comparison import comparison_of
from dermaexp.core.errors import UserError
from dermaexp.core.grid import Grid
from dermaexp.core.shortened import short_command, short_path, shortened
from dermaexp.report.page import write_report

FILES = {"leaderboard.csv", "leaderboard.md", "runs.csv", "comparison.html"}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "name", [*sorted(FILES), "comparison.json", "figures/test_accuracy.png", "figures"]
)
def test_files_of_others_are_not_overwritten(
    name: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    write_run(tmp_path / "runs" / "a")
    output = tmp_path / "out"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text('{"mine": 1}')
    assert compare_command(monkeypatch, tmp_path / "runs", "--output", output) == 1
    error = capsys.readouterr().err
    assert name.partition("/")[0] in error and error.count("\n") == 1
    assert content(output) == {name: b'{"mine": 1}'}, "all or nothing"


@pytest.mark.slow
def test_a_comparison_replaces_its_own_files_alone(tmp_path: Path) -> None:
    """Figures that there are none of any more go, those of others stay."""
    write_run(tmp_path / "a", "cnn")
    other = write_run(tmp_path / "b", "ffn", data={**OTHER_DATA, "test_fingerprint": "other"})
    write_run(tmp_path / "c", "mlp")
    output.compare(tmp_path)
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"effects.png", "test_accuracy_2.png"} <= figures
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert set(record["files"]) == FILES | {f"figures/{name}" for name in figures}
    (tmp_path / "figures" / "paper.png").write_text("mine")
    (tmp_path / "figures" / "effects_2.png").write_text("mine too")
    for run in (other, output.Path(tmp_path / "c")):
        path = getattr(run, "path", run)
        path.rename(tmp_path.parent / f"{tmp_path.name}_{path.name}")
    output.compare(tmp_path)
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures == {
        "test_accuracy.png",
        "per_class_accuracy.png",
        "confusion_matrices.png",
        "effects_2.png",
        "paper.png",
    }


def test_files_without_a_list_are_not_overwritten(tmp_path: Path, monkeypatch, capsys) -> None:
    write_run(tmp_path / "runs" / "a", "cnn")
    output = tmp_path / "out"
    assert compare_command(monkeypatch, tmp_path / "runs", "--output", output) == 0
    (output / "comparison.json").unlink()
    (output / "leaderboard.csv").write_text("run,km\n1,10\n")
    assert compare_command(monkeypatch, tmp_path / "runs", "--output", output) == 1
    assert f"{output}/leaderboard.csv was not written by dermaexp" in capsys.readouterr().err
    assert (output / "leaderboard.csv").read_text() == "run,km\n1,10\n"


@pytest.mark.slow
def test_a_list_of_files_leads_nowhere_else(tmp_path: Path) -> None:
    write_run(tmp_path / "in" / "a")
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "in" / "notes.txt").write_text("mine")
    files = [
        "../precious.txt",
        str(tmp_path / "precious.txt"),
        "notes.txt",
        3,
        "figures/../notes.txt",
    ]
    (tmp_path / "in" / "comparison.json").write_text(json.dumps({"schema": 1, "files": files}))
    with pytest.raises(UserError, match=r"comparison\.json was not written by dermaexp"):
        output.compare(tmp_path / "in")
    record = {"schema": 1, "written_by": "dermaexp", "files": files}
    (tmp_path / "in" / "comparison.json").write_text(json.dumps(record))
    output.compare(tmp_path / "in")
    assert (tmp_path / "precious.txt").exists() and (tmp_path / "in" / "notes.txt").exists()


@pytest.mark.slow
def test_an_audit_and_a_report_overwrite_no_file_of_others(
    data_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    arguments = ["dataset=npz", f"dataset.path={data_file}", "--output", tmp_path / "out"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audit.html").write_text("mine")
    assert exit_code(monkeypatch, main, *arguments) == 1
    assert "audit.html was not written by dermaexp" in capsys.readouterr().err
    assert content(tmp_path / "out") == {"audit.html": b"mine"}
    (tmp_path / "out" / "audit.html").unlink()
    assert exit_code(monkeypatch, main, *arguments) == 0
    (tmp_path / "out" / "figures").mkdir()
    (tmp_path / "out" / "figures" / "missed.png").write_text("mine")
    assert exit_code(monkeypatch, main, *arguments) == 0
    facts = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert facts["schema"] == 1 and "audit.html" in facts["files"]
    assert (tmp_path / "out" / "figures" / "missed.png").read_text() == "mine"
    run = make_run(tmp_path / "run")
    run.report.write_text("mine")
    with pytest.raises(UserError, match=r"report\.html was not written by dermaexp"):
        write_report(run)
    assert run.report.read_text() == "mine"


@pytest.mark.slow
def test_pages_hold_no_absolute_paths(data_file: Path, tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "it's home"
    sweep = home / "my project" / "multirun" / "s"
    monkeypatch.setenv("HOME", str(home))
    given = f"dataset.path={home}/data/x.npz"
    for name in ("a", "b"):
        folder = sweep / name
        overrides = [given, f"hydra.run.dir={folder}"]
        run = make_run(
            folder,
            command=shlex.join(["python", "-m", "dermaexp", "-m", given]),
            overrides=overrides,
            choices={"model": "cnn"},
            data={**OTHER_DATA, "fingerprint": name},
            config={"seed": 7, "dataset": {"path": f"{home}/data/{name}.npz", "dir": str(sweep)}},
        )
        write_report(run)
    write_run(sweep / "bad", status="failed", error=f"{sweep}/bad/x and {home}/y are not there")
    output.compare(sweep)
    out = home / "elsewhere"
    output.write(comparison_of([sweep]), out)
    arguments = ["dataset=npz", f'dataset.path="{data_file}"', "--output", home / "audit"]
    assert exit_code(monkeypatch, main, *arguments) == 0
    written = [
        *sweep.glob("*.*"),
        *sweep.glob("*/report.html"),
        *out.glob("*.*"),
        *home.glob("audit/*.*"),
    ]
    assert len(written) == 5 + 2 + 5 + 3
    for path in written:
        text = path.read_text()
        for form in (str(home), str(home).replace("'", "&#39;"), "home/my", str(sweep)):
            assert form not in text, path
    page = (sweep / "a" / "report.html").read_text()
    assert "path: ~/data/a.npz" in page and "dataset.path=~/data/x.npz" in page
    assert "hydra.run.dir=." in page
    assert "dataset.path=~/data/a.npz" in (out / "leaderboard.md").read_text()
    runs = {row["name"]: row for row in rows(out, "runs")}
    assert runs["ffn"]["error"] == "~/my project/multirun/s/bad/x and ~/y are not there"
    assert runs["ffn"]["folder"] == "../my project/multirun/s/bad"
    assert {row["name"]: row for row in rows(sweep, "runs")}["ffn"]["error"].startswith("bad/x and")
    assert json.loads((sweep / "a" / "run.json").read_text())["overrides"][0] == given


def test_only_whole_names_are_shortened(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    folder = Path("/home/anna/p/run")
    for text, short in {
        "/home/anna/x": "~/x",
        "a=/home/anna,b='/home/anna/y z'": "a=~,b='~/y z'",
        "/home/annabel /mnt/home/anna/x": "/home/annabel /mnt/home/anna/x",
        "file:///home/anna/conf": "file://~/conf",
        "/home/anna/p/run/a.npz in /home/anna/p/run": "a.npz in .",
        "/home/anna/p/running": "~/p/running",
        "/data/x.npz": "/data/x.npz",
    }.items():
        assert shortened({"a": [text, 1, None]}, folder) == {"a": [short, 1, None]}
    assert short_command("python -m x 'k=/home/anna/a b' y", folder) == "python -m x 'k=~/a b' y"
    assert short_command("python -m x 'name=\"my net\"'", folder) == "python -m x 'name=\"my net\"'"
    assert short_path(Path("/home/anna/runs/a"), folder) == "../../runs/a"
    assert short_path(Path("/home/anna/runs/a"), Path("/tmp/x")) == "~/runs/a"
    monkeypatch.setenv("HOME", "/")
    assert shortened("/data/x", folder) == "/data/x"


@pytest.mark.slow
def test_cells_are_no_formulas(tmp_path: Path) -> None:
    names = [
        '=HYPERLINK("x")',
        "+1+cmd",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "plain",
        "-0.5",
        "1e-3",
    ]
    lines = Grid(["-name", "n"], [(name, -1.5) for name in names]).csv().decode()
    found = list(csv.reader(io.StringIO(lines, newline="")))
    assert [row[0] for row in found] == [
        "'-name",
        *(f"'{n}" for n in names[:5]),
        "'\n=1",
        *names[6:],
    ]
    assert {row[1] for row in found[1:]} == {"-1.5"}
    config = {"model": {"activation": "=1+1|<b>\n# x"}}
    write_run(tmp_path / "a", config=config, name="=cmd|'/c calc'!A1")
    write_run(tmp_path / "b", config={"optimizer": {"lr": -0.5}})
    output.compare(tmp_path)
    table = {row["name"]: row for row in rows(tmp_path)}
    assert table["'=cmd|'/c calc'!A1"]["model.activation"] == "'=1+1|<b>\n# x"
    assert table["ffn"]["optimizer.lr"] == "-0.5"
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "=1+1\\|&lt;b> # x" in markdown and "<b>" not in markdown
