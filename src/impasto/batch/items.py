"""What a batch is made of: every photo in every style, and what each result is called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import PictureError
from impasto.inputs import photos
from impasto.inputs.read import SUFFIXES, files_in


@dataclass(frozen=True)
class Item:
    """One picture to be made.

    Attributes:
        photo, style: files, or names of what comes along.
        name: of the result, below the output folder.
    """

    photo: str
    style: str
    name: str


def items(given: Sequence[str], styles: Sequence[str], suffix: str = ".png") -> list[Item]:
    """Every photo in every style, style after style: who paints several remembers what it knows of the style.

    A result is called after both: `sea/boat--starry-night.png` is `sea/boat.jpg` in the style of `starry-night.jpg`.
    Where names would be the same, the files' suffixes are added, and at last numbers.

    Args:
        given: photos: files, folders (with what is below them), names of `photos.PHOTOS`.
        styles: the same, with names of built-in styles.
        suffix: of the results.

    Raises:
        PictureError: a file or folder that is not there, or a folder without pictures.
    """
    from impasto.inputs import styles as built_in

    contents = _labelled(_expanded(given, set(photos.PHOTOS)), deep=True)
    manners = _labelled(_expanded(styles, set(built_in.STYLES)), deep=False)
    return [
        Item(photo, style, f"{label}--{manner}{suffix}")
        for style, manner in manners.items()
        for photo, label in contents.items()
    ]


def _expanded(given: Sequence[str], names: set[str]) -> dict[str, Path]:
    """What is given, folders replaced by what is in them: its name -> what it is called by, below its folder."""
    found: dict[str, Path] = {}
    for one in given:
        path = Path(one)
        if path.is_dir():
            found |= {os.fspath(file): file.relative_to(path) for file in files_in(path)}
        elif path.is_file() or one in names:
            found[one] = Path(path.name)
        else:
            known = f", nor one of {', '.join(sorted(names))}" if not path.suffix else ""
            raise PictureError(f"no such file or folder: {one}{known}")
    if not found:
        raise PictureError(f"no pictures were given; needed are files ({', '.join(SUFFIXES)}) or folders of them")
    return found


def _labelled(found: dict[str, Path], deep: bool) -> dict[str, str]:
    """A different label for each; with folders, if `deep`, so that large trees stay trees."""

    def label(path: Path, whole: bool) -> str:
        name = ("/" if deep else "-").join(path.parts).removesuffix(path.suffix)
        return name + (path.suffix.replace(".", "-") if whole else "")

    short = Counter(label(path, False).lower() for path in found.values())
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for one, path in found.items():
        chosen = label(path, short[label(path, False).lower()] > 1)
        number = 2
        while chosen.lower() in taken:  # some file systems tell no small letters from large ones
            chosen = f"{label(path, True)}-{number}"
            number += 1
        taken.add(chosen.lower())
        labels[one] = chosen
    return labels
