"""The parameters of a model by their depth, whatever the model: its blocks, and its last layer."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter

from dermaexp.models.adapter import Backbone

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def head_of(net: nn.Module, classes: int) -> str | None:
    """Return the name of the last layer that gives `classes` outputs; None where there is none."""
    names = [
        name
        for name, layer in net.named_modules()
        if classes in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ]
    return names[-1] if names else None


def body_of(net: nn.Module, head: str) -> list[nn.Module]:
    """Return the modules of `net` that are not in its `head`."""
    inside = set(net.get_submodule(head).modules())
    return [module for module in net.modules() if module not in inside]


def blocks_of(net: nn.Module, head: str) -> list[list[Parameter]]:
    """Return the parameters of each block of `net` but its `head`, from the images on.

    A block is what stands in a row: a layer with the normalisation behind it, or a module of
    several such as a residual block. Parameters outside of any, such as a position's, belong to the
    first.
    """
    seen = set(net.get_submodule(head).parameters())
    blocks: list[list[Parameter]] = []
    for part in _parts(net.net if isinstance(net, Backbone) else net):
        own = [parameter for parameter in part.parameters() if parameter not in seen]
        seen.update(own)
        if not blocks or any(parameter.dim() > 1 for parameter in own):
            blocks.append(own)
        else:
            blocks[-1] += own
    loose = [parameter for parameter in net.parameters() if parameter not in seen]
    if loose:
        blocks[:1] = [loose + (blocks[0] if blocks else [])]
    return [block for block in blocks if block]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts in a row that `module` consists of, with containers unpacked."""
    for child in module.children():
        if isinstance(child, CONTAINERS) or _is_stage(child):
            yield from _parts(child)
        else:
            yield child


def _is_stage(module: nn.Module) -> bool:
    """Whether the module holds one row of blocks, as an encoder does; branches are a block."""
    rows = [
        child
        for child in module.children()
        if isinstance(child, CONTAINERS) and len(child) and all(map(_is_block, child.children()))
    ]
    return len(rows) == 1


def _is_block(module: nn.Module) -> bool:
    return not isinstance(module, CONTAINERS) and any(True for _ in module.children())
