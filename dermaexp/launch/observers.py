"""Which callbacks only observe a run, as their classes say, without importing them."""

from __future__ import annotations

import ast
import functools
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

MARK = "changes_numbers"  # the class attribute


@functools.cache
def only_observes(target: str) -> bool:
    """Whether the class of this dotted name says `changes_numbers = False` in its own body.

    Reads the source: importing the class would load torch, and a mistyped path is reported without
    it. A class that says nothing, or cannot be found in this way, may change numbers; so may one
    that inherits from an observer.
    """
    seen: set[str] = set()
    while target not in seen:  # modules may import it from each other
        seen.add(target)
        found = _found(*target.rpartition(".")[::2])
        if isinstance(found, ast.ClassDef):
            return any(map(_says_so, found.body))
        if found is None:
            return False
        target = found
    return False


def _found(module: str, name: str) -> ast.ClassDef | str | None:
    """The class of this name in a module, or the dotted name under which it imports it."""
    spec = _spec(module)
    for statement in _statements(spec):
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return statement
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return _source(statement, spec.parent if spec else None) + f".{alias.name}"
    return None


def _source(statement: ast.ImportFrom, package: str | None) -> str:
    """The module from which `statement` in `package` imports; "" above its top-level package."""
    try:
        return resolve_name("." * statement.level + (statement.module or ""), package)
    except ImportError:
        return ""


def _says_so(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        names = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        names = [statement.target]
    else:
        return False
    is_false = isinstance(statement.value, ast.Constant) and statement.value.value is False
    return is_false and any(isinstance(name, ast.Name) and name.id == MARK for name in names)


def _statements(spec: ModuleSpec | None) -> list[ast.stmt]:
    """The statements of a module's source; none where it cannot be found or read."""
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
