"""dermaexp.core.containers: configs as dictionaries."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from dermaexp.core.containers import to_dict


def test_a_config_as_a_dict() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": ["???"]}})
    assert to_dict(config) == {"a": 1, "b": {"c": "${a}", "d": ["???"]}}
    assert to_dict(config, resolve=True) == {"a": 1, "b": {"c": 1, "d": ["???"]}}
    with pytest.raises(MissingMandatoryValue):
        to_dict(config, throw_on_missing=True)
