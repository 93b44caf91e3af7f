"""Rendering speed beside lenstronomy: the same scenes, the same noise-free images, in the same process.

    python -m benchmarks.render [--n 300] [--repeats 5] [--device cpu]

Prints one JSON line a case: images/s (median and best of the repeats) for both, their ratio, and the largest difference of the
images as a fraction of the peak. lenstronomy renders one image at a time and is given fewer of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch

from darklens.simulate import PRESETS, Scene, render
from darklens.train.provenance import commit, machine

CASES = (("model-iii", "no_sub"), ("model-iii", "cdm"), ("model-iii", "axion"), ("model-i", "cdm"))
PEER_IMAGES = 8


def lenstronomy_images(scene: Scene, shape: tuple[int, int], pixel_scale: float, fwhm: float, truncation: float) -> np.ndarray:
    """Render a scene with lenstronomy, one image after the other."""
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    start = -(shape[0] - 1) / 2 * pixel_scale
    grid = PixelGrid(nx=shape[1], ny=shape[0], ra_at_xy_0=start, dec_at_xy_0=start, transform_pix2angle=np.eye(2) * pixel_scale)
    psf = PSF("GAUSSIAN", fwhm=fwhm, pixel_size=pixel_scale, truncation=truncation)
    images = []
    for i in range(len(scene)):
        lens, shear = ({f.name: float(getattr(m, f.name)[i]) for f in fields(m)} for m in scene.macro)
        light = [{f.name: float(getattr(scene.source[0], f.name)[i]) for f in fields(scene.source[0])}]
        points = [torch.as_tensor(getattr(scene.substructure[0], f.name))[i] for f in fields(scene.substructure[0])]
        kept = [
            dict(zip(("theta_E", "center_x", "center_y"), map(float, p), strict=True))
            for p in zip(*points, strict=True)
            if p[0] > 0
        ]
        model = ImageModel(grid, psf, LensModel(["SIE", "SHEAR"] + ["POINT_MASS"] * len(kept)), LightModel(["SERSIC_ELLIPSE"]))
        images.append(model.image([lens, shear, *kept], light))
    return np.stack(images)


def rates(work: Callable[[], object], images: int, repeats: int) -> tuple[float, float]:
    """Return the median and the best number of images/s."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(images / (time.perf_counter() - start))
    return statistics.median(found), max(found)


def measure(preset_name: str, label: str, n: int, repeats: int, device: str) -> dict:
    """Measure one case."""
    preset = PRESETS[preset_name]
    scene = preset.population.draw(n * len(preset.classes), seed=1)
    scene = scene.select(np.flatnonzero(np.array(scene.labels) == label))
    few = scene.select(np.arange(PEER_IMAGES))
    instrument, psf = preset.instrument, preset.instrument.psf
    arguments = (preset.shape, instrument.pixel_scale, psf.fwhm, psf.truncation)
    ours = rates(lambda: render(scene, instrument, preset.shape, device=device), n, repeats)
    theirs = rates(lambda: lenstronomy_images(few, *arguments), PEER_IMAGES, repeats)
    a, b = render(few, instrument, preset.shape, dtype=torch.float64).numpy(), lenstronomy_images(few, *arguments)
    return {
        "benchmark": "render",
        "case": f"{preset_name}/{label}",
        "shape": list(preset.shape),
        "n": n,
        "darklens_images_per_s": {"median": round(ours[0], 1), "best": round(ours[1], 1)},
        "lenstronomy_images_per_s": {"median": round(theirs[0], 1), "best": round(theirs[1], 1)},
        "ratio_of_medians": round(ours[0] / theirs[0], 2),
        "largest_difference": float(np.abs(a - b).max() / b.max()),
        "device": device,
        "threads": torch.get_num_threads(),
        "machine": machine()["processor"],
        "commit": commit(),
    }


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    for preset, label in CASES:
        print(json.dumps(measure(preset, label, arguments.n, arguments.repeats, arguments.device)), flush=True)


if __name__ == "__main__":
    main()
