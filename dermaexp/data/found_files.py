"""Pictures that a table names, searched for in folders by path, name, or name without suffix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from dermaexp.data.pictures import SUFFIXES, pictures_below


class FoundFiles:
    """The pictures in some folders and their subfolders; the first folder with a name counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self._by_name = [_names(pictures_below(folder)) for folder in folders]

    def find(self, name: str) -> list[Path]:
        """Return the file that a table calls `name`: none, or several of one folder, is a fault."""
        for folder, known in zip(self.folders, self._by_name, strict=True):
            if (folder / name).is_file():
                return [folder / name]
            if found := known.get(PurePath(name).name) or known.get(_stem(name), []):
                below = PurePath(name).parts
                return [file for file in found if _ends_with(file, below)] or found
        return []


def _names(files: Iterable[Path]) -> dict[str, list[Path]]:
    known: dict[str, list[Path]] = {}
    for file in files:
        known.setdefault(file.name, []).append(file)
        known.setdefault(file.stem, []).append(file)
    return known


def _ends_with(file: Path, parts: tuple[str, ...]) -> bool:
    """Whether the path ends with these parts, the last with or without its suffix."""
    own = file.parts[-len(parts) :]
    return own[:-1] == parts[:-1] and _stem(parts[-1]) == file.stem


def _stem(name: str) -> str:
    """The name without the suffix of a picture, which may be another than the file's."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
