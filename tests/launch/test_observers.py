"""Whether a callback can change numbers is read from its class, without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from dermaexp.launch.config_folder import config_folder, options
from dermaexp.launch.identity import effective
from dermaexp.launch.observers import only_observes


def targets() -> dict[str, str]:
    """The name of each callback of ours and its class."""
    found = {}
    for option in options("callbacks"):
        for name, callback in OmegaConf.load(config_folder() / f"callbacks/{option}.yaml").items():
            if name != "defaults":
                found[name] = callback._target_
    return found


def test_ours_are_read_as_they_are() -> None:
    acting = {name for name, target in targets().items() if not only_observes(target)}
    assert acting == {"ema", "early_stopping"}
    for name, target in targets().items():
        says = vars(get_class(target)).get("changes_numbers", True)
        assert says == (name in acting), name


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's own that cannot be imported."""
    package = tmp_path / "own_callbacks"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not imported for this')\n")
    (package / "parts" / "__init__.py").write_text(
        "from own_callbacks.parts.watching import Watching, Acting as Other\n"
        "from .watching import Typed as Near\n"
        "from . import watching\n"
        "from own_callbacks.parts import Endless\n"
        "from ...above import Far\n"
    )
    (package / "parts" / "watching.py").write_text(
        "from dermaexp.training.callbacks import History\n"
        "class Watching:\n    changes_numbers = False\n"
        "class Typed:\n    changes_numbers: bool = False\n"
        "class Acting:\n    changes_numbers = True\n"
        "class Silent:\n    def changes_numbers(self): return False\n"
        "class Heir(History): pass\n"
        "def changes_numbers(): pass\n"
    )
    (tmp_path / "own_folder").mkdir()  # without an __init__.py
    (tmp_path / "own_folder" / "watching.py").write_text("class A:\n    changes_numbers = False\n")
    (package / "broken.py").write_text("class Watching(:\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("target", "observes"),
    [
        ("own_callbacks.parts.watching.Watching", True),
        ("own_callbacks.parts.watching.Typed", True),
        ("own_callbacks.parts.Watching", True),
        ("own_callbacks.parts.Near", True),
        ("own_callbacks.parts.watching", False),
        ("own_callbacks.parts.Endless", False),
        ("own_callbacks.parts.Far", False),
        ("own_callbacks.parts.watching.History", True),
        ("own_folder.watching.A", True),
        ("own_folder.A", False),
        ("own_callbacks.parts.Other", False),
        ("own_callbacks.parts.watching.Acting", False),
        ("own_callbacks.parts.watching.Silent", False),
        ("own_callbacks.parts.watching.Heir", False),
        ("own_callbacks.parts.watching.changes_numbers", False),
        ("own_callbacks.parts.watching.Missing", False),
        ("own_callbacks.broken.Watching", False),
        ("own_callbacks.missing.Watching", False),
        ("own_callbacks.parts.watching.deeper.Watching", False),
        ("nothing_of_this_name.Watching", False),
        ("math.Watching", False),
        ("Watching", False),
        ("None", False),
        ("", False),
        ("a..b", False),
    ],
)
def test_a_users_own(own: None, target: str, observes: bool) -> None:
    assert only_observes(target) is observes


def test_only_those_that_can_change_numbers_make_another_config(own: None) -> None:
    def of(**callbacks: object) -> dict:
        return effective(OmegaConf.create({"callbacks": callbacks}))["callbacks"]

    acting = {"_target_": "own_callbacks.parts.watching.Acting"}
    watching = {"_target_": "own_callbacks.parts.watching.Watching"}
    assert of(first=watching, second=acting, third=None) == {"second": acting}
    history = {"_target_": "dermaexp.training.callbacks.History"}
    assert of(history=history, montage=True) == {"montage": True}
