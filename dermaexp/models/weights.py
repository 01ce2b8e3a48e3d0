"""Weights from a file, loaded into a model: safely, by their names, with what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dermaexp.core.errors import UserError, one_line
from dermaexp.core.extras import required
from dermaexp.models.adapter import Backbone
from dermaexp.models.depth import head_of
from dermaexp.models.efficientnet_names import MARK, as_in_timm

INSIDE = ("state_dict", "model_state_dict", "model", "net")  # what checkpoints call their weights
PREFIXES = ("module.", "net.", "model.", "backbone.")  # of a model inside another
COMPILED = "_orig_mod."  # torch.compile's prefix, which may stand anywhere
COUNTER = "num_batches_tracked"  # of batch normalisation: old files do without
LONGEST = 100  # characters of a reason
FEW = 3  # names that a line lists

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Loaded:
    """What `load` took from a file.

    `statistics` is the mean and std, (C, 1, 1), by which the file's own run standardised images
    before the model, if the file says so.
    """

    file: str
    tensors: int
    of: int  # tensors of the model
    head: str | None  # the last layer, if it starts anew
    unused: tuple[str, ...]  # tensors of the file that the model does not have
    summed: bool  # the first filters over red, green and blue, for gray images
    statistics: tuple[Tensor, Tensor] | None

    def __str__(self) -> str:
        text = f"{self.tensors} of the model's {self.of} tensors"
        if self.head:
            text += f"; its last layer ({self.head}) starts anew"
        if self.summed:
            text += "; the first filters are summed over red, green and blue"
        if self.unused:
            text += f"; left out: {_some(self.unused)}"
        return text


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint or a state dict, by name, on the CPU.

    Never runs code from the file. Raises UserError for a file that is missing, damaged or holds no
    tensors.
    """
    try:
        if file.suffix.lower() == ".safetensors":
            content = required("safetensors.torch", "pretrained").load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, UserError):
        raise
    except Exception as error:  # the unpickler raises anything on damaged bytes
        raise UserError(
            f"{file} cannot be loaded as tensors alone ({_reason(error)}): expected a state dict, "
            "saved by torch.save(model.state_dict(), FILE) or as safetensors"
        ) from error
    tensors = _tensors(content)
    if not tensors:
        raise UserError(f"{file} holds no tensors by name: expected a model's state dict")
    return {name.replace(COMPILED, ""): value for name, value in tensors.items()}


def load(
    net: nn.Module,
    tensors: Tensors,
    file: str,
    *,
    channels: int,
    classes: int,
    keep_statistics: bool,
) -> Loaded:
    """Load `tensors` into `net`, but for a last layer of other than `classes` outputs.

    `channels` are those of the images. Names may begin with the prefixes of a wrapped model.
    `keep_statistics` also standardises images as the file's run did, if the file says how; else a
    Backbone keeps its own. Raises UserError that names `file` where tensors of the model are
    missing in it or have other shapes.
    """
    inner = net.net if isinstance(net, Backbone) else net
    own = inner.state_dict()
    if MARK in tensors:
        tensors = as_in_timm(tensors, own)
    prefix = _best_prefix(tensors, own)
    given = {
        name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)
    }
    if not given.keys() & own.keys():
        raise UserError(
            f"{file} has no tensor of this model: it has {_some(tensors)}, the model {_some(own)}; "
            "give the model that it was saved from"
        )
    gray = {name: _summed(given[name], own[name]) for name in given.keys() & own.keys()}
    given |= {name: value for name, value in gray.items() if value is not None}
    head = head_of(inner, classes)
    of_head = [name for name in own if head and name.rpartition(".")[0] == head]
    has_head = all(name in given and given[name].shape == own[name].shape for name in of_head)
    wanted = [name for name in own if has_head or name not in of_head]
    _check(file, {name: own[name] for name in wanted}, given)
    taken = {name: given[name] for name in wanted if name in given}
    inner.load_state_dict(taken, strict=False)
    return Loaded(
        file=file,
        tensors=len(taken),
        of=len(own),
        head=None if has_head else head,
        unused=tuple(name for name in given if name not in own),
        summed=any(value is not None for value in gray.values()),
        statistics=_statistics(net, tensors, prefix, channels) if keep_statistics else None,
    )


def _reason(error: Exception) -> str:
    """Return why a file cannot be loaded, where torch fills a screen."""
    line = one_line(error)
    if line.startswith("Weights only load failed"):
        return "it holds other objects, which may run code"
    return line[:LONGEST] + ("…" if len(line) > LONGEST else "")


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors of the first state dict in the content of a file."""
    if not isinstance(content, Mapping):
        return {}
    for key in INSIDE:
        if isinstance(content.get(key), Mapping) and (found := _tensors(content[key])):
            return found
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _best_prefix(tensors: Tensors, own: Tensors) -> str:
    """Return the prefix without which most names are the model's own; the shortest such one."""
    prefixes = sorted({"", *(prefix for name in tensors for prefix in _prefixes(name))}, key=len)
    return max(
        prefixes,
        key=lambda prefix: sum(
            name.startswith(prefix) and name.removeprefix(prefix) in own for name in tensors
        ),
    )


def _prefixes(name: str) -> Iterator[str]:
    """Yield the beginnings of the name that are prefixes in a row, such as "module.model."."""
    length = 0
    while found := [prefix for prefix in PREFIXES if name.startswith(prefix, length)]:
        length += len(found[0])
        yield name[:length]


def _summed(given: Tensor, own: Tensor) -> Tensor | None:
    """Return filters of RGB for gray images, which are equal in all three; None for others."""
    is_gray = given.dim() == own.dim() == 4 and given.shape[1] == 3 and own.shape[1] == 1
    return given.sum(dim=1, keepdim=True) if is_gray and len(given) == len(own) else None


def _check(file: str, own: Tensors, given: Tensors) -> None:
    """Raise UserError unless `given` has all tensors of the model, in their shapes."""
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            there, here = tuple(given[name].shape), tuple(value.shape)
            is_gray = len(here) == 4 and there == (here[0], 1, *here[2:])
            hint = "dataset.grayscale=true" if is_gray else "the model and size of its training"
            raise UserError(
                f"{file} is of another model: {name} is {there} in it and {here} in this model; "
                f"give {hint}"
            )
    missing = [name for name in own if name not in given and not name.endswith(COUNTER)]
    if missing:
        raise UserError(
            f"{file} lacks {len(missing)} of the model's {len(own)} tensors: {_some(missing)}; "
            "give the model that it was saved from"
        )


def _statistics(
    net: nn.Module, tensors: Tensors, prefix: str, channels: int
) -> tuple[Tensor, Tensor] | None:
    """Return the mean and std of a run's checkpoint; a Backbone takes over its own.

    In a checkpoint the classifier calls its model "net", and a Backbone its own "net" as well.
    """
    outer = prefix.removesuffix("net.net." if isinstance(net, Backbone) else "net.")
    if outer == prefix:
        return None
    if isinstance(net, Backbone):
        for name, buffer in (("mean", net.mean), ("std", net.std)):
            if (stored := _statistic(tensors, f"{outer}net.{name}", len(buffer))) is not None:
                buffer.copy_(stored)
    mean, std = (_statistic(tensors, outer + name, channels) for name in ("mean", "std"))
    return None if mean is None or std is None else (mean, std)


def _statistic(tensors: Tensors, name: str, channels: int) -> Tensor | None:
    """Return the mean or std that a file calls `name` for so many channels, if it is there."""
    value = tensors.get(name)
    if value is None or value.dim() != 3 or value.shape[1:] != (1, 1):
        return None
    return value if len(value) in (1, channels) else value.mean(dim=0, keepdim=True)


def _some(names: Any) -> str:
    first, more = list(names)[:FEW], len(names) - FEW
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
