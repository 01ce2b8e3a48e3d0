"""From a `conf/dataset` config to splits, without torch: bad files are reported at once."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task
from dermaexp.data.config import MAPPING, OWN_GROUPS
from dermaexp.data.division import missing_classes, split_up
from dermaexp.data.how import GROUP_COLUMN, How
from dermaexp.data.lesion_groups import with_lesion_groups
from dermaexp.data.mapped import Rows, is_mapped, mapping_note, resident_limit
from dermaexp.data.pool import Pool
from dermaexp.data.splits import SPLITS, Note, Splits

# Applied to the images of a source, no part of it.
PREPARATION = ("grayscale", "normalize", "channels")
DIVISION = tuple(field.name for field in fields(How))
GROUPS = ("groups", "group_column")  # of a source whose lesion groups are in a file of their own
KEPT_BYTES = 2 * 1024**3

_kept: dict[str, Splits] = {}


def load_splits(dataset: DictConfig) -> Splits:
    """The splits that `dataset` describes.

    The jobs of a sweep load a source and its lesion groups once and share them. If all sources
    together exceed `KEPT_BYTES`, the oldest are dropped. Splits that are not the source's own are
    made for each job and not kept, unless the source decodes files for them. Above the limit of
    `dataset.max_resident_gb` images stay in files, and a note says so.
    """
    source = copy.deepcopy(dataset)
    OmegaConf.set_readonly(source, False)
    OmegaConf.set_struct(source, False)
    for key in PREPARATION:
        source.pop(key, None)
    task = source.pop("task", None)
    given = {key: source.pop(key, None) for key in DIVISION}
    how = How(**{key: value for key, value in given.items() if value is not None})
    limit = resident_limit(source.get("max_resident_gb"))
    splits = _loaded(source, how, limit)
    if task:
        splits = _of_task(splits, task)
    notes = list(missing_classes(splits))
    size = sum(splits[split].images.nbytes for split in SPLITS)
    if size > limit and is_mapped(splits.train.images):
        notes.append(Note(mapping_note(size, limit)))
    return replace(splits, notes=(*splits.notes, *notes)) if notes else splits


def forget() -> None:
    """Drop what is kept in memory: files may change before a notebook's next run."""
    _kept.clear()


def _of_task(splits: Splits, task: Task) -> Splits:
    if splits.task == "multi-label":
        raise UserError(
            f"dataset.task={task}, but an image of {splits.name} has several labels: expected null"
        )
    return replace(splits, task=task)


def _loaded(source: DictConfig, how: How, limit: float) -> Splits:
    """The splits, or the source that they are divided from, from memory if it is kept.

    Relative paths start in the working directory, which therefore is part of the key.
    """
    content = cast(dict[str, Any], OmegaConf.to_container(source, resolve=True))
    key = json.dumps([content, str(Path.cwd())], sort_keys=True)
    divided_key = json.dumps([key, repr(how)])
    if divided_key in _kept:
        return _kept[divided_key]
    if key in _kept:
        return split_up(_kept[key], how)
    made = _grouped(source, content, limit)
    splits = split_up(made, how)
    if isinstance(made, Splits):
        _keep(key, made)
    else:
        _keep(divided_key, splits)
    return splits


def _keep(key: str, splits: Splits) -> None:
    while _kept and _size(splits) + sum(map(_size, _kept.values())) > KEPT_BYTES:
        del _kept[next(iter(_kept))]
    _kept[key] = splits


def _grouped(source: DictConfig, content: dict[str, Any], limit: float) -> Splits | Pool:
    """What the source's function returns, with the lesion groups of `dataset.groups`."""
    if content["_target_"] in OWN_GROUPS:
        if content.pop("groups", None) is not None:
            raise UserError(
                "dataset.groups does not go with a table, which names the lesion of each image "
                "itself: give dataset.group_column=COLUMN"
            )
        source.pop("groups", None)
        return _made(source, content, limit)
    file, column = (content.pop(key, None) for key in GROUPS)
    for key in GROUPS:
        source.pop(key, None)
    made = _made(source, content, limit)
    if file is None:
        return made
    if isinstance(made, Splits) and made.synthetic and "if_unavailable" in source:
        raise UserError(
            f"dataset.groups={file} does not belong to the synthetic lesions that stand "
            f"in for {source['flag']}, which cannot be downloaded: give "
            "dataset.groups=null, or the data with dataset=npz dataset.path=FILE"
        )
    return with_lesion_groups(made, file, column or GROUP_COLUMN)


def _made(source: DictConfig, content: dict[str, Any], limit: float) -> Splits | Pool:
    """The splits or pool that the source's function returns; `content` is `source` resolved.

    Images of more bytes than the `limit` are mapped where the source keeps them in files.
    """
    for arguments in (source, content):
        arguments.pop("max_resident_gb", None)
        if content["_target_"] in MAPPING:
            arguments["max_resident_gb"] = limit / 1e9
    if "${" not in json.dumps(content):
        made = instantiate(source)
    else:  # Hydra would resolve literal text such as a path with "${".
        arguments = {key: value for key, value in content.items() if key != "_target_"}
        made = get_method(content["_target_"])(**arguments)
    if isinstance(made, Pool) and isinstance(made.images, Rows) and made.images.nbytes > limit:
        return replace(made, images=made.images.mapped(), mapped=True)
    return made


def _size(splits: Splits) -> int:
    """The bytes of memory that the images take; those that are mapped take none."""
    images = [splits[split].images for split in SPLITS]
    return sum(own.nbytes for own in images if not is_mapped(own))
