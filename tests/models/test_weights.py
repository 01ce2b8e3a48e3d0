"""Weights from files: every form that they come in, what is left out, and what is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dermaexp.core.errors import UserError
from dermaexp.models import config, torchvision_net, weights
from dermaexp.models.adapter import Backbone
from dermaexp.models.cnn import CNN
from dermaexp.models.files import LOADING
from dermaexp.models.resnet11 import ResNet11

SHAPE = (3, 8, 8)
Tensors = dict[str, torch.Tensor]


def small(classes: int = 3, channels: int = 3) -> nn.Module:
    return ResNet11((channels, 8, 8), classes, width=2)


@pytest.fixture
def saved() -> Tensors:
    torch.manual_seed(1)
    net = small()
    with torch.no_grad():
        for value in net.state_dict().values():
            value.add_(1 if value.dtype == torch.long else torch.rand(value.shape))
    return net.state_dict()


def loaded(
    net: nn.Module, tensors: Tensors, classes: int = 3, channels: int = 3, keep: bool = True
) -> weights.Loaded:
    return weights.load(
        net, tensors, "FILE", channels=channels, classes=classes, keep_statistics=keep
    )


def test_the_keys_of_the_rules() -> None:
    assert set(LOADING) == set(config.Loading.model_fields)


FORMS: dict[str, Callable[[Tensors], Any]] = {
    "plain.pt": lambda tensors: tensors,
    "lightning.ckpt": lambda tensors: {
        "epoch": 3,
        "state_dict": {f"net.{name}": value for name, value in tensors.items()},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
    },
    "parallel.pth": lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
    "compiled.pt": lambda tensors: {f"_orig_mod.{name}": value for name, value in tensors.items()},
    "wrapped.pt": lambda tensors: {
        "model": {f"module._orig_mod.model.{name}": value for name, value in tensors.items()},
        "optimizer": {"lr": 0.1},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_checkpoint_is_loaded(form: str, saved: Tensors, tmp_path: Path) -> None:
    torch.save(FORMS[form](saved), tmp_path / form)
    net = small()
    said = loaded(net, weights.read(tmp_path / form))
    assert str(said) == f"{len(saved)} of the model's {len(saved)} tensors"
    assert all(torch.equal(value, saved[name]) for name, value in net.state_dict().items())


def test_safetensors_are_loaded(saved: Tensors, tmp_path: Path) -> None:
    tensors = {f"model.{name}": value.contiguous() for name, value in saved.items()}
    save_file(tensors, tmp_path / "w.safetensors")
    net = small()
    assert loaded(net, weights.read(tmp_path / "w.safetensors")).tensors == len(saved)
    assert all(torch.equal(value, saved[name]) for name, value in net.state_dict().items())


def test_a_last_layer_of_other_classes_is_left_out(saved: Tensors) -> None:
    net = small(classes=5)
    before = net.head.weight.clone()
    said = loaded(net, {**saved, "aux.weight": torch.zeros(2)}, classes=5)
    assert torch.equal(net.head.weight, before)
    assert torch.equal(net.maps[0][0].weight, saved["maps.0.0.weight"])
    assert str(said) == (
        f"{len(saved) - 2} of the model's {len(saved)} tensors; its last layer (head) starts anew; "
        "left out: aux.weight"
    )


def test_a_file_without_last_layer_and_counters(saved: Tensors) -> None:
    backbone = {
        f"backbone.{name}": value
        for name, value in saved.items()
        if not name.startswith("head.") and "num_batches" not in name
    }
    assert loaded(small(), backbone).head == "head"


def test_filters_of_rgb_are_summed_for_gray_images(saved: Tensors) -> None:
    colour, gray = small(), small(channels=1)
    loaded(colour, saved)
    assert "summed over red, green and blue" in str(loaded(gray, saved, channels=1))
    images = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        expected = colour.eval()(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(gray.eval()(images), expected)


def test_statistics_of_pixels_come_with_the_weights(saved: Tensors) -> None:
    mean, std = torch.rand(3, 1, 1), torch.rand(3, 1, 1)
    own = {f"net.{name}": value for name, value in saved.items()} | {"mean": mean, "std": std}
    assert loaded(small(), own).statistics == (mean, std)
    assert loaded(small(), own, keep=False).statistics is None
    assert loaded(small(), saved | {"mean": mean, "std": std}).statistics is None, "not ours"
    gray = loaded(small(channels=1), own, channels=1).statistics
    torch.testing.assert_close(gray[0], mean.mean().view(1, 1, 1))


def test_a_backbone_takes_a_librarys_file_or_a_runs() -> None:
    arch, shape = "squeezenet1_1", (3, 32, 32)
    source = torchvision_net.build(shape, 3, arch)
    net = torchvision_net.build(shape, 3, arch, "weights.pth")
    imagenet = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    assert torch.equal(net.mean, imagenet)
    assert loaded(net, source.net.state_dict()).tensors == len(source.net.state_dict())
    assert torch.equal(net.mean, imagenet), "a library's file says nothing of pixels"
    images = torch.rand(2, *shape)
    with torch.no_grad():
        expected = source.net.eval()((images - net.mean) / net.std)
        torch.testing.assert_close(net.eval()(images), expected)
    of_run = {f"net.{name}": value for name, value in source.state_dict().items()}
    said = loaded(net, of_run | {"mean": torch.zeros(1, 1, 1), "std": torch.ones(1, 1, 1)})
    assert not net.mean.any() and not said.unused
    assert said.statistics is not None
    standardised = torchvision_net.build(shape, 3, arch, "weights.pth", standardised=True)
    assert isinstance(standardised, Backbone) and not standardised.mean.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {f"encoder.{name}": value for name, value in t.items()},
            "FILE has no tensor of this model: it has encoder.maps.0.0.weight, ",
        ),
        (
            lambda t: t | {"maps.0.0.weight": torch.zeros(4, 3, 3, 3)},
            "FILE is of another model: maps.0.0.weight is (4, 3, 3, 3) in it and (2, 3, 3, 3) in "
            "this model; give the model and size of its training",
        ),
        (
            lambda t: t | {"maps.0.0.weight": torch.zeros(2, 1, 3, 3)},
            "in this model; give dataset.grayscale=true",
        ),
        (
            lambda t: {name: value for name, value in t.items() if name != "maps.0.0.weight"},
            "FILE lacks 1 of the model's 62 tensors: maps.0.0.weight; give the model that",
        ),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(
    change: Callable[[Tensors], Tensors], message: str, saved: Tensors
) -> None:
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UserError) as error:
        loaded(net, change(dict(saved)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Payload:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("content", ["code", "module", "text", "numbers", "archive"])
def test_files_of_anything_but_tensors_are_refused(content: str, tmp_path: Path) -> None:
    file, trace = tmp_path / "w.pt", tmp_path / "trace"
    if content == "text":
        file.write_text("text")
    elif content == "archive":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", "b")
    else:
        module = CNN((1, 12, 12), 2)
        torch.save({"code": {"w": Payload(trace)}, "module": module}.get(content, {"a": 1}), file)
    with pytest.raises(UserError) as error:
        weights.read(file)
    line = "holds no tensors by name" if content == "numbers" else "cannot be loaded as tensors"
    assert str(error.value).startswith(f"{file} {line}")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert not trace.exists()


def test_a_damaged_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(UserError, match=r"w\.safetensors cannot be loaded as tensors alone \("):
        weights.read(tmp_path / "w.safetensors")
