"""An image, made sharper by a trained run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.runs import Run


def enhance(
    run: str | Path | Run,
    image: str | Path,
    out: str | Path,
    *,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Write a sharper image as FITS: header and coordinates of the coarse one on finer pixels, sigma in an extension.

    Args:
        run: a run of super-resolution, its folder or the name of a shipped one.
        image: one image in a file.
        out: FITS file.
        hdu: extension of a FITS file.
        bands: bands to read, in order.
        device: where to compute.
        force: replace a file.

    Returns:
        `out`, `shape` of the sharper image, `scale`, `pixel_scale` (arcsec, None if unknown), and `sigma`, whether there is one.

    Raises:
        InputError: the run is of another task, the file holds other than one image, or one unlike those of the training: another
            size, range of values, or pixel scale.
    """
    from darklens.data import read
    from darklens.data.enhanced import write_enhanced
    from darklens.train.enhancer import Enhancer

    enhancer = Enhancer(run if isinstance(run, Run) else Run.open(run), device)
    records = list(islice(read(image, hdu=hdu, bands=bands, fill="refuse"), 2))
    if len(records) > 1:
        raise InputError(f"{image} holds more than one image and enhance takes one: give the file of one image")
    about, scale = records[0].metadata, enhancer.scale
    pixels = enhancer.checked(records[0].image, str(image), about.get("pixel_scale"), about.get("bunit"))
    sharper, sigma = enhancer(pixels[None])
    coarse = about.get("pixel_scale") or enhancer.pixel_scale
    fine = coarse and coarse / scale
    notes = (f"darklens enhance: {enhancer.described['name']}, {scale}x, from {Path(image).name}", f"run {enhancer.run.name}")
    source = Path(records[0].source or image)
    write_enhanced(
        Path(out), sharper[0], None if sigma is None else sigma[0], source=source, scale=scale, hdu=about.get("hdu"),
        pixel_scale=fine, unit=enhancer.described["flux_unit"], notes=notes, force=force,
    )  # fmt: skip
    return {
        "out": str(out), "shape": list(sharper[0].shape), "scale": scale, "pixel_scale": fine, "sigma": sigma is not None
    }  # fmt: skip
