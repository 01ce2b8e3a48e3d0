"""The table of components that have rules, against conf/ and the code."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_object
from pydantic import BaseModel

from dermaexp.launch import validate

CONF = Path(__file__).resolve().parents[2] / "conf"
CHECKED = ("dataset", "model", "scheduler", "finetune", "loss", "augment")
FROM_THE_JOB = {"image_shape", "classes", "counts", "optimizer", "steps"}


def test_each_component_with_rules_is_in_conf() -> None:
    files = [file for group in CHECKED for file in (CONF / group).glob("*.yaml")]
    targets = {(yaml.safe_load(file.read_text()) or {}).get("_target_") for file in files}
    assert set(validate.COMPONENTS) <= targets


@pytest.mark.parametrize(("target", "model"), validate.COMPONENTS.items())
def test_rules_have_the_components_own_keys(target: str, model: type[BaseModel]) -> None:
    if target.startswith("dermaexp.models.timm"):
        pytest.importorskip("timm")
    parameters = inspect.signature(get_object(target)).parameters
    if "options" in parameters:  # takes what the rules take
        return
    own = set(parameters) if ".data." in target else set(parameters) - FROM_THE_JOB
    common = set(validate.DatasetConfig.model_fields) - own if ".data." in target else set()
    if ".models." in target:
        common = {"weights", "init_from"} - own  # which the job loads where the model does not
    assert own == set(model.model_fields) - common
    for key in own:
        field = model.model_fields[key]
        default = inspect.Parameter.empty if field.is_required() else field.default
        assert parameters[key].default == default, key
