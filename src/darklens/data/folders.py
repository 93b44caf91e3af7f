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

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darklens.data.bands import pattern

FAMILIES = (("no_sub", "cdm", "axion"), ("no", "sphere", "vort"), ("nonlens", "lens"), ("no_sub", "sub"))
"""Classes of the field, in the order in which it lists them."""

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_KNOWN = {name for family in FAMILIES for name in family}
_LENS_FINDING = re.compile(r"(train|training|val|valid|validation|test)[_-](non)?[_-]?lens(?:es)?", re.IGNORECASE)
_NO_CLASS = {"hr", "lr", "images", "data", "npy", "fits", "files", "public"}

MARKER, TRUTH = "darklens-export.json", "truth.csv"
"""What `darklens export` writes beside the images."""

Skip = Callable[[Path, str], None]
NO_TEXT = "has a name that is no text in UTF-8: rename it"


def is_text(path: Path | str) -> bool:
    """Say whether a path can be written down; names on a disk are bytes and may be anything."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class File:
    """A file below a root, or the files of one object's bands, with what their folders say.

    Args:
        path: where it is.
        id: path relative to the root, without suffix unless two files would share it.
        label: class, or None.
        split: `train`, `val`, `test`, or None.
        low_resolution: the partner of a high-resolution image, or None.
        paths: the files of an object's bands, in their order, if it has one file a band; `path` is the first of them.
        bands: names of those bands.
        truth: what a catalogue says of it.
        mask: value of its masked pixels, where its name tells.
    """

    path: Path
    id: str
    label: str | None = None
    split: str | None = None
    low_resolution: Path | None = None
    paths: tuple[Path, ...] = ()
    bands: tuple[str, ...] = ()
    truth: Mapping[str, float] = field(default_factory=dict)
    mask: float | None = None

    @property
    def source(self) -> str:
        """The file, or one name for all files of the bands, `NAME_{g,r,i}.fits`, which can be read again."""
        return pattern(self.paths) if self.paths else str(self.path)


def stem(path: Path) -> str:
    """Return the name without suffix; `.fits.gz` is one suffix."""
    name = path.name.removesuffix(".gz").removesuffix(".fz")
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name


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
