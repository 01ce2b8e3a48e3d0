"""Residual networks, torchvision's and timm's: sizes, counts, weights, and what they refuse."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import NO_FIGURES, serving
from torch import nn
from torchvision.models import ShuffleNet_V2_X0_5_Weights, WeightsEnum, get_model

from dermaexp.core.errors import UserError
from dermaexp.models import resnet, torchvision_net
from dermaexp.models.adapter import Backbone, sides_to_try

# The smallest of each family, and the side to which it needs 28-pixel images scaled.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": None,
    "efficientnet_v2_s": None,
    "googlenet": None,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": None,
    "mobilenet_v2": None,
    "mobilenet_v3_small": None,
    "regnet_y_400mf": None,
    "resnet18": None,
    "resnext50_32x4d": None,
    "shufflenet_v2_x0_5": None,
    "squeezenet1_1": None,
    "swin_t": None,
    "swin_v2_t": None,
    "vgg11": 32,
    "vit_b_16": 32,
    "wide_resnet50_2": None,
}
SMALL = "shufflenet_v2_x0_5"


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def without_numbers(arch: str) -> torch.device:
    """Where shapes alone are computed; regnets cannot be built there."""
    return torch.device("cpu" if arch.startswith("regnet") else "meta")


def torchvisions(name: str, channels: int = 3) -> nn.Module:
    """torchvision's ResNet with the stem for small images in the place of ImageNet's."""
    net = get_model(name, weights=None, num_classes=7)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


@pytest.mark.parametrize(
    ("name", "stages", "total"),
    [
        ("resnet18", [147_968, 525_568, 2_099_712, 8_393_728], 11_172_423),
        ("resnet50", [215_808, 1_219_584, 7_098_368, 14_964_736], 23_514_695),
    ],
)
def test_resnets_have_the_parameters_of_medmnists(name: str, stages: list[int], total: int) -> None:
    net = getattr(resnet, name)((3, 28, 28), 7)
    reference = torchvisions(name)
    assert [count(stage) for stage in net.stages] == stages
    assert [count(getattr(reference, f"layer{i}")) for i in (1, 2, 3, 4)] == stages
    assert count(net.stem) == 3 * 9 * 64 + 2 * 64
    assert count(net.head) == (512 if name == "resnet18" else 2048) * 7 + 7
    assert count(net) == total == count(reference)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_compute_what_torchvisions_do(name: str) -> None:
    torch.manual_seed(0)
    net = getattr(resnet, name)((1, 28, 28), 7).double()  # else their sums differ by rounding
    reference = torchvisions(name, channels=1).double()
    values = zip(net.state_dict(), reference.state_dict().values(), strict=True)
    net.load_state_dict(dict(values))
    images = torch.rand(3, 1, 28, 28, dtype=torch.double)
    for mode in (True, False):  # the second with running statistics from the first
        net.train(mode)
        reference.train(mode)
        with torch.no_grad():
            torch.testing.assert_close(net(images), reference(images))


def test_the_mean_of_28_pixels_is_that_of_4x4_maps() -> None:
    net = resnet.resnet18((3, 28, 28), 7).eval()
    with torch.no_grad():
        maps = net.stages(net.stem(torch.rand(2, 3, 28, 28)))
    assert maps.shape == (2, 512, 4, 4)
    pooled = nn.functional.avg_pool2d(maps, 4).flatten(1)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), pooled)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 8), (1, 20, 36)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_take_any_size(name: str, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        assert getattr(resnet, name)(shape, 5)(torch.rand(2, *shape)).shape == (2, 5)


def test_images_are_scaled_made_rgb_and_standardised() -> None:
    images = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).view(1, 1, 2, 2)
    backbone = Backbone(nn.Identity(), 4, mean=[0.5, 0.0, 0.0], std=[1.0, 1.0, 2.0])
    red, green, blue = backbone(images)[0]
    # Bilinear: 0, 1/4, 3/4 and all of the way from a pixel to the next.
    assert green[0].tolist() == [0.0, 0.25, 0.75, 1.0]
    assert green[:, 0].tolist() == [0.0, 0.125, 0.375, 0.5]
    torch.testing.assert_close(red, green - 0.5)
    torch.testing.assert_close(blue, green / 2)
    smaller = Backbone(nn.Identity(), 1, mean=[0.0], std=[1.0])
    assert smaller(images).item() == 0.5
    as_they_are = Backbone(nn.Identity(), None, mean=[0.0], std=[1.0])
    assert torch.equal(as_they_are(images), images)


def test_checkpoints_keep_the_side_that_was_trained() -> None:
    trained = torchvision_net.build((1, 28, 28), 7, SMALL, size=64)
    state = nn.Sequential(trained).state_dict()
    again = nn.Sequential(torchvision_net.build((1, 28, 28), 7, SMALL))
    assert again[0].side is None
    again.load_state_dict({key: value for key, value in state.items() if "_extra" not in key})
    assert again[0].side is None, "a checkpoint of 0.2.0"
    again.load_state_dict(state)
    assert again[0].side == 64


def test_the_sides_that_are_tried() -> None:
    assert sides_to_try((1, 28, 28), any_size=True) == [None, 32, 64, 96, 128, 160, 192, 224]
    assert sides_to_try((3, 20, 36), any_size=False) == [64, 96, 128, 160, 192, 224, 256]


@pytest.mark.slow
@pytest.mark.parametrize("arch", FAMILIES)
def test_torchvision_from_scratch(arch: str) -> None:
    with without_numbers(arch):
        for shape in ((1, 28, 28), (3, 28, 28)):
            net = torchvision_net.build(shape, 7, arch)
            assert net.side == FAMILIES[arch]
            assert net.training
            assert net(torch.rand(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("arch", [SMALL, "squeezenet1_1", "googlenet"])
def test_gray_is_the_same_in_all_channels_and_every_parameter_learns(arch: str) -> None:
    torch.manual_seed(0)
    net = torchvision_net.build((1, 28, 28), 3, arch)
    images = torch.rand(4, 1, 28, 28)
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(net(images), net.net(images.expand(-1, 3, -1, -1)))
    net.train()
    nn.functional.cross_entropy(net(images), torch.tensor([0, 1, 2, 0])).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("arch", FAMILIES)
def test_torchvision_with_weights_has_a_new_head(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_imagenet(weights: WeightsEnum, **_: object) -> dict:
        options = {"init_weights": False} if arch in torchvision_net.INCEPTIONS else {}
        return get_model(arch, weights=None, **options).state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", of_imagenet)
    with without_numbers(arch):
        net = torchvision_net.build((1, 28, 28), 7, arch, "DEFAULT")
        assert net(torch.rand(2, 1, 28, 28)).shape == (2, 7), "no auxiliary logits beside them"
        at_224 = torchvision_net.build((1, 28, 28), 7, arch, size=224)
    assert count(net) == count(at_224)
    made_for_one_size = arch in ("vit_b_16", "maxvit_t")
    assert net.side == (224 if made_for_one_size else FAMILIES[arch])


class Server(http.server.ThreadingHTTPServer):
    requests = 0


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Put bytes where torchvision looks for ShuffleNet's weights; gives the cached file's path."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    member = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1

    def serve(content: bytes, digest: str | None = None, port: int | None = None) -> Path:
        digest = digest or hashlib.sha256(content).hexdigest()
        file = folder / f"shufflenet-{digest[:8]}.pth"
        file.write_bytes(content)
        url = f"http://127.0.0.1:{port or server.server_port}/{file.name}"
        monkeypatch.setattr(member, "_value_", dataclasses.replace(member.value, url=url))
        return tmp_path / "torch" / "hub" / "checkpoints" / file.name

    serve.server = server
    with serving(server):
        yield serve


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def pretrained(standardised: bool = False, shape: tuple[int, int, int] = (1, 28, 28)) -> Backbone:
    return torchvision_net.build(shape, 7, SMALL, "IMAGENET1K_V1", standardised=standardised)


def test_weights_are_downloaded_once_and_used(served: Callable[..., Path]) -> None:
    torch.manual_seed(1)
    reference = get_model(SMALL, weights=None).eval()
    file = served(saved(reference.state_dict()))
    net = pretrained().eval()
    assert file.exists()
    values = reference.state_dict()
    for name, value in net.net.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, values[name]), name
    reference.fc = net.net.fc
    assert reference.fc.out_features == 7
    gray = torch.rand(2, 1, 28, 28)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(net(gray), reference((gray.expand(-1, 3, -1, -1) - mean) / std))
        again = pretrained(standardised=True).eval()
        reference.fc = again.net.fc
        torch.testing.assert_close(again(gray), reference(gray.expand(-1, 3, -1, -1)))
    assert served.server.requests == 1


@pytest.mark.parametrize("fault", ["wrong hash", "no server", "not found"])
def test_weights_that_cannot_be_had(fault: str, served: Callable[..., Path]) -> None:
    digest = "0" * 8 if fault == "wrong hash" else None
    file = served(b"content", digest, port=9 if fault == "no server" else None)
    if fault == "not found":
        for sent in file.parents[3].glob("server/*"):
            sent.unlink()
    with pytest.raises(UserError) as error:
        pretrained()
    message = str(error.value)
    reason = {
        "wrong hash": 'invalid hash value (expected "00000000"',
        "no server": "[Errno ",
        "not found": "File not found",
    }[fault]
    assert f"{file.name} is not in {file.parent} and cannot be downloaded ({reason}" in message
    assert (
        f"/{file.name} there, give a file as model.weights=FILE, or train from scratch with"
        in message
    )
    assert "\n" not in message
    assert not file.exists()


class Payload:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("content", ["code", "text"])
def test_weights_that_are_none_are_refused(
    content: str, served: Callable[..., Path], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    file = served(saved({"fc.weight": Payload(trace)}) if content == "code" else b"text")
    with pytest.raises(UserError, match=r"cannot be loaded \(.*\): delete it to download it again"):
        pretrained()
    assert file.exists()
    assert not trace.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "convnext_tinny"}, "model.arch=convnext_tinny is unknown: did you mean 'conv"),
        ({"arch": "fcn_resnet50"}, "model.arch=fcn_resnet50 is unknown"),
        ({"arch": 18}, "model.arch=18 is unknown: expected one of: alexnet, "),
        (
            {"arch": "resnet50", "weights": "IMAGENET"},
            "model.weights=IMAGENET is unknown: "
            "resnet50 has null, IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT",
        ),
        (
            {"arch": "vgg16", "weights": "IMAGENET1K_FEATURES"},
            "model.weights=IMAGENET1K_FEATURES is unknown: vgg16 has null, IMAGENET1K_V1, DEFAULT",
        ),
        ({"arch": SMALL, "size": 0}, "model.size=0: expected a whole number of pixels from 1"),
        (
            {"arch": "vit_b_16", "size": 30},
            "model.arch=vit_b_16 fails on 28x28 images at model.size=30: "
            "Input shape indivisible by patch size!; give another size",
        ),
    ],
)
def test_what_torchvision_models_refuse(options: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(UserError) as error:
        torchvision_net.build((1, 28, 28), 7, **options)
    assert message in str(error.value)


@pytest.mark.slow
def test_a_run_with_torchvision(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> None:
    data = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "epochs=1", *NO_FIGURES]
    assert cli(*data, "hydra.run.dir=run", "model=torchvision", f"model.arch={SMALL}") == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    with torch.device("meta"):
        assert metrics["model"]["parameters"] == count(get_model(SMALL, num_classes=3))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["input_size"] == 12


@pytest.mark.slow
def test_without_timm(
    cli: Callable[..., int],
    data_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "dermaexp.models.timm_net", raising=False)
    monkeypatch.delattr("dermaexp.models.timm_net", raising=False)  # where another test loaded it
    data = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu"]
    assert cli(*data, "model=timm", "model.arch=resnet10t") == 1
    errors = capsys.readouterr().err
    assert "model=timm needs a package that is missing (" in errors
    assert "pip install 'dermaexp[timm]'" in errors
    assert errors.count("\n") == 1, errors


@pytest.fixture
def timm_net():
    pytest.importorskip("timm")
    from dermaexp.models import timm_net

    return timm_net


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "side"),
    [
        ("test_resnet", None),
        ("test_convnext", 32),
        ("test_vit", 32),  # made for 160
        ("crossvit_tiny_240", 240),  # takes no other
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_timm_from_scratch(timm_net, arch: str, side: int | None, channels: int) -> None:
    net = timm_net.build((channels, 28, 28), 7, arch)
    assert net.side == side
    assert net.training
    assert net(torch.rand(2, channels, 28, 28)).shape == (2, 7)


def test_timm_learns_in_every_parameter(timm_net) -> None:
    net = timm_net.build((1, 28, 28), 3, "test_resnet")
    loss = nn.functional.cross_entropy(net(torch.rand(3, 1, 28, 28)), torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def cached(arch: str, net: nn.Module, folder: Path) -> None:
    """Put the model's weights where Hugging Face keeps those of timm's `arch`."""
    from safetensors.torch import save_file

    repository = folder / f"models--timm--{arch}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(net.state_dict(), snapshot / "model.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hugging Face's folder, without a network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("weights", ["DEFAULT", "r160_in1k"])
def test_timms_weights_are_used(timm_net, hub: Path, weights: str) -> None:
    import timm

    torch.manual_seed(1)
    reference = timm.create_model("test_resnet").eval()
    cached("test_resnet.r160_in1k", reference, hub)
    rgb = timm_net.build((3, 28, 28), 7, "test_resnet", weights).eval()
    for name, value in rgb.net.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, reference.state_dict()[name]), name
    reference.reset_classifier(7)
    reference.fc = rgb.net.fc
    images = torch.rand(2, 3, 28, 28)
    config = rgb.net.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    gray = timm_net.build((1, 28, 28), 7, "test_resnet", weights, standardised=True).eval()
    gray.net.fc = rgb.net.fc
    with torch.no_grad():
        torch.testing.assert_close(rgb(images), reference((images - mean) / std))
        # The filters of gray are RGB's added up: what they say of three equal channels.
        same = images[:, :1].expand(-1, 3, -1, -1)
        torch.testing.assert_close(gray(images[:, :1]), reference(same))


def test_timms_weights_for_one_size_keep_it(timm_net, hub: Path) -> None:
    import timm

    cached("test_vit.r160_in1k", timm.create_model("test_vit"), hub)
    assert timm_net.build((3, 28, 28), 7, "test_vit", "DEFAULT").side == 160
    assert timm_net.build((3, 28, 28), 7, "test_vit", "DEFAULT", size=64).side == 64


def test_timms_weights_that_cannot_be_had(timm_net, hub: Path) -> None:
    with pytest.raises(UserError) as error:
        timm_net.build((1, 28, 28), 7, "test_resnet", "DEFAULT")
    message = str(error.value)
    assert message.startswith(f"timm/test_resnet.r160_in1k is not in {hub} and cannot be downl")
    assert "run `hf download timm/test_resnet.r160_in1k` with a network" in message
    assert message.endswith("or train from scratch with model.weights=null")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "resnet10tt"}, "model.arch=resnet10tt is unknown: did you mean 'resnet10t'?"),
        ({"arch": "zzz"}, "model.arch=zzz is unknown: timm.list_models() has "),
        (
            {"arch": "resnet18.a1_in1k"},
            "model.arch=resnet18.a1_in1k: give the two as "
            "model.arch=resnet18 model.weights=a1_in1k",
        ),
        (
            {"arch": "resnet10t", "weights": "a1_in1k"},
            "model.weights=a1_in1k is unknown: resnet10t has null, DEFAULT, c3_in1k",
        ),
        ({"arch": "test_vit", "size": 8}, "model.arch=test_vit fails on 28x28 images at model.s"),
        ({"arch": "test_vit", "size": "x"}, "model.size=x: expected a whole number of pixels"),
    ],
)
def test_what_timm_models_refuse(timm_net, options: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        timm_net.build((1, 28, 28), 7, **options)
    assert message in str(error.value)
