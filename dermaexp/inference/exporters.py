"""The formats of an exported model, and how far each is from the model itself."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dermaexp.inference.trained import TrainedModel, trained_model
from dermaexp.runs.directory import RunDirectory

BATCH = 64  # images
INPUT, OUTPUT = "images", "probabilities"


class Exported(NamedTuple):
    """A file's content, and what predicts with it: uint8 (N, H, W, 3) to probabilities (N, K)."""

    content: bytes
    predict: Callable[[np.ndarray], np.ndarray]


class Pictures(nn.Module):
    """The model on pictures: uint8 (N, H, W, 3) to probabilities (N, K)."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.permute(0, 3, 1, 2))


def largest_difference(
    directory: RunDirectory, predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> float:
    """Return how far a probability of `predict` is from the run's model, on `images`.

    The first is a batch of its own, so that the size of the batch is seen to be free.
    """
    model = _pictures(directory)
    largest = 0.0
    for batch in (images[:1], *(images[i : i + BATCH] for i in range(1, len(images), BATCH))):
        with torch.inference_mode():
            expected = model(torch.from_numpy(batch)).numpy()
        # np.maximum keeps NaN.
        largest = float(np.maximum(largest, np.abs(predict(batch) - expected).max()))
    return largest


def to_onnx(directory: RunDirectory, metadata: dict[str, str]) -> Exported:
    import onnxruntime

    model = _pictures(directory)
    with _silent():
        program = torch.onnx.export(
            model,
            (_example(model),),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=_any_batch(),
        )
    assert program is not None
    program.model.metadata_props.update(metadata)
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return Exported(content, lambda images: session.run([OUTPUT], {INPUT: images})[0])


def to_torch_export(directory: RunDirectory, metadata: dict[str, str]) -> Exported:
    model, buffer = _pictures(directory), io.BytesIO()
    with _silent():
        program = torch.export.export(model, (_example(model),), dynamic_shapes=_any_batch())
        extra = {"metadata.json": json.dumps(metadata, ensure_ascii=False)}
        torch.export.save(program, buffer, extra_files=extra)
        read = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return Exported(buffer.getvalue(), lambda images: _answers(read, images))


def to_safetensors(directory: RunDirectory, metadata: dict[str, str]) -> Exported:
    """Weights alone, with "mean" and "std" of the pixels: the metadata hold the config."""
    from safetensors import torch as safetensors

    model = _pictures(directory)
    weights = {key: value.clone().contiguous() for key, value in model.model.state_dict().items()}
    content = safetensors.save(weights, metadata)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.model.load_state_dict(safetensors.load(content))
    return Exported(content, lambda images: _answers(model, images))


BY_FORMAT = {"onnx": to_onnx, "torch_export": to_torch_export, "safetensors": to_safetensors}


def _pictures(directory: RunDirectory) -> Pictures:
    return Pictures(trained_model(directory)).eval()


def _answers(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(images)).numpy()


def _example(model: Pictures) -> Tensor:
    """Two images: torch takes a batch of one for a fixed size."""
    return torch.zeros(2, *model.model.image_shape[1:], 3, dtype=torch.uint8)


def _any_batch() -> dict[str, dict[int, torch.export.Dim]]:
    return {INPUT: {0: torch.export.Dim("batch")}}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep torch's notes on its own exporter out of the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
