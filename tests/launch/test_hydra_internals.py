"""dermaexp.launch.hydra_internals: what it takes from Hydra's private API is there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NoReturn

import hydra
import pytest
import yaml
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from hydra.types import RunMode

from dermaexp.launch import hydra_internals
from dermaexp.launch.config_folder import config_folder

HYDRA = f"hydra-core {hydra.__version__}"
PACKAGE = Path(hydra_internals.__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("hydra._internal.utils", "get_args_parser create_config_search_path"),
        ("hydra._internal.hydra", "Hydra"),
        ("hydra._internal.config_loader_impl", "ConfigLoaderImpl"),
        ("hydra._internal.config_repository", "ConfigRepository"),
        ("hydra.core.config_search_path", "ConfigSearchPath SearchPathQuery"),
        ("hydra.core.global_hydra", "GlobalHydra"),
    ],
)
def test_hydra_has(module: str, names: str) -> None:
    content = importlib.import_module(module)
    missing = [name for name in names.split() if not hasattr(content, name)]
    assert not missing, f"{module} of {HYDRA} lacks {missing}"
    if hasattr(content, "Hydra"):
        assert hasattr(content.Hydra, "create_main_hydra2"), f"Hydra of {HYDRA}"


def test_only_this_module_imports_it() -> None:
    others = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "hydra_plugins").rglob("*.py")]
    users = {file.name for file in others if "hydra._internal" in file.read_text()}
    assert users == {"hydra_internals.py"}


class RefusedError(Exception):
    """Raised in the place of argparse's exit."""


def refuse(message: str) -> NoReturn:
    raise RefusedError(message)


def test_flags() -> None:
    parser = hydra_internals.flag_parser(refuse)
    known, rest = parser.parse_known_args(["a=1", "-m", "b=2", "--what", "--cfg", "job"])
    assert (known.overrides, known.multirun, known.cfg) == (["a=1"], True, "job"), HYDRA
    assert rest == ["b=2", "--what"], HYDRA
    assert known.config_path is None, HYDRA
    with pytest.raises(RefusedError, match="invalid choice"):
        parser.parse_known_args(["--cfg", "jbo"])
    expected = {"--help", "--cfg", "--multirun", "--config-dir", "--config-name", "--info"}
    missing = expected - set(hydra_internals.flags_of(parser))
    assert not missing, f"the usage of {HYDRA} lacks {sorted(missing)}"


def test_a_config_folder_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "it's ${mine}" / "dataset"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("defaults: [/_dataset, _self_]\n_target_: mine.load\n")
    with hydra_internals.initialized(config_folder(), folder.parent):
        mine = compose("config", ["dataset=mine"]).dataset
        base = yaml.safe_load((config_folder() / "_dataset.yaml").read_text())
        assert len(base) > 8
        assert mine == base | {"_target_": "mine.load"}, HYDRA
        assert compose("config", ["dataset=synthetic"]).dataset.size == 28, HYDRA
    with hydra_internals.initialized(config_folder()), pytest.raises(MissingConfigException):
        compose("config", ["dataset=mine"])


def test_a_job_is_composed_once_for_its_check_and_its_start(tmp_path: Path) -> None:
    """And is the same config, whatever Hydra did to the first."""
    (tmp_path / "config.yaml").write_text("a: 1\nnested: {b: '${a}'}\n")
    before = (ConfigRepository.load_config, ConfigLoaderImpl.load_sweep_config)
    with hydra_internals.compositions_kept(), hydra_internals.initialized(tmp_path):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        first = loader.load_sweep_config(master, ["a=2"])
        first.nested.b = "changed"
        (tmp_path / "config.yaml").write_text("a: 1\n")
        second = loader.load_sweep_config(master, ["a=2"])
        assert second.nested.b == 2, HYDRA
        assert second.hydra.overrides.task == ["a=2"], HYDRA
        third = loader.load_sweep_config(master, ["a=3"])
        assert third.nested.b == 3, f"{HYDRA}: the files of a sweep are those of its start"
    assert before == (ConfigRepository.load_config, ConfigLoaderImpl.load_sweep_config)
