"""The bench as a file: FITS, PNG, a COOLEST template, a Python script that makes the same image."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from darklens.serve.bench.cameras import Camera
from darklens.serve.bench.parameters import Bench
from darklens.serve.bench.views import image_of
from darklens.simulate import render


def kept(bench: Bench, format: str) -> bytes:
    """Return the bench as a file.

    Args:
        bench: the numbers.
        format: key of `FORMATS`.

    Raises:
        InputError: no such instrument.
    """
    return _WRITERS[format](bench)


def _fits(bench: Bench) -> bytes:
    """Return image, flux without noise, and flux of the lens without substructure."""
    from astropy.io import fits

    scene, eye, flux, image = image_of(bench)
    smooth = render(scene.smooth(), eye.instrument, flux.shape).numpy()[0]
    primary = fits.PrimaryHDU(image)
    header = primary.header
    header["PIXSCALE"] = eye.instrument.pixel_scale, "arcsec"
    header["INSTRUME"] = eye.name
    header["BUNIT"] = eye.recording.unit
    header["ORIGIN"] = "darklens laboratory"
    for name, value in bench.model_dump().items():
        header[f"HIERARCH BENCH {name}"] = value
    units = fits.Header({"BUNIT": "e-/s", "PIXSCALE": eye.instrument.pixel_scale})
    content = io.BytesIO()
    more = [fits.ImageHDU(flux, units, name="FLUX"), fits.ImageHDU(smooth, units, name="SMOOTH")]
    fits.HDUList([primary, *more]).writeto(content)
    return content.getvalue()


def _png(bench: Bench) -> bytes:
    """Return the image, asinh-stretched, north up, four screen pixels a pixel."""
    from matplotlib.image import imsave

    _, eye, flux, image = image_of(bench)
    scale = max(float(eye.sigma(flux).min()), 0.02 * float(image.max()))
    large = np.kron(np.arcsinh((image - np.median(image)) / scale), np.ones((4, 4)))
    content = io.BytesIO()
    imsave(content, large, cmap="inferno", origin="lower", format="png")
    return content.getvalue()


def _coolest(bench: Bench) -> bytes:
    """Return the COOLEST template; that of the smooth lens, for COOLEST has no such substructure."""
    scene, eye, flux, _ = image_of(bench)
    with tempfile.TemporaryDirectory() as folder:
        smooth = scene.smooth() if scene.substructure else scene
        path = smooth.to_coolest(Path(folder) / "lens.json", instrument=eye.instrument, shape=flux.shape)
        content = json.loads(path.read_text())
    content["meta"]["bench"] = bench.model_dump()
    if scene.substructure:
        content["meta"]["left_out"] = f"substructure ({bench.substructure}): COOLEST has no such profile"
    return json.dumps(content, indent=1).encode()


def _python(bench: Bench) -> bytes:
    """Return a script that makes the image and keeps it as image.npy."""
    scene, eye, flux, _ = image_of(bench)
    side = len(flux)
    recorded = "recording.record(flux, camera, scene.seed, scene.rows)[0]" if bench.noise else "flux"
    profiles = sorted({type(p).__name__ for p in (*scene.macro, *scene.substructure, *scene.source)})
    lines = [
        '"""A gravitational lens, as it stood in the darklens laboratory."""',
        "",
        *(["from dataclasses import replace", ""] if bench.exposures != 1 else []),
        "import numpy as np",
        "import torch",
        "",
        f"from darklens.lensing import {', '.join(profiles)}",
        f"from darklens.simulate import Scene, {'preset' if eye.size else 'instrument'}, render",
        *([] if eye.size or not bench.noise else ["from darklens.simulate.noise import Exposure"]),
        "",
        "",
        "def column(*values):",
        '    """A batch of one system."""',
        "    return torch.tensor(values, dtype=torch.float64)",
        "",
        "",
        "scene = Scene(",
        *_group("macro", scene.macro),
        *_group("substructure", scene.substructure),
        *_group("source", scene.source),
        f'    labels=("{bench.substructure}",),',
        f"    truth={{}},\n    seed={scene.seed},\n    rows=(0,),",
        f"    z_lens={scene.z_lens},\n    z_source={scene.z_source},",
        ")",
        *_camera(bench, eye),
        f"flux = render(scene, camera, ({side}, {side})).numpy()",
        f"image = {recorded}[0]  # {eye.recording.unit}",
        'np.save("image.npy", image.astype(np.float32))',
        'print(f"wrote image.npy: {image.shape[0]}x{image.shape[1]} pixels, peak {image.max():.4g}")',
    ]
    return ("\n".join(lines) + "\n").encode()


def _camera(bench: Bench, eye: Camera) -> Iterator[str]:
    if eye.size:
        yield f'seen_as = preset("{eye.name.removeprefix("as-")}")'
        yield "camera, recording = seen_as.instrument, seen_as.recording"
    else:
        yield f'camera = instrument("{eye.name}")'
        if bench.noise:
            yield "recording = Exposure()"
    if bench.exposures != 1:
        yield f"camera = replace(camera, exposure_time=camera.exposure_time * {bench.exposures!r})"


def _group(name: str, profiles: tuple) -> Iterator[str]:
    if not profiles:
        yield f"    {name}=(),"
        return
    yield f"    {name}=("
    for profile in profiles:
        yield f"        {type(profile).__name__}("
        for f in fields(profile):
            yield f"            {f.name}={_values(getattr(profile, f.name))},"
        yield "        ),"
    yield "    ),"


def _values(parameter: torch.Tensor) -> str:
    """Return a parameter of one system, exactly: `(1,)` for one mass, `(1, N)` for many."""
    if parameter.ndim == 1:
        return f"column({float(parameter[0])!r})"
    rows = [repr(float(v)) for v in parameter[0]]
    blocks = [", ".join(rows[i : i + 5]) for i in range(0, len(rows), 5)]
    inner = (",\n" + " " * 16).join(blocks)
    return f"column(\n                [{inner}]\n            )" if len(blocks) > 1 else f"column([{inner}])"


FORMATS = {
    "fits": ("application/fits", ".fits"),
    "png": ("image/png", ".png"),
    "coolest": ("application/json", ".json"),
    "python": ("text/x-python", ".py"),
}
"""Format -> media type and suffix."""

_WRITERS: dict[str, Callable[[Bench], bytes]] = {"fits": _fits, "png": _png, "coolest": _coolest, "python": _python}
