"""Memory-mapped images: the same bytes, batches and numbers as in memory, and read when taken."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES
from omegaconf import OmegaConf
from PIL import Image

from dermaexp.core import memory
from dermaexp.core.errors import UserError
from dermaexp.data import load, npz
from dermaexp.data.datamodule import (
    ImageDataModule,
    Loader,
    MappedImages,
    ReadAhead,
    as_floats,
)
from dermaexp.data.gray import Gray, luma
from dermaexp.data.mapped import Taken, is_mapped, resident_limit
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.runs.directory import RunDirectory

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_kept", {})


def loaded(source: str, max_resident_gb: float | None = 0, **own: object) -> Splits:
    keys = {"grayscale": True, "normalize": False, "max_resident_gb": max_resident_gb}
    config = {"_target_": f"dermaexp.data.{source}.load", **keys, **own}
    return load.load_splits(OmegaConf.create(config))


def images_of(splits: Splits) -> Arrays:
    return {
        split: np.asarray(splits[split].images[np.arange(len(splits[split]))]) for split in SPLITS
    }


def check_equal(mapped: Splits, resident: Splits) -> None:
    assert all(is_mapped(mapped[split].images) for split in SPLITS)
    assert not any(is_mapped(resident[split].images) for split in SPLITS)
    for split, images in images_of(mapped).items():
        np.testing.assert_array_equal(images, resident[split].images)
        np.testing.assert_array_equal(mapped[split].labels, resident[split].labels)
    assert mapped.fingerprint == resident.fingerprint
    assert mapped.record == resident.record


def test_stored_arrays_are_mapped_in_place(data_file: Path, cache_folder: Path) -> None:
    mapped = loaded("npz", path=str(data_file))
    check_equal(mapped, loaded("npz", None, path=str(data_file)))
    images = mapped.train.images
    assert isinstance(images, np.memmap)
    assert Path(images.filename) == data_file
    size = sum(mapped[split].images.nbytes for split in SPLITS) / 1e9
    assert [note.text for note in mapped.notes] == [
        f"images are memory-mapped: {size:.3g} GB of pixels, dataset.max_resident_gb is 0"
    ]


def test_compressed_arrays_are_unpacked_once(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "compressed.npz"
    np.savez_compressed(file, **arrays)
    check_equal(loaded("npz", path=str(file)), loaded("npz", None, path=str(file)))
    unpacked = sorted(tmp_path.glob("cache/dermaexp/unpacked/*.npy"))
    assert len(unpacked) == 3
    times = [path.stat().st_mtime_ns for path in unpacked]
    load.forget()
    loaded("npz", path=str(file))
    assert [path.stat().st_mtime_ns for path in unpacked] == times
    unpacked[0].write_bytes(b"cut short")
    load.forget()
    check_equal(loaded("npz", path=str(file)), loaded("npz", None, path=str(file)))


def test_a_cache_without_room_is_one_clear_line(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    with pytest.raises(UserError, match=r"train_images.npy of .* cannot be unpacked to "):
        npz.load(str(tmp_path / "small.npz"), max_resident_gb=0)


def test_arrays_of_other_orders(arrays: Arrays, tmp_path: Path) -> None:
    first = {k: np.moveaxis(v, -1, 1) if v.ndim == 4 else v for k, v in arrays.items()}
    fortran = {k: np.asfortranarray(v) for k, v in arrays.items()}
    for name, own in (("first", first), ("fortran", fortran)):
        np.savez(tmp_path / f"{name}.npz", **own)
        for split, images in images_of(loaded("npz", path=str(tmp_path / f"{name}.npz"))).items():
            np.testing.assert_array_equal(images, arrays[f"{split}_images"])


def test_arrays_that_have_to_be_converted_stay_in_memory(arrays: Arrays, tmp_path: Path) -> None:
    scaled = {k: v / np.float32(255) if v.ndim == 4 else v for k, v in arrays.items()}
    np.savez(tmp_path / "scaled.npz", **scaled)
    splits = npz.load(str(tmp_path / "scaled.npz"), max_resident_gb=0)
    assert not is_mapped(splits.train.images)
    np.testing.assert_array_equal(splits.train.images, arrays["train_images"])


@pytest.mark.parametrize("grayscale", [True, False])
def test_batches_are_those_of_images_in_memory(data_file: Path, grayscale: bool) -> None:
    modules = [
        ImageDataModule(
            loaded("npz", limit, path=str(data_file)),
            batch_size=32,
            grayscale=grayscale,
            seed=3,
            balance=0.5,
            channels=3 if grayscale else None,
        )
        for limit in (0, None)
    ]
    mapped, resident = modules
    assert isinstance(mapped.images["train"], MappedImages)
    assert mapped.image_shape == resident.image_shape == (3, 12, 12)
    for own, other in zip(mapped.channel_statistics(), resident.channel_statistics(), strict=True):
        assert torch.equal(own, other)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loaders = [getattr(module, name)() for module in modules]
        for epoch in range(2):
            for loader in loaders:
                loader.sampler.set_epoch(epoch)
            for own, other in zip(*loaders, strict=True):
                assert all(torch.equal(*pair) for pair in zip(own, other, strict=True))
                assert as_floats(own[0]).stride() == as_floats(other[0]).stride()


def test_gray_is_made_batch_by_batch(data_file: Path, arrays: Arrays) -> None:
    splits = loaded("npz", path=str(data_file))
    data = ImageDataModule(splits, batch_size=8, grayscale=True, seed=0)
    images = data.images["train"].images
    assert isinstance(images, Gray)
    gray = luma(arrays["train_images"])
    np.testing.assert_array_equal(images[7], gray[7])
    np.testing.assert_array_equal(images[5:9], gray[5:9])
    np.testing.assert_array_equal(images[np.array([9, 2])], gray[[9, 2]])


@pytest.mark.parametrize(
    "how",
    [
        {"split": "random", "split_seed": 3},
        {"split": "grouped", "folds": 3, "fold": 1},
        {"split": "corrected"},
    ],
)
def test_divisions_leave_images_in_their_file(
    data_file: Path, tmp_path: Path, how: dict[str, object]
) -> None:
    sizes = {"train": 120, "val": 40, "test": 50}
    rows = [
        f"{split},{k},{'' if k % 5 == 0 else split}{k // 2}"
        for split in SPLITS
        for k in range(sizes[split])
    ]
    groups = tmp_path / "groups.csv"
    groups.write_text("\n".join(["split,index,lesion_id", *rows]))
    own = {"path": str(data_file), "groups": str(groups), **how}
    mapped = loaded("npz", **own)
    assert isinstance(mapped.train.images, Taken)
    check_equal(mapped, loaded("npz", None, **own))


def test_pictures_stay_in_the_cache(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(30):
        file = tmp_path / "pictures" / "abc"[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (9, 8, 3), np.uint8)).save(file)
    own = {"path": str(tmp_path / "pictures"), "size": 8}
    check_equal(loaded("folder", **own), loaded("folder", None, **own))


def test_a_run_gives_the_same_numbers(
    cli: Callable[..., int], data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, limit in (("resident", "null"), ("mapped", "0")):
        options = [f"dataset.path={data_file}", f"dataset.max_resident_gb={limit}", "epochs=2"]
        options += [key for key in NO_FIGURES if "montage" not in key and "miscl" not in key]
        assert cli("model=ffn", "dataset=npz", *options, f"hydra.run.dir={name}") == 0
    runs = [RunDirectory(Path(name)) for name in ("resident", "mapped")]
    first, second = ({**run.read_metrics(), "seconds": None} for run in runs)
    assert first == second
    first, second = (run.read_run() for run in runs)
    assert first["config_digest"] == second["config_digest"]
    assert capsys.readouterr().out.count("images are memory-mapped") == 1
    for name in ("montage", "misclassified"):
        first, second = ((run.figures / f"{name}.png").read_bytes() for run in runs)
        assert first == second


def test_files_larger_than_the_free_memory_are_read_ahead(
    data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = loaded("npz", path=str(data_file))
    data = ImageDataModule(splits, batch_size=4, grayscale=True, seed=0)
    plain = data.train_dataloader()
    assert type(plain) is Loader
    monkeypatch.setattr(memory, "available", lambda: 0)
    ahead = data.train_dataloader()
    assert type(ahead) is ReadAhead
    assert len(ahead) == len(plain) == 30
    for own, other in zip(ahead, plain, strict=True):
        assert all(torch.equal(*pair) for pair in zip(own, other, strict=True))


def test_what_nobody_waits_for_is_not_read(data_file: Path) -> None:
    splits = loaded("npz", path=str(data_file))
    asked: list[int] = []

    class Watched(MappedImages):
        def __getitem__(self, indices: torch.Tensor):
            asked.append(int(indices[0]))
            return super().__getitem__(indices)

    images = Watched(splits.train.images, torch.from_numpy(splits.train.labels))
    batches = torch.arange(120).split(4)
    shown = list(itertools.islice(ReadAhead(images, sampler=batches, batch_size=None), 3))
    assert [int(own[2][0]) for own in shown] == [0, 4, 8]
    assert 3 <= len(asked) <= 7  # of 30


def test_an_error_of_a_reading_thread_ends_the_epoch(data_file: Path) -> None:
    splits = loaded("npz", path=str(data_file))
    labels = torch.from_numpy(splits.train.labels)
    batches = [torch.tensor([0]), torch.tensor([999])]
    loader = ReadAhead(MappedImages(splits.train.images, labels), sampler=batches, batch_size=None)
    with pytest.raises(IndexError, match="999"):
        list(loader)


def test_half_of_the_free_memory_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "cgroup" / "slurm" / "job"
    group.mkdir(parents=True)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    assert resident_limit(None) == pytest.approx(
        memory.psutil.virtual_memory().available / 2, rel=0.2
    )
    (tmp_path / "own").write_text("0::/slurm/job\n")
    for folder, limit in ((group, "max"), (group.parent, "1000000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("700000\n")
        (folder / "memory.stat").write_text("anon 500000\nfile 200000\n")
    assert memory.available() == 500_000
    assert resident_limit(None) == 250_000
    assert resident_limit(0.001) == 1_000_000
