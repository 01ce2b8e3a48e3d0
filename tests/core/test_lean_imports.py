"""What a run leaves unimported, and that it is whole when it is used."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from helpers import run_lean

from dermaexp.core import lean_imports

VERSIONS = "torch 2.14, pytorch-lightning 2.6, torchmetrics 1.9, scikit-learn 1.9"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("from of_tests import part\nWHOLE = part.VALUE + 1\n")
    (folder / "part.py").write_text("VALUE = 1\n")
    (folder / "other.py").write_text("from of_tests import WHOLE\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("of_tests", "of_tests.part", "of_tests.other"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    return "of_tests"


@pytest.mark.parametrize("used", ["WHOLE", "part", "other", "__all__"])
def test_a_postponed_package_runs_its_code_when_it_is_used(package: str, used: str) -> None:
    module = lean_imports._package(package)
    assert module is not None
    lean_imports._postpone(module)
    module.GIVEN = 3
    assert importlib.import_module(package).GIVEN == 3
    assert not hasattr(module, "__wrapped__"), "as inspect asks"
    assert "of_tests.part" not in sys.modules
    if used == "other":
        assert importlib.import_module("of_tests.other").WHOLE == 2
    elif used == "__all__":
        with pytest.raises(AttributeError, match="module 'of_tests' has no attribute '__all__'"):
            getattr(module, used)
    else:
        getattr(module, used)
    assert (module.WHOLE, module.part.VALUE) == (2, 1)
    assert lean_imports._package(package) is None, "it is imported"


def test_a_stand_in_is_the_module_for_those_who_use_it(package: str) -> None:
    with lean_imports._stand_in(package):
        module = importlib.import_module(package)
    assert package not in sys.modules
    assert module.WHOLE == 2
    with lean_imports._stand_in(package):
        assert importlib.import_module(package) is sys.modules[package] is not module


@pytest.mark.slow
def test_what_is_postponed_is_whole_when_it_is_used() -> None:
    """Else a new version of a library imports more, or differently: see `lean_imports`."""
    run_lean(f"""
        import sys
        unused = {{"torchvision", "sympy", "torchmetrics.functional.image"}}
        assert not unused & sys.modules.keys(), unused & sys.modules.keys()
        import torch
        from pytorch_lightning.utilities.compile import _maybe_unwrap_optimized as unwrapped
        from pytorch_lightning import LightningModule
        plain = LightningModule()
        assert unwrapped(plain) is plain
        torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()
        assert "sympy" not in sys.modules, {VERSIONS!r}
        from sklearn.utils import fixes
        assert fixes.pd.DataFrame is __import__("pandas").DataFrame
        from torchmetrics.classification import MulticlassAccuracy
        assert MulticlassAccuracy(3)(torch.tensor([1]), torch.tensor([1])) == 1
        assert sys.modules["torchmetrics"].functional.accuracy
        compiled = torch.compile(plain)
        assert type(compiled) is torch._dynamo.OptimizedModule
        assert unwrapped(compiled) is plain
        import torch._dynamo.config
    """)
