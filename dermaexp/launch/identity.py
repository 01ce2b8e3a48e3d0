"""The package's configs, and what of a config can change a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dermaexp.launch.observers import only_observes
from dermaexp.models.files import LIBRARIES, LOADING
from dermaexp.runs.identity import canonical

if TYPE_CHECKING:
    from dermaexp.runs.record import InitialWeights

# No number depends on these; calibrate adds some, for which a finished run is only tested again.
WITHOUT_EFFECT = ("name", "calibrate", "report", "logger", "resume", "replicas", "sweep")


def effective(config: DictConfig) -> dict[str, Any]:
    """Return the part of the config, resolved, that can change a number or says where the data are.

    Equal numbers are written alike, 15 for 15.0.
    """
    values: dict[str, Any] = {
        str(key): OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, node in config.items()
        if key not in (*WITHOUT_EFFECT, "hydra")
    }
    callbacks = values.get("callbacks") or {}
    values["callbacks"] = {
        name: callback
        for name, callback in callbacks.items()
        if callback and not _observes(callback)
    }
    _drop_later_keys(values)
    return canonical(values)


def _drop_later_keys(values: dict[str, Any]) -> None:
    """Leave out keys that change nothing, as in configs before they had these keys."""
    values.get("dataset", {}).pop("max_resident_gb", None)
    if values.get("trainer", {}).get("num_nodes") == 1:
        del values["trainer"]["num_nodes"]
    if not values.get("finetune"):
        values.pop("finetune", None)
    optimizer = values.get("optimizer") or {}
    if "fused" in optimizer and optimizer["fused"] is None:
        del optimizer["fused"]
    model = values.get("model") or {}
    later = ("init_from",) if model.get("_target_") in LIBRARIES else LOADING
    for key in later:
        if key in model and model[key] is None:
            del model[key]


def _observes(callback: Any) -> bool:
    return isinstance(callback, dict) and only_observes(str(callback.get("_target_")))


def data_record(config: DictConfig) -> dict[str, Any] | None:
    """Return the record of the config's data, or None where loading fails: a job says why."""
    from dermaexp.data.load import load_splits  # with NumPy, which --cfg job does not need

    try:
        return load_splits(config.dataset).record
    except Exception:
        return None


def identity(
    values: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    weights: InitialWeights | None = None,
) -> dict[str, Any]:
    """Return what is equal for runs with equal results, from the `values` of `effective`.

    `data` is the record of the splits: its fingerprints stand for the source's own keys, which may
    name the same content in several ways. None, where they cannot be loaded, keeps those keys. In
    the same way the digest in `weights`, the record of the initial weights, stands for their file.
    """
    content: dict[str, Any] = canonical(values)
    if weights is not None:
        model = {key: value for key, value in content["model"].items() if key not in LOADING}
        content["model"] = model | {"initial_weights": weights["sha256"]}
    if data is None:
        return content
    from dermaexp.data.load import PREPARATION

    given = content["dataset"]
    dataset = {key: given.get(key) for key in PREPARATION if key != "channels" or given.get(key)}
    dataset |= {
        "fingerprint": data["fingerprint"],
        "groups": data.get("groups", {}).get("fingerprint"),
    }
    if task := content["dataset"].get("task"):  # it adds numbers
        dataset["task"] = task
    return {**content, "dataset": dataset}
