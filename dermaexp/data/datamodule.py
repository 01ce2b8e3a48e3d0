"""Batches: every split is one uint8 tensor in memory, and a batch is an index into it.

Images above `dataset.max_resident_gb` stay in files, and a batch is read from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dermaexp.core import memory
from dermaexp.data import mapped
from dermaexp.data.batches import Batches, SeveralOrders
from dermaexp.data.gray import prepared_lazily
from dermaexp.data.random_split import strata
from dermaexp.data.sample import spread
from dermaexp.data.splits import SPLITS, Split, Splits, class_counts

Batch = tuple[Tensor, Tensor, Tensor]
AHEAD = 4  # batches, each read by a thread


def as_floats(images: Tensor) -> Tensor:
    """Return uint8 images (N, C, H, W) as floats in [0, 1], in torch's default layout.

    In another one a convolution may take another path and give other last digits.
    """
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


class Images(Dataset):
    """One split as tensors; indexed by a whole batch at once."""

    def __init__(self, images: Tensor, labels: Tensor, channels: int | None = None) -> None:
        self.images = images  # (N, H, W, C) uint8, the source's own memory unless made gray
        self.labels = labels  # (N,) int64, or indicators (N, L)
        self.channels = channels or images.shape[-1]  # of a batch: gray is repeated

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Batch:
        """Return a batch in the images' own layout, which the classifier changes."""
        images = self.images.index_select(0, indices).permute(0, 3, 1, 2)
        return images.expand(-1, self.channels, -1, -1), self.labels[indices], indices

    def to(self, device: torch.device) -> Images:
        """Return the split on a device."""
        return Images(self.images.to(device), self.labels.to(device), self.channels)


class MappedImages(Dataset):
    """One split whose images are mapped: they are copied a batch at a time."""

    def __init__(self, images: mapped.Images, labels: Tensor, channels: int | None = None) -> None:
        self.images = images  # (N, H, W, C) uint8
        self.labels = labels
        self.channels = channels or images.shape[-1]
        self.nbytes = images.nbytes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Batch:
        # In NumPy: for a thread of its own torch would start more OpenMP threads.
        taken = self.images[indices.numpy()].transpose(0, 3, 1, 2)
        batch = np.empty((len(taken), self.channels, *taken.shape[2:]), np.uint8)
        batch[:] = taken  # gray is repeated
        return torch.from_numpy(batch), self.labels[indices], indices


class Loader(DataLoader):
    """A loader without workers and what they need, which takes longer than to index a batch."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # no more is asked for
        return map(self.dataset.__getitem__, self.sampler)


class ReadAhead(DataLoader):
    """A loader whose next batches are read by threads while the model works on one."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        with ThreadPoolExecutor(AHEAD) as readers:

            def read(indices: Tensor) -> Future[Batch]:
                return readers.submit(self.dataset.__getitem__, indices)

            order = iter(self.sampler)
            waiting = deque(map(read, islice(order, AHEAD)))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(map(read, islice(order, 1)))
                yield batch


class ImageDataModule(LightningDataModule):
    """Splits as loaders of (images (B, C, H, W) uint8, labels, indices (B,)) batches.

    Labels are (B,) int64, or indicators (B, L) of several an image.
    """

    def __init__(
        self,
        splits: Splits,
        *,
        batch_size: int,
        grayscale: bool,
        seed: int,
        balance: float = 0.0,
        limits: Mapping[str, int | float | None] | None = None,
        channels: int | None = None,
    ) -> None:
        """`balance` samples a class as if it had images ** (1 - balance) training images.

        0 takes every image once an epoch, 1 samples all classes equally often. `limits` says, as
        Lightning's limit_*_batches, how much of a split is used: a number of batches, or a share of
        the images. Which images these are depends on the split alone, see `sample.spread`.
        `channels` 3 repeats the channel of gray images.
        """
        super().__init__()
        self.splits = splits
        self.batch_size = batch_size
        self.seed = seed
        self.balance = balance
        self.images = {split: _dataset(splits[split], grayscale, channels) for split in SPLITS}
        self.used = {split: self._used(split, (limits or {}).get(split)) for split in SPLITS}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        train = self.images["train"]
        height, width = train.images.shape[1:3]
        return train.channels, height, width

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (C,) of the training pixels scaled to [0, 1]."""
        images = self.images["train"].images
        images = images.numpy() if isinstance(images, Tensor) else images
        levels = torch.arange(256, dtype=torch.float64) / 255
        # Counts of the 256 levels give exact sums without a float copy of all the pixels.
        counts = torch.zeros((images.shape[-1], 256), dtype=torch.int64)
        for block in mapped.blocks(images):
            for channel in range(images.shape[-1]):
                counts[channel] += torch.tensor(mapped.histogram(block[..., channel]))
        shares = counts.double() / counts.sum(dim=1, keepdim=True)
        mean = shares @ levels
        std = (shares @ levels.square() - mean.square()).clamp(min=1e-12).sqrt()
        return mean.float(), std.float()

    @property
    def class_counts(self) -> dict[str, int]:
        """The training images of each class."""
        classes = self.splits.classes
        counts = class_counts(self.splits.train.labels, classes)
        return dict(zip(classes, counts.tolist(), strict=True))

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        images, labels, indices = batch
        return images.to(device), labels.to(device), indices.to(device)

    def train_dataloader(self) -> DataLoader:
        return self.train_dataloader_of([self.seed])

    def train_dataloader_of(self, seeds: Sequence[int]) -> DataLoader:
        """Return a loader whose batches join those of several seeds, one behind the other."""
        return self._loader("train", seeds)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def _used(self, split: str, limit: int | float | None) -> np.ndarray:
        """Indices of the used images of `split`, in its order."""
        labels = self.splits[split].labels
        size = len(labels)
        if isinstance(limit, float):
            size = max(1, round(limit * size))
        elif limit is not None:
            size = min(limit * self.batch_size, size)
        return spread(labels, size)

    def _weights(self) -> Tensor | None:
        """The sampling weight of each used training image; None if all are equal."""
        if not self.balance:
            return None
        # An image with several labels counts to the rarest, as in every stratified division.
        own = strata(self.splits.train.labels)
        _, codes, counts = np.unique(own, return_inverse=True, return_counts=True)
        shares = torch.from_numpy(counts).double() ** -self.balance
        return shares[torch.from_numpy(codes[self.used["train"]])]

    def batches(
        self,
        split: str,
        seed: int | None = None,
        weights: Tensor | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> Batches:
        """Index batches of one process over the used images of `split`."""
        return Batches(
            torch.from_numpy(self.used[split]),
            self.batch_size,
            seed=seed,
            weights=weights,
            process=process,
            processes=processes,
        )

    def _loader(self, split: str, seeds: Sequence[int] = ()) -> DataLoader:
        """Return the loader of a split in the orders of the `seeds`, or else in its own."""
        trainer = self.trainer
        place = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        images = self._on_device(split)
        weights = self._weights() if seeds else None
        orders = [self.batches(split, seed, weights, *place) for seed in seeds or (None,)]
        for order in orders:
            order.device = images.labels.device
        batches = SeveralOrders(orders) if len(orders) > 1 else orders[0]
        # Where the system can keep the whole file in memory, threads only slow down the model.
        is_large = isinstance(images, MappedImages) and images.nbytes > memory.available()
        loader = ReadAhead if is_large else Loader
        return loader(images, sampler=batches, batch_size=None)

    def _on_device(self, split: str) -> Images | MappedImages:
        """Return the images on the trainer's GPU if they take half of what is free there at most.

        Otherwise each batch is copied there when it is used.
        """
        images = self.images[split]
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type != "cuda" or isinstance(images, MappedImages):
            return images
        free, _ = torch.cuda.mem_get_info(device)
        return images.to(device) if images.images.nbytes <= free / 2 else images


def _dataset(split: Split, grayscale: bool, channels: int | None) -> Images | MappedImages:
    images, labels = prepared_lazily(split.images, grayscale), torch.from_numpy(split.labels)
    if isinstance(images, np.ndarray) and not mapped.is_mapped(images):
        return Images(torch.from_numpy(images), labels, channels)
    return MappedImages(images, labels, channels)
