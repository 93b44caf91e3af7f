"""Pairs of images for super-resolution, in memory: one low- and one high-resolution image of each scene.

A folder of pairs has `HR/` and `LR/`, each a table (as `darklens simulate sr-pairs` writes them, with `TRUTH/` beside) or a folder
of image files; images with the same id, or files with the same name, are a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from darklens.data.manifest import MANIFEST
from darklens.data.reading import read
from darklens.data.table import Table
from darklens.errors import InputError

HIGH, LOW, TRUTH = "HR", "LR", "TRUTH"


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Pairs of one shape.

    Args:
        ids: n names, object dtype.
        low: `(n, bands, h, w)` float32.
        high: `(n, bands, scale h, scale w)` float32.
        truth: what `high` would be without noise, None where nobody knows.
        about: what the low-resolution table's manifest says; of files, `pixel_scale` and `flux_unit` where their headers agree.
        checksum: of both sides; empty for files.
    """

    ids: np.ndarray
    low: np.ndarray
    high: np.ndarray
    truth: np.ndarray | None
    about: dict
    checksum: str = ""

    @property
    def scale(self) -> int:
        """High-resolution pixels along the side of a low-resolution one."""
        return self.high.shape[-1] // self.low.shape[-1]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> ImagePairs:
        """Return the pairs at these positions."""
        truth = None if self.truth is None else self.truth[index]
        return replace(self, ids=self.ids[index], low=self.low[index], high=self.high[index], truth=truth)


def is_pairs(path: str | Path) -> bool:
    """Whether a path is a folder of pairs."""
    return (Path(path) / HIGH).is_dir() and (Path(path) / LOW).is_dir()


def read_pairs(path: str | Path, rows: int | None = None) -> ImagePairs:
    """Read a folder of pairs into memory.

    Args:
        path: the folder above `HR` and `LR`.
        rows: only the first ones.

    Raises:
        InputError: a folder is missing, a pair lacks one side, holds values that are not finite or has another size or scale
            factor than the others, or files with several images or of one name; the image is named.
    """
    path = Path(path)
    if not is_pairs(path):
        raise InputError(f"{path} holds no pairs: give a folder with HR/ and LR/ that hold images of the same names")
    (high, _), (low, about) = _side(path / HIGH, rows), _side(path / LOW, rows)
    ids = _paired(path, high, low)
    pairs = [(str(name), low[name], high[name]) for name in ids]
    scale = _scale(path, *pairs[0])
    for name, small, large in pairs:
        _check(path, name, small, large, pairs[0][1].shape, scale)
    truth = _side(path / TRUTH, rows)[0] if (path / TRUTH / MANIFEST).is_file() else None
    if truth is not None and (alone := [name for name in ids if name not in truth]):
        raise InputError(f"{path / TRUTH} lacks {alone[0]}, which HR and LR have: simulate the three together, or leave TRUTH out")
    tables = [Table.open(path / side) for side in (HIGH, LOW) if (path / side / MANIFEST).is_file()]
    return ImagePairs(
        np.array(ids, dtype=object),
        np.stack([small for _, small, _ in pairs]),
        np.stack([large for *_, large in pairs]),
        None if truth is None else np.stack([truth[name] for name in ids]),
        about,
        "-".join(table.checksum[:32] for table in tables),
    )


def _side(folder: Path, rows: int | None) -> tuple[dict[str, np.ndarray], dict]:
    """Return name -> `(bands, y, x)` of a table or of a folder of files, and what is known about all of them."""
    if (folder / MANIFEST).is_file():
        table = Table.open(folder)
        part = table if rows is None else table.select(rows=np.arange(min(rows, len(table))))
        return dict(zip(part.ids.tolist(), part.image_array(), strict=True)), table.manifest
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        raise InputError(f"{folder} holds no image: give .npy or FITS files, or a table")
    found, heads = {}, []
    for file in files[:rows]:
        records = list(islice(read(file, fill="refuse"), 2))
        if len(records) > 1:
            raise InputError(f"{file} holds more than one image: give each pair files of its own, or tables (darklens import)")
        if (name := file.name.removesuffix(".gz").rpartition(".")[0] or file.name) in found:
            raise InputError(f"{folder} holds two images called {name}, one is {file.name}: leave one out, or give it another name")
        found[name] = records[0].image
        heads.append((records[0].metadata.get("pixel_scale"), records[0].metadata.get("bunit")))
    scale, unit = (values.pop() if len(values := set(column)) == 1 else None for column in zip(*heads, strict=True))
    return found, {key: value for key, value in (("pixel_scale", scale), ("flux_unit", unit)) if value}


def _paired(path: Path, high: dict, low: dict) -> Sequence[str]:
    alone = sorted(set(high) ^ set(low))
    if alone:
        here, there = (HIGH, LOW) if alone[0] in high else (LOW, HIGH)
        raise InputError(
            f"{path / here / alone[0]} has no partner in {there} ({len(alone)} of {len(set(high) | set(low))} images have none): "
            "give both the same name, or leave it out"
        )
    return list(high)


def _scale(path: Path, name: str, low: np.ndarray, high: np.ndarray) -> int:
    ratios = {a / b for a, b in zip(high.shape[1:], low.shape[1:], strict=True)}
    if len(ratios) != 1 or not (ratio := ratios.pop()).is_integer() or ratio < 2:
        raise InputError(
            f"{path / HIGH / name} is {_size(high)} pixels and its partner {_size(low)}: the scale factor must be a whole number, "
            "at least 2, the same along both sides; cut or resample one of them"
        )
    return int(ratio)


def _check(path: Path, name: str, low: np.ndarray, high: np.ndarray, shape: tuple[int, ...], scale: int) -> None:
    wanted = (shape[0], shape[1] * scale, shape[2] * scale)
    for side, image, needed in ((LOW, low, shape), (HIGH, high, wanted)):
        if image.shape != needed:
            what = f"is {_size(image)} pixels where the first pair has {needed[1]}x{needed[2]} (scale factor {scale})"
            if len(image) != needed[0]:
                what = f"has {len(image)} bands where {LOW} of the first pair has {needed[0]}"
            raise InputError(f"{path / side / name} {what}: leave it out, or cut it to that size")
        if bad := int((~np.isfinite(image)).sum()):
            raise InputError(f"{path / side / name} has {bad} pixels that are not finite numbers: mend it, or leave it out")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[2]}"
