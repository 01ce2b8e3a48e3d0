"""What the terminal is told of a run: a line when it begins, a table of its numbers at the end."""

from __future__ import annotations

from dermaexp.core.console import console
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS


def announce(name: str, data: ImageDataModule, parameters: int, device: str) -> None:
    counts = " / ".join(f"{len(data.splits[split]):,}" for split in SPLITS)
    shape = " x ".join(map(str, data.image_shape))
    console.print(
        f"{name} on {data.splits.title}: {counts} images of {shape}, "
        f"{parameters:,} parameters, on {device}",
        soft_wrap=True,
        markup=False,
    )
