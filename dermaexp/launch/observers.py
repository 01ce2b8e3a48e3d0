"""Which callbacks only observe a run, as their classes say, without importing them."""

from __future__ import annotations

import ast
import functools
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

MARK = "changes_numbers"  # the class attribute


@functools.cache
def only_observes(target: str) -> bool:
    """Whether the class of this dotted name says `changes_numbers = False` in its own body.

    Reads the source: importing the class would load torch, and a mistyped path is reported without
    it. A class that says nothing, or cannot be found in this way, may change numbers; so may one
    that inherits from an observer.
    """
    module, _, name = target.rpartition(".")
    for statement in _statements(module):
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return any(map(_says_so, statement.body))
        if isinstance(statement, ast.ImportFrom) and not statement.level:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return only_observes(f"{statement.module}.{alias.name}")
    return False


def _says_so(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        names = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        names = [statement.target]
    else:
        return False
    is_false = isinstance(statement.value, ast.Constant) and statement.value.value is False
    return is_false and any(isinstance(name, ast.Name) and name.id == MARK for name in names)


def _statements(module: str) -> list[ast.stmt]:
    """The statements of a module's source; none where it cannot be found or read."""
    spec = _spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    try:
        return ast.parse(Path(spec.origin).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # ValueError: null bytes
        return []


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is; importlib.util.find_spec would import the packages above it."""
    package = module.rpartition(".")[0]
    if not package:
        return PathFinder.find_spec(module)
    above = _spec(package)
    folders = above.submodule_search_locations if above else None
    return PathFinder.find_spec(module, folders) if folders else None
