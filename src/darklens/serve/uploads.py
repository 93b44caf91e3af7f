"""What visitors send: bytes to images, without trusting a word of it.

A file is told by its first bytes, never by its name; its size once unpacked is known before it is unpacked; it is written under a
name of ours into a folder of its own, read by the readers of `darklens.data`, which execute nothing, and removed.
"""

from __future__ import annotations

import io
import itertools
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fastapi import Request
from starlette.datastructures import UploadFile

from darklens.data import Record
from darklens.data.fits_counts import check_counts
from darklens.data.formats import FORMATS, Format
from darklens.data.options import Options
from darklens.data.record import add_note, with_blank_bands_noted
from darklens.errors import DarklensError, InputError
from darklens.serve.settings import Limits

GZIP, PNG = b"\x1f\x8b", b"\x89PNG\r\n\x1a\n"
NPZ = b"PK\x03\x04"
PICTURE = "a picture for the eye: its numbers are brightness as somebody stretched it, no fluxes; trust the answer accordingly"


async def uploaded(request: Request) -> list[tuple[str, bytes]]:
    """Return name and content of the files in a request: those of a form, or its body as the only one; no two share a name.

    Raises:
        InputError: there is none, or too many.
    """
    limits: Limits = request.app.state.settings.limits
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        content = await request.body()
        found = [("file", content)] if content else []
    else:
        async with request.form(max_files=limits.images + 1, max_fields=50) as form:
            files = [item for _, item in form.multi_items() if isinstance(item, UploadFile)]
            found = [(shown(file.filename or "file"), await file.read()) for file in files]
    if not found:
        raise InputError("there is no file in this request: send a form with files=@image.fits, or the file as the body")
    if len(found) > limits.images:
        raise InputError(f"{len(found)} files at once, the limit is {limits.images}: send them in parts")
    return list(zip(_apart([name for name, _ in found]), (content for _, content in found), strict=True))


def _apart(names: list[str]) -> list[str]:
    """Return names with a number behind those that were there before, so that each answer can be told from the others."""
    found: dict[str, None] = {}
    for name in names:
        choices = itertools.chain([name], (f"{name} ({k})" for k in itertools.count(2)))
        found[next(one for one in choices if one not in found)] = None
    return list(found)


def shown(name: str) -> str:
    """Return a name as it can be shown and written into a table: its last part, without what could mean something there."""
    last = re.split(r"[\\/]", name)[-1]
    plain = re.sub(r"[^\w .()\[\]+-]", "_", last)[-80:].strip()
    return re.sub(r"^[^\w(\[]+", "", plain) or "file"


def images_in(name: str, content: bytes, limits: Limits, options: Options | None = None) -> list[Record]:
    """Return the images of a file.

    Args:
        name: what to call it in errors, and its images.
        content: the file.
        limits: of what it may hold.
        options: how to read it.

    Raises:
        InputError: of no known format, damaged, hostile, or too large.
    """
    options = options or Options()
    content = _unpacked(name, content, limits)
    if content.startswith(PNG):
        return [_picture(name, content, limits)]
    known = next((one for one in FORMATS if content.startswith(one.magic)), None)
    if known is None:
        start = "is empty" if not content else "is of no format that is read here"
        raise InputError(f"{name} {start}: send FITS, .npy, .npz or PNG")
    if known.magic.startswith(b"SIMPLE"):
        check_counts(content, name)
    if content.startswith(NPZ):
        _check_archive(name, content, limits)
    with tempfile.TemporaryDirectory(prefix="darklens-") as folder:
        path = Path(folder) / f"upload{known.suffixes[0]}"
        path.write_bytes(content)
        return _read(name, path, known, options, limits)


def _unpacked(name: str, content: bytes, limits: Limits) -> bytes:
    """Return what a gzip file holds, or the content itself."""
    if not content.startswith(GZIP):
        return content
    try:
        machine = zlib.decompressobj(wbits=31)
        found = machine.decompress(content, limits.unpacked_bytes + 1)
    except zlib.error:
        raise InputError(f"{name} is a damaged gzip file: pack it again, or send it as it is") from None
    if len(found) > limits.unpacked_bytes:
        raise InputError(f"{name} unpacks to over {limits.unpacked_bytes >> 20} MiB, which is the limit: send a cutout")
    if not machine.eof:
        raise InputError(f"{name} is a truncated gzip file: pack it again, or send it as it is")
    return found


def _check_archive(name: str, content: bytes, limits: Limits) -> None:
    """Refuse an archive by what it says that it holds; its reader takes no more than that."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size, members = sum(item.file_size for item in archive.infolist()), len(archive.infolist())
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, UnicodeDecodeError):
        raise InputError(f"{name} is a damaged .npz file: write it again") from None
    if size > limits.unpacked_bytes or members > 1000:
        raise InputError(
            f"{name} unpacks to {size >> 20} MiB, the limit is {limits.unpacked_bytes >> 20} MiB: send one image array"
        )


def _read(name: str, path: Path, known: Format, options: Options, limits: Limits) -> list[Record]:
    def refused(sentence: str) -> InputError:
        return InputError(sentence.replace(str(path), name))

    try:
        about = known.probe(path, options)
        pixels = about.count * int(np.prod(about.shape, dtype=object))
        if pixels > limits.pixels or about.count > limits.images:
            raise InputError(
                f"{name} holds {about.count} images of {'x'.join(map(str, about.shape))} pixels, the limits are {limits.images} "
                f"images and {limits.pixels:,} pixels: send a cutout, or fewer at once"
            )
        records = list(known.read(path, options))
    except DarklensError as error:
        raise refused(str(error)) from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, ArithmeticError, EOFError, MemoryError, AttributeError) as error:
        raise refused(f"{name} is damaged ({type(error).__name__}): download or write it again") from None
    if not records:
        raise InputError(f"{name} holds no image: send a file with a 2-D image")
    return [_said(record).with_(id=f"{name}{record.id}", source=name) for record in records]


def _said(record: Record) -> Record:
    """Return a record whose note says what a reader did to its pixels, and which bands are blank."""
    record, filled = with_blank_bands_noted(record), record.metadata.get("filled")
    if not filled:
        return record
    what = "1 pixel that was not finite took" if filled == 1 else f"{filled} pixels that were not finite took"
    return record.with_(metadata=add_note(record.metadata, f"{what} the level of its band's frame"))


def _picture(name: str, content: bytes, limits: Limits) -> Record:
    """Return a PNG as an image `(1, y, x)`, its lowest row first; colours become their luminance."""
    from PIL import Image

    def opened(read: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                return read(picture)
        except InputError:
            raise
        except Exception as error:  # a decoder meets damage with errors of every kind
            raise InputError(f"{name} is a damaged PNG ({type(error).__name__}): write it again") from None

    def pixels(picture: Image.Image) -> np.ndarray:
        if picture.width * picture.height > limits.pixels:
            raise InputError(f"{name} has {picture.width}x{picture.height} pixels, the limit is {limits.pixels:,}: send a cutout")
        deep = picture.mode.startswith(("I", "F"))
        return np.asarray(picture if deep else picture.convert("L"), np.float32)

    return Record(name, opened(pixels)[None, ::-1].copy(), source=name, metadata={"note": PICTURE})
