"""dermaexp.launch.framework_errors: the sentences and attributes that it reads are there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import hydra
import omegaconf
import pytest
from hydra import compose
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dermaexp.core.errors import causes
from dermaexp.launch import framework_errors
from dermaexp.launch.config_folder import config_folder
from dermaexp.launch.hydra_internals import initialized

VERSIONS = f"hydra-core {hydra.__version__}, omegaconf {omegaconf.__version__}"


@pytest.fixture(autouse=True)
def hydra_initialized() -> Iterator[None]:
    with initialized(config_folder()):
        yield


def test_a_comma_without_a_sweep() -> None:
    with pytest.raises(ConfigCompositionException) as raised:
        compose("config", ["seed=1,2"])
    assert framework_errors.comma_argument(raised.value) == "seed=1,2", VERSIONS


def test_a_config_group_that_is_null() -> None:
    with pytest.raises(Exception) as raised:
        compose("config", ["callbacks=null"])
    assert framework_errors.is_null_group(raised.value), VERSIONS


def test_an_unknown_function_in_an_override() -> None:
    with pytest.raises(OverrideParseException) as raised:
        compose("config", ["name=run(1)"])
    reason = framework_errors.unknown_function(raised.value)
    assert reason and reason.startswith("Unknown function 'run'"), VERSIONS
    assert raised.value.override == "name=run(1)", VERSIONS
    with pytest.raises(OverrideParseException) as raised:
        compose("config", ["name=[1"])
    assert framework_errors.unknown_function(raised.value) is None, VERSIONS


def test_an_unknown_option() -> None:
    with pytest.raises(MissingConfigException) as raised:
        compose("config", ["model=cnnn"])
    assert raised.value.missing_cfg_file == "model/cnnn", VERSIONS
    assert "cnn" in (raised.value.options or ()), VERSIONS


def test_a_missing_value() -> None:
    config = compose("config", ["dataset=npz"])
    with pytest.raises(MissingMandatoryValue) as raised:
        OmegaConf.to_container(config, throw_on_missing=True)
    assert framework_errors.missing_key(raised.value) == "dataset.path", VERSIONS


def test_an_unknown_key() -> None:
    with pytest.raises(ConfigCompositionException) as raised:
        compose("config", ["optimizer.lrr=1"])
    assert framework_errors.overridden_key(raised.value) == "optimizer.lrr", VERSIONS
    (error,) = [e for e in causes(raised.value) if isinstance(e, OmegaConfBaseException)]
    assert framework_errors.refused_key(error) == "optimizer.lrr", VERSIONS
    keys = framework_errors.valid_keys(error)
    assert keys and {"optimizer", "optimizer.lr", "epochs", "callbacks.montage"} <= set(keys), (
        f"the root of the config: {VERSIONS}"
    )
    assert not [key for key in keys if key.startswith("hydra.")]


@pytest.mark.parametrize(
    ("override", "beside"),
    [("hydra.sweep.dri=a", ["dir", "subdir"]), ("hydra.launcher.n_jobs=2", [])],
)
def test_an_unknown_key_of_hydra(override: str, beside: list[str]) -> None:
    with pytest.raises(ConfigCompositionException) as raised:
        compose("config", [override])
    (error,) = [e for e in causes(raised.value) if isinstance(e, OmegaConfBaseException)]
    keys = framework_errors.keys_beside(error)
    assert keys is not None and set(beside) <= set(keys), VERSIONS
    assert "_target_" not in keys


def test_a_removed_config_group() -> None:
    config = OmegaConf.create({"a": "${hydra.runtime.choices.model}", "hydra": {"runtime": {}}})
    config.hydra.runtime.choices = {}
    with pytest.raises(OmegaConfBaseException) as raised:
        OmegaConf.to_container(config, resolve=True)
    assert framework_errors.removed_group(raised.value) == "model", VERSIONS


def test_a_component_that_cannot_be_built() -> None:
    config = OmegaConf.create({"model": {"_target_": "collections.Counter", "_args_": [1]}})
    with pytest.raises(InstantiationException) as raised:
        instantiate(config.model)
    assert framework_errors.instantiated_key(raised.value) == "model", VERSIONS
    assert raised.value.__cause__ is not None, VERSIONS


def test_the_warning_on_launchers() -> None:
    """Their options have the names of the schemas that their plugins store."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compose("config", ["hydra/launcher=joblib"])
        assert caught, f"{VERSIONS} warns no more: ignore_schema_warning has nothing to do"
        del caught[:]
        framework_errors.ignore_schema_warning()
        compose("config", ["hydra/launcher=joblib"])
    assert not caught, VERSIONS
