"""Read FITS images, cubes and multi-extension files.

Extensions that are called by band and kind (`VIS_BGSUB`, `VIS_PSF`, `NIR_Y_BGSUB`) are the bands of one image, see
`darklens.data.extensions`; of other files the first image is taken, and `hdu` chooses another.

The first row of a FITS image is its lowest, which is the convention here too. Big-endian bytes, BSCALE and BZERO are
turned into plain float32. The pixel scale is taken from the header's celestial coordinates where it has any.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.extensions import COMPANIONS, band_extensions, chosen_bands, short_names
from darklens.data.fits_counts import check_counts_of
from darklens.data.joining import joined
from darklens.data.options import Options
from darklens.data.record import Record
from darklens.data.stack import Shaped, images_of
from darklens.errors import InputError

PIXELS_AT_MOST = 1 << 26
"""Pixels of one plane, 8192x8192: more is a mosaic, not a cutout."""
STACK_PIXELS_AT_MOST = 1 << 31
"""Pixels of an extension, 8 GiB as float32."""
NOTED = ("TELESCOP", "INSTRUME", "FILTER", "BUNIT", "OBJECT")
_LOCK = threading.Lock()


def read_fits(path: Path, options: Options) -> Iterator[Record]:
    """Read the images of a FITS file.

    Raises:
        InputError: truncated, damaged, without image, or without the extension that is asked for.
    """
    with _opened(path) as hdus:
        if bands := _bands(hdus, path, options):
            yield from _read_bands(hdus, bands, path, options)
            return
        for chosen, name, note in _choose(hdus, path, options.hdu):
            array = _data(chosen, path)
            yield from images_of(array, path, options, name=name, metadata=_metadata(chosen) | note)


def probe_fits(path: Path, options: Options) -> Shaped:
    """Return shape and number of the images of a FITS file, from its headers."""
    with _opened(path) as hdus:
        if bands := _bands(hdus, path, options):
            first = hdus[next(iter(bands.values()))["image"]]
            found = Shaped.of(_shape(first), str(path), replace(options, layout="stack"))
            size = options.size or found.shape[1:]
            scale = _pixel_scale(first.header) if size == found.shape[1:] else None
            names = tuple(options.bands or short_names(list(bands)).values())
            return Shaped((len(bands), *size), found.count, (), scale, names, _flux_unit(first.header))
        shapes, scale, unit = [], None, None
        for chosen, _, _ in _choose(hdus, path, options.hdu):
            leading = (len(chosen),) if len(chosen) > 1 else ()
            shapes.append(Shaped.of((*leading, *_shape(chosen[0])), str(path), options))
            scale, unit = _pixel_scale(chosen[0].header), _flux_unit(chosen[0].header)
    return Shaped(shapes[0].shape, sum(s.count for s in shapes if s.shape == shapes[0].shape), (), scale, flux_unit=unit)


@contextmanager
def _opened(path: Path) -> Iterator[Sequence[Any]]:
    from astropy.io import fits

    try:
        check_counts_of(Path(path))
        # astropy warns of what is refused below, and warnings can only be silenced for all threads at once
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = all_read(fits.open(path, memmap=False))
        with hdus:
            yield hdus
    except InputError:
        raise
    except Exception as error:  # astropy meets damage with errors of every kind
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is empty, truncated, or no FITS file: download or write it again") from error


def all_read(hdus: Any) -> Any:
    """Read the headers of all extensions of a file that is opened, and return it.

    Raises:
        ValueError: an extension says that it ends before it begins, so that its file would be read in circles without end.
    """
    last = -1
    for number in count():
        try:
            begin = hdus[number].fileinfo()["hdrLoc"]
        except IndexError:
            return hdus
        if begin <= last:
            raise ValueError(f"extension {number} begins at {begin}, the one before at {last}")
        last = begin


def _bands(hdus: Sequence[Any], path: Path, options: Options) -> dict[str, dict[str, int]]:
    """Return the bands that are to be read, in their order, with the numbers of their extensions; nothing if there are none."""
    images = [i for i, hdu in enumerate(hdus) if hdu.is_image and len(_shape(hdu)) in (2, 3)]
    found = {} if options.hdu is not None else band_extensions([hdu.name for hdu in hdus], images)
    return {band: found[band] for band in chosen_bands(list(found), options.bands, path)} if found else {}


def _read_bands(hdus: Sequence[Any], bands: dict[str, dict[str, int]], path: Path, options: Options) -> Iterator[Record]:
    called = options.bands or tuple(short_names(list(bands)).values())
    note = {}
    if len(bands) > 1 and options.bands is None:
        note = {"note": f"took bands {', '.join(called)}, all that the file has"}
    kinds = {kind: [roles.get(kind) for roles in bands.values()] for kind in COMPANIONS}
    about: dict[str, Any] = {"hdu": ",".join(hdus[roles["image"]].name for roles in bands.values())} | note
    about |= {kind: found for kind, found in kinds.items() if any(found)}
    streams = []
    for band, roles in bands.items():
        hdu = hdus[roles["image"]]
        _check_size([hdu], path)
        array = hdu.data.reshape(_shape(hdu))
        layout = replace(options, layout="stack")
        streams.append(images_of(array, path, layout, name=band, metadata=_metadata([hdu]) | about))
    for record in joined(streams, called, str(path), options.size):
        number = record.id.strip("[]").partition(",")[2]  # of a band's cube; the band is no part of the name
        yield record.with_(id=f"[{number}]" if number else "")


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
    """Return the shape without leading axes of length one beyond the third; empty if there is no pixel, or a negative number."""
    shape = tuple(hdu.shape)
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return () if min(shape, default=0) <= 0 else shape


def _check_size(hdus: list[Any], path: Path) -> None:
    """Refuse images that would not fit into memory, before a pixel is read.

    Raises:
        InputError: an image has too many pixels.
    """
    for hdu in hdus:
        shape = _shape(hdu)
        if math.prod(shape[-2:]) > PIXELS_AT_MOST or math.prod(shape) > STACK_PIXELS_AT_MOST:
            size = "x".join(map(str, shape))
            raise InputError(
                f"{path} holds an image of {size} pixels, the limit is {PIXELS_AT_MOST} pixels a plane and {STACK_PIXELS_AT_MOST} "
                "in all: make cutouts of it with darklens cutouts, or write it in parts"
            )


def _data(hdus: list[Any], path: Path) -> np.ndarray:
    _check_size(hdus, path)
    arrays = [hdu.data.reshape(_shape(hdu)) for hdu in hdus]
    if len(arrays) == 1:
        return arrays[0]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise InputError(f"{path} has extensions of shapes {shapes}, not bands of one image: choose equal 2-D ones")
    return np.stack(arrays)


def _metadata(hdus: list[Any]) -> dict[str, Any]:
    header = hdus[0].header
    noted = {key.lower(): str(header[key]) for key in NOTED if isinstance(header.get(key), str | int | float) and header[key] != ""}
    scale = _pixel_scale(header)
    return noted | ({"pixel_scale": scale} if scale else {})


def _pixel_scale(header: Any) -> float | None:
    """Return arcsec a pixel: the root of the pixel's solid angle if the header's axes are celestial, else what PIXSCALE says.

    The matrix is CD, or PC with a step for each axis (Greisen & Calabretta 2002, sect. 2.1.2); a PC matrix may hold the scale
    itself, beside steps of 1.
    """
    if not str(header.get("CTYPE1", "")).startswith(("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT")):
        return _positive(header.get("PIXSCALE"))
    corners = ("1_1", "1_2", "2_1", "2_2")
    if any("CD" + corner in header for corner in corners):
        matrix, steps = [header.get("CD" + corner, 0.0) for corner in corners], (1.0, 1.0)
    else:
        matrix = [header.get("PC" + corner, unit) for corner, unit in zip(corners, (1.0, 0.0, 0.0, 1.0), strict=True)]
        steps = (header.get("CDELT1", 0.0), header.get("CDELT2", 0.0))
    try:
        a, b, c, d = map(float, matrix)
        area = abs((a * d - b * c) * float(steps[0]) * float(steps[1]))
    except (TypeError, ValueError):
        return _positive(header.get("PIXSCALE"))
    return _positive(round(3600 * math.sqrt(area), 6))


def _flux_unit(header: Any) -> str | None:
    """Return the unit of a pixel, where the header says one."""
    unit = header.get("BUNIT")
    return (unit.strip() or None) if isinstance(unit, str) else None


def _positive(value: Any) -> float | None:
    """Return a card's value as a number, also where it was written as text; None if it is none above zero."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 < found < math.inf else None
