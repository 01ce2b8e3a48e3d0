"""The demo: what it answers to a picture, the verb's refusals, and its page in Chromium."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES
from PIL import Image
from torch import nn

import dermaexp
from dermaexp.core.errors import UserError
from dermaexp.data.sample import spread
from dermaexp.inference import demo, demonstrated, neighbours
from dermaexp.inference.answer import answer
from dermaexp.inference.demonstrated import Demonstrated
from dermaexp.inference.explanation import attributions, overlay
from dermaexp.inference.neighbours import Features, TrainingImages
from dermaexp.inference.trained import TrainedModel
from dermaexp.training.tta import VIEWS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from dermaexp.inference.run import Run

Cli = Callable[..., int]
NAMES = ("nevus", "<b>bcc</b>")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A calibrated run on gray images, whose source is in colour: class 1 is mostly brighter."""
    folder = tmp_path_factory.mktemp("demo")
    generator = np.random.default_rng(0)
    content = {}
    for split, samples in (("train", 80), ("val", 20), ("test", 30)):
        labels = np.arange(samples) % 2
        noise = generator.integers(0, 156, (samples, 1, 1, 3)) * np.ones((12, 12, 1), int)
        content[f"{split}_images"] = (noise + 100 * labels[:, None, None, None]).astype(np.uint8)
        content[f"{split}_labels"] = labels.astype(np.uint8)[:, None]
    np.savez(folder / "data.npz", **content)
    data = ["dataset=npz", f"dataset.path={folder / 'data.npz'}"]
    options = [
        "model=ffn",
        "epochs=3",
        "optimizer.lr=0.01",
        "trainer=cpu",
        "calibrate=true",
        *NO_FIGURES,
    ]
    names = f"dataset.classes=[{','.join(map(repr, NAMES))}]"
    return dermaexp.run([*data, names, *options, f"hydra.run.dir={folder / 'run'}"])


@pytest.fixture(scope="module")
def shown(run: Run) -> Demonstrated:
    return demonstrated.demonstrated(run.directory)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A bright picture of another size."""
    pixels = np.random.default_rng(1).integers(130, 250, (40, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_an_answer_has_the_probabilities_of_predict(
    run: Run, shown: Demonstrated, photo: Path
) -> None:
    found = answer(shown.model, photo)
    assert (found.probabilities == run.predict([photo])[run.classes].to_numpy()).all()
    assert found.predicted == 1
    assert found.neighbours == []
    with Image.open(photo) as image:
        small = image.resize((12, 12), Image.Resampling.BILINEAR, box=(25, 0, 65, 40))
    gray = np.array(small.convert("L"))
    assert (found.seen == gray[..., None]).all()
    (attribution,) = attributions(shown.model, gray[None], np.array([1]))
    assert (found.overlay == overlay(gray, attribution)).all()
    assert found.has_negative, "of integrated gradients"


def test_a_training_image_is_its_own_nearest(run: Run, shown: Demonstrated) -> None:
    """The others follow by the cosine of the hidden layer, computed in NumPy."""
    images = np.load(run.config.dataset.path)["train_images"]
    found = answer(shown.model, images[7], shown.training).neighbours
    hidden, _ = (layer for layer in shown.model.net.layers if isinstance(layer, nn.Linear))
    gray = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    pixels = (gray.reshape(80, -1) / 255 - shown.model.mean.item()) / shown.model.std.item()
    weight, bias = (tensor.detach().numpy() for tensor in (hidden.weight, hidden.bias))
    features = 1 / (1 + np.exp(-(pixels @ weight.T + bias)))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similarities = features @ features[7]
    nearest = np.argsort(-similarities)[:5]
    assert [near.place for near in found] == list(nearest)
    assert found[0].place == 7
    np.testing.assert_allclose(
        [near.similarity for near in found], similarities[nearest], atol=1e-5
    )
    assert found[0].similarity == pytest.approx(1, abs=1e-6)
    assert [near.class_name for near in found] == [NAMES[place % 2] for place in nearest]
    assert (found[0].image[..., 0] == gray[7]).all()


def test_features_are_means_over_positions() -> None:
    """Of a last layer that is a convolution, and of one that reads a transformer's tokens."""
    first = nn.Conv2d(3, 4, 3)
    maps = nn.Sequential(first, nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tokens = nn.Sequential(first, nn.Flatten(2), _Transposed(), nn.Linear(4, 2), _Mean())
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), np.uint8)
    for net in (maps, tokens):
        model = TrainedModel(
            net,
            torch.zeros(3, 1, 1),
            torch.ones(3, 1, 1),
            image_shape=(3, 6, 6),
            classes=NAMES,
            views=VIEWS["none"],
            temperature=None,
        )
        with torch.inference_mode():
            expected = first(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).mean(dim=(2, 3))
        expected = (expected / expected.norm(dim=1, keepdim=True)).numpy()
        np.testing.assert_allclose(Features(model)(images), expected, atol=1e-6)


class _Transposed(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.transpose(1, 2)


class _Mean(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.mean(dim=1)


def test_many_training_images_are_looked_up_in_part(
    shown: Demonstrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shown.training
    assert len(whole.features) == 80
    monkeypatch.setattr(neighbours, "BATCH", 7)
    monkeypatch.setattr(neighbours, "MOST_BYTES", 21 * whole.features[0].nbytes)
    part = TrainingImages(shown.model, whole.images, whole.labels)
    assert list(part.places) == list(spread(whole.labels, 21))
    np.testing.assert_allclose(part.features, whole.features[part.places], atol=1e-6)
    last = part.places[-1]
    assert part.nearest(whole.images[last], 1)[0].place == last
    monkeypatch.setattr(neighbours, "MOST_IMAGES", 10)
    assert len(TrainingImages(shown.model, whole.images, whole.labels).places) == 10


def huge(path: Path) -> Path:
    """A PNG file that says that it has 30,000 x 20,000 pixels, and ends there."""
    header = struct.pack(">IIBBBBB", 30_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_files_that_are_no_pictures(shown: Demonstrated, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").touch()
    (tmp_path / "vector.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    huge(tmp_path / "huge.png")
    for name, line in (
        ("text.png", "text.png cannot be decoded: expected a whole PNG, JPEG"),
        ("empty.png", "empty.png has 0 bytes: expected a picture"),
        ("vector.png", "vector.png cannot be decoded: expected a whole PNG, JPEG"),
        ("huge.png", "huge.png has too many pixels: expected at most "),
    ):
        with pytest.raises(UserError) as caught:
            answer(shown.model, tmp_path / name)
        assert str(caught.value).startswith(line)


def test_what_the_page_shows_of_a_run(
    run: Run, shown: Demonstrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = run.metrics["test"]
    low, high = test["intervals"]["macro_auroc"]
    assert f"| {test['macro_auroc']:.4f} | {low:.3f}–{high:.3f} |" in shown.scores.markdown()  # noqa: RUF001
    assert shown.title == "ffn on data"
    assert shown.warnings == []
    assert shown.notes[0] == "Trained on 80 images, tested on 30."
    assert f"temperature {run.metrics['calibration']['temperature']:.2f}" in shown.notes[1]
    assert list(shown.test_labels) == [0] * 12 + [1] * 12, "24 of 15 images of each class"
    images = np.load(run.config.dataset.path)["test_images"]
    assert (shown.test_images[12] == images[1]).all()
    with monkeypatch.context() as patch:
        patch.setitem(run.record["data"], "fingerprint", "other")
        patch.setitem(run.record["data"], "synthetic", True)
        patch.setattr(demonstrated, "finished", lambda _: (run.record, run.metrics))
        other = demonstrated.demonstrated(run.directory)
    assert other.missing == "the data have changed since the run"
    assert (other.training, len(other.test_images)) == (None, 0)
    assert "synthetic" in other.warnings[0]


@pytest.fixture
def process_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the verb, which has its process for itself, changes in it is put back."""
    for name in (*demo.OFFLINE, "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("process_as_before")
def test_refusals(
    cli: Cli, run: Run, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    (tmp_path / "none").mkdir()
    for arguments, line in (
        (["none"], "none is no run directory: expected one with run.json in it"),
        (["none", "--port", "0"], "--port 0: expected a number from 1 to 65535"),
        (
            [run.path],
            "the package gradio is missing: python -m pip install 'dermaexp[demo]'",
        ),
    ):
        assert cli("demo", *arguments, "--no-browser") == 1
        output = capsys.readouterr()
        assert output.err == f"error: {line}\n"
    monkeypatch.setattr(demo, "required", lambda *_: None)
    without = shutil.copytree(run.path, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    assert cli("demo", without) == 1
    assert capsys.readouterr().err.startswith(f"error: {without}/checkpoints/best.ckpt is missing")


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken, socket.socket() as other:
        for one in (taken, other):
            one.bind((demo.HOST, 0))
        taken.listen()
        first, second = (one.getsockname()[1] for one in (taken, other))
        other.close()
        assert demo.free_port([first, second]) == second
        with pytest.raises(UserError, match=f"port {first} is taken or not allowed: give another"):
            demo.free_port([first])


@pytest.fixture
def page(run: Run, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The verb in a process of its own, with the address that it prints."""
    if not importlib.util.find_spec("gradio"):
        pytest.skip("no gradio here: pip install 'dermaexp[demo]'")
    command = [sys.executable, "-m", "dermaexp", "demo", str(run.path), "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Where the tests run in a shell's background, it would ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        text=True,
    )
    try:
        line = server.stdout.readline()
        assert "demo of ffn on data: http://127.0.0.1:" in line, line + server.stdout.read()
        yield server, line.split()[5]
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_the_page_in_a_browser(
    browser: Chrome,
    page: tuple[subprocess.Popen[str], str],
    run: Run,
    photo: Path,
    tmp_path: Path,
) -> None:
    server, address = page
    top = f"{NAMES[1]}\n{NAMES[1]}\n{100 * run.predict([photo])['confidence'][0]:.0f}%"
    (tmp_path / "text.png").write_text("text")
    browser.get_log("performance")
    browser.get(address)
    wait(lambda: css(browser, "#picture input[type=file]"))
    assert "Not for clinical use." in css(browser, "#warning")[0].text
    assert f"{run.metrics['test']['accuracy']:.4f}" in css(browser, "#scores")[0].text

    upload(browser, photo)
    wait(lambda: top in css(browser, "#probabilities")[0].text)
    images = css(browser, "#explanation img")
    assert [image.get_property("naturalWidth") for image in images] == [216, 216]
    similar = css(browser, "#neighbours figcaption")
    assert len(similar) == 5
    assert all(text.text.startswith(NAMES) for text in similar)

    upload(browser, tmp_path / "text.png")
    alert = "text.png cannot be decoded: expected a whole PNG, JPEG"
    wait(lambda: any(alert in shown.text for shown in css(browser, "#message [role=alert]")))
    assert css(browser, "#explanation img") == []

    upload(browser, photo)
    wait(lambda: css(browser, "#explanation img") and not css(browser, "#message p"))
    css(browser, "#tests button")[0].click()
    wait(lambda: "A test image of the class nevus" in css(browser, "#message")[0].text)

    assert requests(browser, "127.0.0.1") > 20
    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate(timeout=20)
    assert (rest, server.returncode) == ("ended; uploaded pictures are deleted\n", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "text.png"]


def css(browser: Chrome, selector: str) -> list:
    return browser.find_elements("css selector", selector)


def upload(browser: Chrome, file: Path) -> None:
    """Choose the file, after the picture before it is cleared."""
    for button in css(browser, "#picture button[title=Clear]"):
        button.click()
    wait(lambda: css(browser, "#picture input[type=file]"))
    css(browser, "#picture input[type=file]")[0].send_keys(str(file))


def wait(until: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as it is so, also after elements that have gone meanwhile."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if until():
                return
        except StaleElementReferenceException:
            continue
        time.sleep(0.05)
    pytest.fail("the page does not show it")


def requests(browser: Chrome, host: str) -> int:
    """Count the requests of the page, which must all go to `host`."""
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    addresses = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    outside = ("data:", "blob:", "chrome:")  # no requests to a host
    asked = [address for address in addresses if not address.startswith(outside)]
    assert {address.split("/")[2].partition(":")[0] for address in asked} == {host}
    return len(asked)
