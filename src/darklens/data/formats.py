"""The file formats: which are read, by what, and why the others are not.

Adding a format is one module with a `read_*` and a `probe_*` function and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from darklens.data.fits import probe_fits, read_fits
from darklens.data.npy import probe_npy, probe_npz, read_npy, read_npz
from darklens.data.options import Options
from darklens.data.record import Record
from darklens.data.stack import Shaped
from darklens.errors import InputError


@dataclass(frozen=True)
class Format:
    """A file format: its suffixes, its first bytes, its reader, and what tells shape and number from the header."""

    suffixes: tuple[str, ...]
    magic: bytes
    read: Callable[[Path, Options], Iterator[Record]]
    probe: Callable[[Path, Options], Shaped]


FORMATS = (
    Format((".npy",), b"\x93NUMPY", read_npy, probe_npy),
    Format((".npz",), b"PK\x03\x04", read_npz, probe_npz),
    Format((".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"), b"SIMPLE  =", read_fits, probe_fits),
)

_HDF5 = "is HDF5, which darklens does not read: save its image with numpy.save or as FITS"
_TEXT = "is text, not an image: give .npy, .npz, FITS or a table"
_PICTURE = "is a picture for the eye, whose values are no longer fluxes: give the .npy or FITS it was made from"
_PICKLE = "is a pickle, which is a program and is never opened: save its image with numpy.save"
_SHARD = "is a part of a table: give the folder that holds it with its manifest.json"
REFUSED = (
    dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), _HDF5)
    | dict.fromkeys((".csv", ".tsv", ".json", ".txt", ".md", ".yaml", ".yml", ".log", ".rst", ".html"), _TEXT)
    | dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".pdf"), _PICTURE)
    | dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLE)
    | {".parquet": _SHARD}
)


def format_of(path: Path, *, look_inside: bool = False) -> Format:
    """Tell a file's format from its suffix, or from its first bytes if it has no suffix that is known.

    Raises:
        InputError: it is of no format that is read; the text says why.
    """
    name = path.name.lower()
    for known in FORMATS:
        if name.endswith(known.suffixes):
            return known
    if path.suffix.lower() in REFUSED:
        raise InputError(f"{path} {REFUSED[path.suffix.lower()]}")
    if look_inside:
        with open(path, "rb") as file:
            start = file.read(16)
        for known in FORMATS:
            if start.startswith(known.magic):
                return known
        if start.startswith(b"\x89HDF"):
            raise InputError(f"{path} {_HDF5}")
    raise InputError(f"{path} is of no format that darklens reads: give .npy, .npz, FITS or a table")
