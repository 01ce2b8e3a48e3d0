"""The tensors of L. Melas-Kyriazi's EfficientNet-PyTorch by the names that timm gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

MARK = "_conv_stem.weight"  # in every such file
OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
FIRST = {  # of blocks that do not expand
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
BLOCK = re.compile(r"_blocks\.(\d+)\.")


def as_in_timm(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Rename `tensors`, whose blocks are counted through, as in the stages of timm's `names`."""
    found = re.findall(r"^(blocks\.\d+\.\d+)\.", "\n".join(names), re.MULTILINE)
    blocks = list(dict.fromkeys(found))
    return {_name(name, tensors, blocks): value for name, value in tensors.items()}


def _name(name: str, tensors: Mapping[str, Tensor], blocks: list[str]) -> str:
    match = BLOCK.match(name)
    if not match:
        layer, _, tensor = name.partition(".")
        return f"{OUTSIDE.get(layer, layer)}.{tensor}"
    layer, _, tensor = name[match.end() :].partition(".")
    expands = f"{match[0]}_expand_conv.weight" in tensors
    layers = EXPANDING if expands else FIRST
    index = int(match[1])
    if layer not in layers or index >= len(blocks):
        return name
    return f"{blocks[index]}.{layers[layer]}.{tensor}"
