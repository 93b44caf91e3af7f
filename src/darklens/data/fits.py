"""Read FITS images, cubes and multi-extension files.

The first row of a FITS image is its lowest, which is the convention here too. Big-endian bytes, BSCALE and BZERO are
turned into plain float32. The pixel scale is taken from the header's celestial coordinates where it has any.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.options import Options
from darklens.data.record import Record
from darklens.data.stack import Shaped, images_of
from darklens.errors import InputError

NOTED = ("TELESCOP", "INSTRUME", "FILTER", "BUNIT", "OBJECT")
_LOCK = threading.Lock()


def read_fits(path: Path, options: Options) -> Iterator[Record]:
    """Read the images of a FITS file.

    Raises:
        InputError: truncated, damaged, without image, or without the extension that is asked for.
    """
    with _opened(path) as hdus:
        for chosen, name, note in _choose(hdus, path, options.hdu):
            array = _data(chosen, path)
            yield from images_of(array, path, options, name=name, metadata=_metadata(chosen) | note)


def probe_fits(path: Path, options: Options) -> Shaped:
    """Return shape and number of the images of a FITS file, from its headers."""
    with _opened(path) as hdus:
        shapes, scale = [], None
        for chosen, _, _ in _choose(hdus, path, options.hdu):
            bands = (len(chosen),) if len(chosen) > 1 else ()
            shapes.append(Shaped.of(bands + _shape(chosen[0]), str(path), options))
            scale = _pixel_scale(chosen[0].header)
    return Shaped(shapes[0].shape, sum(s.count for s in shapes if s.shape == shapes[0].shape), (), scale)


@contextmanager
def _opened(path: Path) -> Iterator[Sequence[Any]]:
    from astropy.io import fits

    try:
        # astropy warns of what is refused below, and warnings can only be silenced for all threads at once
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = fits.open(path, memmap=False, lazy_load_hdus=False)
        with hdus:
            yield hdus
    except InputError:
        raise
    except Exception as error:  # astropy meets damage with errors of every kind
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is empty, truncated, or no FITS file: download or write it again") from error


def _choose(hdus: Sequence[Any], path: Path, wanted: Any) -> Iterator[tuple[list[Any], str, dict[str, str]]]:
    """Iterate over the images to read: the extensions that are their bands, a name for the id, and a note."""
    names = [hdu.name or str(i) for i, hdu in enumerate(hdus)]
    images = [i for i, hdu in enumerate(hdus) if hdu.is_image and len(_shape(hdu)) in (2, 3)]
    if not images:
        kinds = ", ".join(f"{n} {type(h).__name__.removesuffix('HDU')}" for n, h in zip(names, hdus, strict=True))
        raise InputError(f"{path} holds no image (its extensions: {kinds}): give a file with a 2-D or 3-D image")
    if wanted == "all":
        yield from (([hdus[i]], f"{i}", {"hdu": names[i]}) for i in images)
        return
    note = {}
    if wanted is not None:
        images = [_index(one, names, images, path) for one in _listed(wanted)]
    elif len(images) > 1:
        note = {"note": f"took extension {names[images[0]]}, the first of {len(images)} with an image"}
        images = images[:1]
    yield [hdus[i] for i in images], "", {"hdu": ",".join(names[i] for i in images)} | note


def _listed(wanted: int | str | Sequence[int | str]) -> Sequence[int | str]:
    if isinstance(wanted, int):
        return [wanted]
    return wanted.split(",") if isinstance(wanted, str) else wanted


def _index(wanted: int | str, names: list[str], images: list[int], path: Path) -> int:
    text = str(wanted).strip()
    found = int(text) if text.isdigit() else next((i for i, n in enumerate(names) if n.upper() == text.upper()), -1)
    if found not in images:
        listed = ", ".join(f"{i} ({names[i]})" if names[i] != str(i) else names[i] for i in images)
        raise InputError(f"{path} has no image in extension {text!r}: choose by --hdu among {listed}")
    return found


def _shape(hdu: Any) -> tuple[int, ...]:
    """Return the shape without leading axes of length one beyond the third; empty if there is no pixel."""
    shape = tuple(hdu.shape)
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return () if 0 in shape else shape


def _data(hdus: list[Any], path: Path) -> np.ndarray:
    arrays = [hdu.data.reshape(_shape(hdu)) for hdu in hdus]
    if len(arrays) == 1:
        return arrays[0]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise InputError(f"{path} has extensions of shapes {shapes}, not bands of one image: choose equal 2-D ones")
    return np.stack(arrays)


def _metadata(hdus: list[Any]) -> dict[str, Any]:
    header = hdus[0].header
    noted = {key.lower(): str(header[key]) for key in NOTED if header.get(key) not in (None, "")}
    scale = _pixel_scale(header)
    return noted | ({"pixel_scale": scale} if scale else {})


def _pixel_scale(header: Any) -> float | None:
    """Return arcsec a pixel: the root of the pixel's solid angle if the header's axes are celestial, else what PIXSCALE says."""
    if not str(header.get("CTYPE1", "")).startswith(("RA", "GLON", "ELON")):
        scale = header.get("PIXSCALE")
        return float(scale) if isinstance(scale, int | float) and 0 < scale < math.inf else None
    if "CD1_1" in header:
        cd = [header.get(key, 0.0) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
        area = abs(cd[0] * cd[3] - cd[1] * cd[2])
    else:
        area = abs(header.get("CDELT1", 0.0) * header.get("CDELT2", 0.0))
    return round(3600 * math.sqrt(area), 6) or None
