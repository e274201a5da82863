"""`celadon init`: a minimal application that works at once.

The files of `project/` are written as they are; their suffix keeps them from being taken for modules of the platform.
"""

from __future__ import annotations

import os
from pathlib import Path

from celadon.errors import CeladonError

SUFFIX = ".template"
_PROJECT = Path(__file__).parent / "project"


def files() -> dict[str, str]:
    """What is written: path inside the folder → content."""
    found = sorted(_PROJECT.rglob(f"*{SUFFIX}"))
    return {str(file.relative_to(_PROJECT)).removesuffix(SUFFIX): file.read_text() for file in found}


def write(folder: Path) -> list[str]:
    """Write the application into a folder, which is made if need be; the paths inside it.

    Raises CeladonError if one of the files is there already, or can't be written. Then nothing is written at all.
    """
    wanted = files()
    there = sorted({standing for name in wanted for standing in _in_the_way(folder, name)})
    if there:
        raise CeladonError(
            f"{folder} holds {', '.join(there)} already, so nothing was written; name another folder, or move them away"
        )
    made: list[Path] = []
    try:
        for name, content in wanted.items():
            _make_folders((folder / name).parent, made)
            made.append(folder / name)
            (folder / name).write_text(content)
    except OSError as error:
        for path in reversed(made):
            _remove(path)
        raise CeladonError(f"{folder} can't be written to, so nothing was: {error}") from error
    return list(wanted)


def _in_the_way(folder: Path, name: str) -> list[str]:
    """What stands where the file, or one of its folders, is to be."""
    folders = [parent for parent in Path(name).parents if parent != Path()]
    taken = [str(parent) for parent in folders if os.path.lexists(folder / parent) and not (folder / parent).is_dir()]
    return taken or ([name] if os.path.lexists(folder / name) else [])


def _make_folders(folder: Path, made: list[Path]) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent, made)
        folder.mkdir()
        made.append(folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
