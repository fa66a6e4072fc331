"""The pictures of a batch: every photo in every style, and the names of the results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import PictureError
from impasto.files import StrPath, local_path
from impasto.inputs import photos
from impasto.inputs.gallery import PAINTINGS
from impasto.inputs.read import SUFFIXES, files_in


@dataclass(frozen=True)
class Item:
    """One picture to be made.

    Attributes:
        photo, style: files, or names of bundled ones.
        name: of the result, relative to the output folder.
    """

    photo: str
    style: str
    name: str


def items(
    given: Sequence[str], styles: Sequence[str], suffix: str = ".png", output: StrPath | None = None
) -> list[Item]:
    """Every photo in every style, one style after the other, so that workers can cache the style's targets.

    A result is named after both: `sea/boat--starry-night.png` is `sea/boat.jpg` in the style of `starry-night.jpg`.
    Where names would clash, the suffixes of the files are added, and numbers if necessary.

    Args:
        given: photos: files, folders (searched with their subfolders), names of `photos.PHOTOS`.
        styles: the same, with names of built-in styles and of the paintings of the gallery.
        suffix: of the results.
        output: the folder of the results, which is not searched.

    Raises:
        PictureError: a file or folder does not exist, or a folder has no pictures, or none outside of `output`.
    """
    from impasto.inputs import styles as built_in

    photo_labels = _labels(_expand(given, set(photos.PHOTOS), output), subfolders=True)
    style_labels = _labels(_expand(styles, {*built_in.STYLES, *PAINTINGS}, output), subfolders=False)
    return [
        Item(photo, style, f"{photo_label}--{style_label}{suffix}")
        for style, style_label in style_labels.items()
        for photo, photo_label in photo_labels.items()
    ]


def _expand(given: Sequence[str], names: set[str], output: StrPath | None) -> dict[str, Path]:
    """File or name -> its path relative to the folder given, folders replaced by the pictures in them."""
    found: dict[str, Path] = {}
    for entry in given:
        path = local_path(entry, PictureError)
        if path.is_dir():
            files = [file for file in files_in(path) if output is None or not is_inside(file, output)]
            if not files:
                raise PictureError(f"all pictures in {path} are in the output folder {output}; write to another folder")
            found |= {os.fspath(file): file.relative_to(path) for file in files}
        elif path.is_file() or entry in names:
            found[entry if entry in names else os.fspath(path)] = Path(path.name)
        else:
            known = f", nor one of {', '.join(sorted(names))}" if not path.suffix else ""
            raise PictureError(f"no such file or folder: {entry}{known}")
    if not found:
        raise PictureError(f"no pictures were given; expected files ({', '.join(SUFFIXES)}) or folders of them")
    return found


def is_inside(path: StrPath, folder: StrPath) -> bool:
    """Whether a file is in a folder or its subfolders, whatever links lead to either."""
    return Path(os.path.realpath(Path(path).parent)).is_relative_to(os.path.realpath(folder))


def _labels(paths: dict[str, Path], subfolders: bool) -> dict[str, str]:
    """File or name -> a label, unique whatever its case; subfolders are kept, or become part of the name."""

    def label(path: Path, with_suffix: bool) -> str:
        name = ("/" if subfolders else "-").join(path.parts).removesuffix(path.suffix)
        return name + (path.suffix.replace(".", "-") if with_suffix else "")

    counts = Counter(label(path, False).lower() for path in paths.values())
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for entry, path in paths.items():
        chosen = label(path, counts[label(path, False).lower()] > 1)
        number = 2
        while chosen.lower() in taken:  # some file systems ignore the case of names
            chosen = f"{label(path, True)}-{number}"
            number += 1
        taken.add(chosen.lower())
        labels[entry] = chosen
    return labels
