"""What the names of folders say: class, split, and which image is whose partner.

| layout | class | split |
|---|---|---|
| `Model_I/{no_sub,cdm,axion}/*.npy` | the deepest folder | |
| `{train,val,test}/{class}/*` | the deepest folder | the folder of that name |
| `{train,test}_{lenses,nonlenses}/*` | `lens` or `nonlens` | the first half of the name |
| `HR/*` with `LR/*` | | low and high resolution, paired by file name |
| a flat folder of files | none, unless the folder itself is called like a class of the field | |
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FAMILIES = (("no_sub", "cdm", "axion"), ("no", "sphere", "vort"), ("nonlens", "lens"), ("no_sub", "sub"))
"""Classes of the field, in the order in which it lists them."""

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_KNOWN = {name for family in FAMILIES for name in family}
_LENS_FINDING = re.compile(r"(train|training|val|valid|validation|test)[_-](non)?[_-]?lens(?:es)?", re.IGNORECASE)
_NO_CLASS = {"hr", "lr", "images", "data", "npy", "fits"}

Skip = Callable[[Path, str], None]


@dataclass(frozen=True)
class File:
    """A file below a root, with what its folders say.

    Args:
        path: where it is.
        id: path relative to the root, without suffix unless two files would share it.
        label: class, or None.
        split: `train`, `val`, `test`, or None.
        low_resolution: the partner of a high-resolution image, or None.
    """

    path: Path
    id: str
    label: str | None = None
    split: str | None = None
    low_resolution: Path | None = None


def files_below(root: Path, wanted: Callable[[Path], bool], on_skip: Skip) -> Iterator[File]:
    """Walk a tree in sorted order, one folder's names in memory at a time.

    Links to files are followed; a link to a folder is followed unless it leads back into a folder on the way to it.

    Args:
        root: the folder.
        wanted: whether a file is one to read; it reports the others itself.
        on_skip: called with what is left out, and why.

    Yields:
        The files to read.
    """
    yield from _below(root, (), root, (os.path.realpath(root),), wanted, on_skip)


def _below(folder: Path, parts: tuple[str, ...], root: Path, above: tuple[str, ...], wanted, on_skip) -> Iterator[File]:
    files, folders = _listing(folder, above, on_skip)
    files = [path for path in files if wanted(path)]
    stems = Counter(stem(path) for path in files)
    label, split = place(parts, root.resolve().name)
    for path in files:
        name = stem(path) if stems[stem(path)] == 1 else path.name
        yield File(path, "/".join((*parts, name)), label, split, low_resolution(path))
    low = _folder_named(folders, "LR") if _folder_named(folders, "HR") else None
    for path in folders:
        if path == low:
            _report_alone(low, _folder_named(folders, "HR"), on_skip)
        else:
            real = os.path.realpath(path)
            yield from _below(path, (*parts, path.name), root, (*above, real), wanted, on_skip)


def _listing(folder: Path, above: tuple[str, ...], on_skip: Skip) -> tuple[list[Path], list[Path]]:
    files, folders = [], []
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        on_skip(folder, f"cannot be read ({error.strerror.lower()})")
        names = []
    for path in (folder / name for name in names):
        if path.name.startswith("."):
            on_skip(path, "is hidden")
        elif path.is_dir():
            loop = path.is_symlink() and os.path.realpath(path) in above
            on_skip(path, "is a link back to a folder above it") if loop else folders.append(path)
        elif path.is_file():
            files.append(path)
        else:
            on_skip(path, "is a broken link" if path.is_symlink() else "is not a regular file")
    return files, folders


def stem(path: Path) -> str:
    """Return the name without suffix; `.fits.gz` is one suffix."""
    name = path.name.removesuffix(".gz").removesuffix(".fz")
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name


def _folder_named(folders: list[Path], name: str) -> Path | None:
    return next((path for path in folders if path.name.upper() == name), None)


def _report_alone(low: Path, high: Path, on_skip: Skip) -> None:
    partners = set(os.listdir(high))
    for name in sorted(os.listdir(low)):
        if name not in partners:
            on_skip(low / name, "has no partner of that name in HR")


def low_resolution(path: Path) -> Path | None:
    """Return the low-resolution partner of a file in a folder `HR`, if there is one in the `LR` beside it."""
    if path.parent.name.upper() != "HR":
        return None
    partner = path.parent.with_name("LR" if path.parent.name == "HR" else "lr") / path.name
    return partner if partner.is_file() else None


def place(parts: Iterable[str], root: str = "") -> tuple[str | None, str | None]:
    """Tell class and split from folder names.

    Args:
        parts: the folders between the root and the file, outermost first.
        root: name of the root itself, which counts only if it is a class or a split of the field.

    Returns:
        Class and split, each None where unknown.
    """
    label = split = None
    if root in _KNOWN or root.lower() in SPLITS or _LENS_FINDING.fullmatch(root):
        parts = (root, *parts)
    for part in parts:
        if found := _LENS_FINDING.fullmatch(part):
            label, split = "nonlens" if found[2] else "lens", SPLITS[found[1].lower()]
        elif part.lower() in SPLITS:
            split = SPLITS[part.lower()]
        elif part.lower() not in _NO_CLASS:
            label = part
    return label, split


def class_order(names: Iterable[str]) -> list[str]:
    """Put class names into the field's order if they are of one of its families, else into alphabetical order."""
    found = set(names)
    family = next((f for f in FAMILIES if found and found <= set(f)), ())
    return [name for name in family if name in found] or sorted(found)
