"""Pictures that a table names, searched for in folders by path, name, or name without suffix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePath

from dermaexp.data.pictures import SUFFIXES, pictures_below


class FoundFiles:
    """The pictures in some folders and their subfolders; the first folder with a name counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        files = [list(pictures_below(folder)) for folder in folders]
        self._by_name = [_names(own) for own in files]
        self._folder_names = {
            name
            for folder, own in zip(folders, files, strict=True)
            for file in own
            for name in (folder.name, *file.relative_to(folder).parts[:-1])
        }

    def find(self, name: str) -> list[Path]:
        """Return the file that a table calls `name`: none, or several of one folder, is a fault.

        The path may be one of another computer: its last parts decide. A picture of another folder
        never stands in for one that is missing in its own.
        """
        for folder in self.folders:
            if _is_file(folder / name):
                return [folder / name]
        path = PurePath(name.replace("\\", "/"))  # a path of Windows
        alike = [known.get(path.name) or known.get(_stem(path.name), []) for known in self._by_name]
        shared = max((_shared(file, path) for found in alike for file in found), default=0)
        if shared < len(path.parts) and path.parts[-shared - 1] in self._folder_names:
            return []
        best = ([file for file in found if _shared(file, path) == shared] for found in alike)
        return next(filter(None, best), [])


def _names(files: Iterable[Path]) -> dict[str, list[Path]]:
    known: dict[str, list[Path]] = {}
    for file in files:
        known.setdefault(file.name, []).append(file)
        known.setdefault(file.stem, []).append(file)
    return known


def _shared(file: Path, path: PurePath) -> int:
    """How many of the last parts of two paths are the same, the file's name being one."""
    parents = zip(reversed(file.parts[:-1]), reversed(path.parts[:-1]), strict=False)
    return 1 + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parents))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _stem(name: str) -> str:
    """The name without the suffix of a picture, which may be another than the file's."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
