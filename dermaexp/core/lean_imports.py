"""Import Lightning and scikit-learn without what they import and a run does not use.

Lightning imports torchmetrics, which imports torchvision and much of SciPy for metrics that few
programs need; Lightning and every optimizer import torch's compiler, with SymPy; scikit-learn
imports pandas to recognise its tables. Together that takes longer than importing torch. Here each
is imported when something of it is used, and not before. All this is private to those libraries:
tests/core/test_lean_imports.py names what a new version changed. Until then it is only slower.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
METRICS = "torchmetrics"
METRICS_USED = {  # by Lightning and by us, in an order in which no import is circular
    "utilities": (),
    "metric": ("Metric",),
    "collections": ("MetricCollection",),
    "aggregation": ("MeanMetric",),
}


def import_all(*, compiler: bool = False) -> None:
    """Import what every run needs of Lightning and scikit-learn; torch's compiler if it is used."""
    is_first = "pytorch_lightning" not in sys.modules
    if is_first:
        gc.collect()
    with without_collections():
        if compiler:
            _complete(importlib.import_module(COMPILER))
        import_lightning()
        import_sklearn()
    if is_first:
        gc.freeze()  # else each third job of a sweep looks for garbage among all that was imported


def import_lightning() -> None:
    """Import pytorch_lightning, but neither torchvision nor torch's compiler."""
    if "pytorch_lightning" in sys.modules:
        return
    try:
        _postpone_compiler()
        _postpone_metrics()
        import pytorch_lightning
    except (ImportError, AttributeError):  # of another version: whole, in the usual way
        for name in [name for name in sys.modules if name.split(".")[0] == METRICS]:
            del sys.modules[name]
        import pytorch_lightning  # noqa: F401


def import_sklearn() -> None:
    """Import scikit-learn's metrics, but not pandas."""
    with _stand_in("pandas"):
        import sklearn.metrics  # noqa: F401


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Look for no garbage among the objects that imports, or reading many runs, make to stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Package(ModuleType):
    """A package whose own code runs once something is asked of it that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # Python asks
            raise AttributeError(name)
        _complete(self)
        if name not in vars(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return vars(self)[name]


class _Path(list[str]):
    """The folders of a _Package: the search for a module in them needs the package's code."""

    package: ModuleType

    def __iter__(self) -> Iterator[str]:
        _complete(self.package)
        return super().__iter__()


_lock = threading.RLock()  # another thread waits until the code has run


def _complete(package: ModuleType) -> None:
    """Run the package's own code, if it has not run."""
    with _lock:
        spec = package.__spec__
        assert spec and spec.loader and spec.submodule_search_locations is not None
        if isinstance(package.__path__, _Path):
            package.__path__ = spec.submodule_search_locations
            spec.loader.exec_module(package)
            package.__class__ = ModuleType


def _package(name: str) -> ModuleType | None:
    """Put a package into `sys.modules` without its code; None where it is imported or missing."""
    spec = importlib.util.find_spec(name)
    if name in sys.modules or not spec:
        return None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    return module


def _postpone(package: ModuleType) -> None:
    package.__class__ = _Package
    path = package.__path__ = _Path(package.__path__)
    path.package = package


def _postpone_metrics() -> None:
    if package := _package(METRICS):
        given = vars(package)
        given["__version__"] = importlib.metadata.version(METRICS)
        given["_logger"] = logging.getLogger(METRICS)
        for name, attributes in METRICS_USED.items():
            module = importlib.import_module(f"{METRICS}.{name}")
            given.update((used, getattr(module, used)) for used in attributes)
        _postpone(package)


def _postpone_compiler() -> None:
    import torch

    if package := _package(COMPILER):
        vars(package).update(
            OptimizedModule=_Compiled,
            disable=lambda function, *_, **__: function,
            graph_break=lambda: None,
        )
        torch._dynamo = package
        _postpone(package)


class _IsCompiled(type):
    def __instancecheck__(cls, instance: object) -> bool:
        compiled = sys.modules[COMPILER].OptimizedModule
        return compiled is not cls and isinstance(instance, compiled)


class _Compiled(metaclass=_IsCompiled):
    """The class of compiled models, for `isinstance`: there are none without the compiler."""


class _StandIn(ModuleType):
    """Stands for a module, which it imports when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python asks
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _stand_in(name: str) -> Iterator[None]:
    """Let those who import the module in this block have a stand-in, if it is not there yet.

    Nobody sees it afterwards: many libraries look into `sys.modules` for pandas.
    """
    if name in sys.modules:
        yield
        return
    module = sys.modules[name] = _StandIn(name)
    try:
        yield
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]
