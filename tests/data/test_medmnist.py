"""MedMNIST files: found, downloaded from a local server, checked, replaced by synthetic ones."""

from __future__ import annotations

import hashlib
import http.server
import importlib.machinery
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import FIGURES, serving

from dermaexp.core.console import print_note
from dermaexp.core.errors import UserError
from dermaexp.data import medmnist, medmnist_info
from dermaexp.data.lesions import CLASS_COUNTS


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /derma.npz and counts what it was asked for."""

    content = b""
    requests = 0
    pause = 0.0  # seconds before an answer
    cut = False  # close the connection half way

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/derma.npz"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path != "/derma.npz":
            self.send_error(404)
            return
        time.sleep(self.server.pause)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        half = len(self.server.content) // 2
        self.wfile.write(self.server.content[: half if self.server.cut else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(data_file: Path) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.content = data_file.read_bytes()
    with serving(server):
        yield server


@pytest.fixture
def derma(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """DermaMNIST's entry, pointed at the local server."""
    entry = dict(medmnist.INFO["dermamnist"])
    entry |= {"url": server.url, "MD5": hashlib.md5(server.content).hexdigest()}
    monkeypatch.setitem(medmnist.INFO, "dermamnist", entry)
    return server


def load(root: Path, flag: str = "dermamnist", size: int = 28, if_unavailable: str = "error"):
    return medmnist.load(flag, size, str(root), if_unavailable)


def test_downloads_once_then_finds_it(derma: Server, tmp_path: Path, arrays: dict) -> None:
    root = tmp_path / "root"
    splits = load(root)
    np.testing.assert_array_equal(splits.train.images, arrays["train_images"])
    assert splits.name == "DermaMNIST"
    assert splits.classes[4] == "melanoma"
    assert not splits.synthetic
    assert (root / "dermamnist.npz").read_bytes() == derma.content
    assert load(root).fingerprint == splits.fingerprint
    assert derma.requests == 1
    assert [file.name for file in root.iterdir() if not file.name.startswith(".")] == [
        "dermamnist.npz"
    ]


def test_a_file_with_another_md5_is_refused_and_kept(derma: Server, tmp_path: Path) -> None:
    file = tmp_path / "dermamnist.npz"
    file.write_bytes(b"mine")
    expected = hashlib.md5(derma.content).hexdigest()
    found = hashlib.md5(b"mine").hexdigest()
    with pytest.raises(UserError, match=f"has MD5 {found}, expected {expected}: delete it"):
        load(tmp_path, if_unavailable="synthetic")
    assert file.read_bytes() == b"mine"
    assert derma.requests == 0


@pytest.mark.parametrize("fault", ["wrong content", "not found", "no server", "cut off"])
def test_a_failed_download_leaves_nothing(
    fault: str, derma: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = medmnist.INFO["dermamnist"]
    if fault == "wrong content":
        entry["MD5"] = "0" * 32
    elif fault == "not found":
        entry["url"] = derma.url.replace("derma.npz", "gone.npz")
    elif fault == "no server":
        entry["url"] = "http://127.0.0.1:9/derma.npz"
    else:
        derma.cut = True
    root = tmp_path / "root"
    with pytest.raises(UserError) as error:
        load(root)
    message = str(error.value)
    reasons = {
        "wrong content": ["the file from 127.0.0.1 has another MD5"],
        "not found": ["127.0.0.1 answered 404 Not Found"],
        "no server": ["no connection to 127.0.0.1"],
        # urllib3 1 takes half a file for a whole one; the MD5 does not.
        "cut off": ["the connection to 127.0.0.1 broke", "the file from 127.0.0.1 has another MD5"],
    }[fault]
    assert any(f"cannot be downloaded ({reason})" in message for reason in reasons), message
    assert entry["url"] in message and entry["MD5"] in message and str(root) in message
    assert "\n" not in message
    assert [file.name for file in root.iterdir() if not file.name.endswith(".lock")] == []


def test_a_root_that_cannot_be_written_is_no_reason_for_synthetic_data(
    derma: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"give a folder to keep the data in, dataset\.root=DIR"):
        load(tmp_path / "file" / "root", if_unavailable="synthetic")
    assert derma.requests == 0


@pytest.mark.slow
def test_the_synthetic_stand_in_says_so(
    derma: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    medmnist.INFO["dermamnist"]["url"] = "http://127.0.0.1:9/derma.npz"
    splits = load(tmp_path, if_unavailable="synthetic")
    assert splits.synthetic
    assert "SYNTHETIC DATA" in splits.title
    assert "DermaMNIST" not in splits.title
    counts = {s: tuple(np.bincount(splits[s].labels, minlength=7)) for s in CLASS_COUNTS}
    assert counts == CLASS_COUNTS
    assert capsys.readouterr() == ("", ""), "sources print nothing"
    (note,) = splits.notes
    print_note(*note)
    box = " ".join(capsys.readouterr().err.replace("│", " ").split())
    for fact in ("SYNTHETIC DATA", "http://127.0.0.1:9/derma.npz", "dataset.if_unavailable=error"):
        assert fact in box
    assert medmnist.INFO["dermamnist"]["MD5"] in box


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.pause = 1.0  # long enough for the second to find the first at it
    md5 = hashlib.md5(server.content).hexdigest()
    file = tmp_path / "derma.npz"
    code = (
        "import sys; from pathlib import Path; from dermaexp.data.medmnist import fetch; "
        "fetch(sys.argv[1], sys.argv[2], Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, server.url, md5, str(file)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert file.read_bytes() == server.content
    assert server.requests == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flag": "bloodmist"}, "did you mean 'bloodmnist'"),
        ({"flag": "organmnist3d"}, "is unknown"),
        ({"size": 32}, "dataset.size=32: expected 28, 64, 128 or 224"),
        ({"if_unavailable": "draw"}, "draw: expected synthetic or error"),
        ({"flag": "bloodmnist", "if_unavailable": "synthetic"}, "expected error for bloodmnist"),
    ],
)
def test_options_are_checked_before_the_network(
    options: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, **options)


def test_every_supported_flag_has_what_is_used() -> None:
    """Twelve 2D flags, four sizes each."""
    assert len(medmnist.INFO) == 12
    for info in medmnist.INFO.values():
        for suffix in ("", "_64", "_128", "_224"):
            assert info[f"url{suffix}"].startswith("https://")
            assert len(info[f"MD5{suffix}"]) == 32


def test_larger_files_have_their_own_name_and_md5(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dict(medmnist.INFO["dermamnist"])
    entry |= {"url_64": server.url, "MD5_64": hashlib.md5(server.content).hexdigest()}
    monkeypatch.setitem(medmnist.INFO, "dermamnist", entry)
    assert load(tmp_path, size=64).name == "DermaMNIST 64 px"
    assert (tmp_path / "dermamnist_64.npz").exists()


@pytest.mark.slow
def test_the_stand_in_is_stamped_on_all_that_a_run_leaves(
    derma: Server, cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from dermaexp.report import curve_plots, plots

    medmnist.INFO["dermamnist"]["url"] = "http://127.0.0.1:9/derma.npz"
    titles = []
    for name in FIGURES:
        module = plots if hasattr(plots, name) else curve_plots
        draw = getattr(module, name)

        def spy(*arguments, draw=draw, **options):
            titles.append(options["title"])
            return draw(*arguments, **options)

        monkeypatch.setattr(module, name, spy)
    root = tmp_path / "root"
    assert cli("model=ffn", "trainer=debug", f"dataset.root={root}", "hydra.run.dir=run") == 0
    assert len(titles) == len(FIGURES) == 8
    assert all("SYNTHETIC DATA" in title for title in titles)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for data in (run["data"], metrics["data"]):
        assert data["synthetic"] is True
        assert "SYNTHETIC DATA" in data["name"]
    assert not (tmp_path / "run" / "medmnist").exists(), "no result of DermaMNIST"
    table = capsys.readouterr().out
    assert "ffn on Synthetic lesions (SYNTHETIC DATA)" in table


def test_error_stops_instead_of_drawing(derma: Server, cli, tmp_path: Path, capsys) -> None:
    medmnist.INFO["dermamnist"]["url"] = "http://127.0.0.1:9/derma.npz"
    root = tmp_path / "root"
    options = (f"dataset.root={root}", "dataset.if_unavailable=error", "hydra.run.dir=run")
    assert cli(*options) == 1
    assert "cannot be downloaded" in capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["status"] == "failed"
    assert "cannot be downloaded" in run["error"]
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_the_table_names_what_medmnist_lacks(tmp_path: Path, monkeypatch) -> None:
    package = importlib.machinery.ModuleSpec("medmnist", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(medmnist_info, "find_spec", lambda _: package)
    for content, reason in ((None, "No such file"), ("VALUES = {}\n", "'INFO'")):
        if content:
            (tmp_path / "info.py").write_text(content)
        with pytest.raises(ImportError, match=f"info.py has no table INFO any more: .*{reason}"):
            medmnist_info._read_info()
    monkeypatch.setattr(medmnist_info, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="medmnist is not installed"):
        medmnist_info._read_info()
