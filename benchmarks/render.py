"""Rendering speed beside lenstronomy and caustics: the same scenes, in the same process, on one core and then on all.

    python -m benchmarks.render [--n 300] [--repeats 5] [--caustics] [--plot] [--all-cores]

Prints one JSON line a case and peer: images/s (median and best of the repeats) of both, the median of the ratios of neighbouring
repeats, and beside lenstronomy the largest difference of the images as a fraction of the peak. Beside lenstronomy noise is drawn
too (for Model I with the exposure and background of a typical row), beside caustics not. caustics is given the same profiles and
parameters, for its speed alone: up to a constant factor its images differ from ours by 5% of the peak, for reasons not looked into.
Repeats take turns, so that other work on the machine slows all alike. Peers are given fewer images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from darklens.lensing import PointMasses
from darklens.simulate import PRESETS, Instrument, Preset, Scene, render
from darklens.simulate.psf import gaussian_taps
from darklens.train.provenance import commit, machine

CASES = (("model-iii-noisy", "no_sub"), ("model-iii-noisy", "cdm"), ("model-iii-noisy", "axion"), ("model-i", "cdm"))
PEER_IMAGES, CAUSTICS_IMAGES = 8, 32
CAUSTICS_NAMES = {"theta_E": "Rein", "center_x": "x0", "center_y": "y0", "gamma1": "gamma_1", "gamma2": "gamma_2"}
CAUSTICS_NAMES |= {"amp": "Ie", "R_sersic": "Re", "n_sersic": "n"}
Work = Callable[[], object]


def lenstronomy_images(scene: Scene, shape: tuple[int, int], instrument: Instrument, *, noise: bool = False) -> np.ndarray:
    """Render a scene with lenstronomy, one image after the other, if wanted with its Poisson and background noise."""
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util import image_util

    scale, start = instrument.pixel_scale, -(shape[0] - 1) / 2 * instrument.pixel_scale
    grid = PixelGrid(nx=shape[1], ny=shape[0], ra_at_xy_0=start, dec_at_xy_0=start, transform_pix2angle=np.eye(2) * scale)
    psf = PSF("GAUSSIAN", fwhm=instrument.psf.fwhm, pixel_size=scale, truncation=instrument.psf.truncation)
    images = []
    for i in range(len(scene)):
        lens, shear = ({f.name: float(getattr(m, f.name)[i]) for f in fields(m)} for m in scene.macro)
        light = [{f.name: float(getattr(scene.source[0], f.name)[i]) for f in fields(scene.source[0])}]
        columns = [getattr(scene.substructure[0], f.name)[i].tolist() for f in fields(scene.substructure[0])]
        points = [dict(zip(("theta_E", "center_x", "center_y"), p, strict=True)) for p in zip(*columns, strict=True) if p[0] > 0]
        model = ImageModel(grid, psf, LensModel(["SIE", "SHEAR"] + ["POINT_MASS"] * len(points)), LightModel(["SERSIC_ELLIPSE"]))
        image = model.image([lens, shear, *points], light)
        if noise:
            image = image + image_util.add_poisson(image, 1000.0) + image_util.add_background(image, 0.01)
        images.append(image)
    return np.stack(images)


def caustics_simulator(points: int, shape: tuple[int, int], instrument: Instrument) -> torch.nn.Module:
    """Return caustics' simulator of an SIE with shear, point masses and a Sersic source; its one argument holds all parameters."""
    import caustics

    cosmology = caustics.FlatLambdaCDM(name="cosmology")
    cosmology.to_static()
    plane = {"z_l": 0.5, "z_s": 1.0}
    lenses = [caustics.SIE(cosmology, **plane, angle_system="e1_e2", name="lens")]
    lenses.append(caustics.ExternalShear(cosmology, **plane, x0=0.0, y0=0.0, name="shear"))
    lenses += [caustics.Point(cosmology, **plane, name=f"point{k}") for k in range(points)]
    taps = torch.tensor(gaussian_taps(instrument.psf.sigma / instrument.pixel_scale, instrument.psf.margin(instrument.pixel_scale)))
    return caustics.LensSource(
        lens=caustics.SinglePlane(cosmology, lenses=lenses, **plane, name="plane"),
        source=caustics.Sersic(angle_system="e1_e2", use_lenstronomy_k=True, name="source"),
        pixelscale=instrument.pixel_scale,
        pixels_x=shape[1],
        pixels_y=shape[0],
        psf=torch.outer(taps, taps),
        name="simulator",
    )


def caustics_parameters(simulator: torch.nn.Module, scene: Scene) -> torch.Tensor:
    """Return the parameters of a scene in the order that a simulator of caustics wants, `(B, P)`."""
    ours: dict[str, object] = {"lens": scene.macro[0], "shear": scene.macro[1], "source": scene.source[0]}
    columns = []
    for parameter in simulator.dynamic_params:
        node = next(iter(parameter.parents)).name
        name = {theirs: mine for mine, theirs in CAUSTICS_NAMES.items()}.get(parameter.name, parameter.name)
        many = node.startswith("point")
        values = getattr(scene.substructure[0] if many else ours[node], name)
        columns.append(values[:, int(node[5:])] if many else values)
    return torch.stack(columns, 1).float()


def interleaved(works: dict[str, tuple[Work, int]], repeats: int) -> dict[str, list[float]]:
    """Return the images/s of each work in each repeat, the works taking turns; each is done once before, to warm up."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, (work, images) in works.items():
            start = time.perf_counter()
            work()
            if turn:
                found[name].append(images / (time.perf_counter() - start))
    return found


def scene_of(preset: Preset, label: str, n: int) -> Scene:
    """Draw n systems of one class."""
    scene = preset.population.draw(n * len(preset.classes), seed=1)
    return scene.select(np.flatnonzero(np.array(scene.labels) == label))


def measure(preset_name: str, label: str, n: int, repeats: int, *, with_caustics: bool) -> list[dict]:
    """Measure one case: a row a peer."""
    preset = PRESETS[preset_name]
    scene, camera, shape = scene_of(preset, label, n), preset.instrument, preset.shape
    few, points = scene.select(np.arange(PEER_IMAGES)), int(scene.n_perturbers.max())
    works: dict[str, tuple[Work, int]] = {
        "with noise": (lambda: preset.images(scene), n),
        "noise-free": (lambda: render(scene, camera, shape), n),
        "lenstronomy": (lambda: lenstronomy_images(few, shape, camera, noise=True), PEER_IMAGES),
    }
    if with_caustics:
        works |= caustics_works(scene.select(np.arange(min(n, CAUSTICS_IMAGES))), points, shape, camera)
    rates = interleaved(works, repeats)
    case = {"benchmark": "render", "case": f"{preset_name}/{label}", "shape": list(shape), "points": points, "n": n}
    where = {"threads": torch.get_num_threads(), "machine": machine()["processor"], "commit": commit()}
    a, b = render(few, camera, shape, dtype=torch.float64).numpy(), lenstronomy_images(few, shape, camera)
    rows = []
    for peer in list(works)[2:]:
        mine = "with noise" if peer == "lenstronomy" else "noise-free"
        ratios = [x / y for x, y in zip(rates[mine], rates[peer], strict=True)]
        row = case | {"peer": peer, "noise": peer == "lenstronomy", "darklens_images_per_s": summary(rates[mine])}
        row |= {"peer_images_per_s": summary(rates[peer]), "ratio": round(statistics.median(ratios), 2)}
        row |= {"lowest_ratio": round(min(ratios), 2)}
        rows.append(row | ({"largest_difference": float(np.abs(a - b).max() / b.max())} if peer == "lenstronomy" else {}) | where)
    return rows


def caustics_works(scene: Scene, points: int, shape: tuple[int, int], instrument: Instrument) -> dict[str, tuple[Work, int]]:
    """Return caustics' ways: one image after the other, all by `vmap`, and that compiled."""
    simulator = caustics_simulator(points, shape, instrument)
    parameters = caustics_parameters(simulator, scene)
    batched = torch.vmap(simulator)
    compiled = torch.compile(batched)
    return {
        "caustics eager": (lambda: [simulator(p) for p in parameters[:PEER_IMAGES]], PEER_IMAGES),
        "caustics vmap": (lambda: batched(parameters), len(scene)),
        "caustics compiled": (lambda: compiled(parameters), len(scene)),
    }


def summary(rates: list[float]) -> dict[str, float]:
    """Return median, best and worst of rates."""
    return {"median": round(statistics.median(rates), 1), "best": round(max(rates), 1), "worst": round(min(rates), 1)}


def with_points(scene: Scene, number: int) -> Scene:
    """Return the scene with other point masses: so many each, of 0.01 arcsec."""
    from dataclasses import replace

    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.uniform(-2, 2, (len(scene), number))) for _ in range(2))
    return replace(scene, substructure=(PointMasses(torch.full_like(x, 0.01), x, y),))


def plot(path: Path, repeats: int) -> None:
    """Plot the cost of an image against the number of point masses, the image's side and the batch."""
    from matplotlib.figure import Figure

    preset = PRESETS["model-iii-noisy"]
    base = scene_of(preset, "no_sub", 128)

    def cost(number: int = 25, side: int = 64, batch: int = 128) -> float:
        scene = with_points(base.select(np.arange(batch)), number)
        rates = interleaved({"": (lambda: render(scene, preset.instrument, (side, side)), batch)}, repeats)[""]
        return 1e6 / max(rates)

    figure = Figure(figsize=(10, 3), layout="constrained")
    panels = (("point masses", "number", (0, 10, 25, 50, 100, 200, 400)), ("side in pixels", "side", (16, 32, 64, 128, 256)))
    for axis, (label, name, values) in zip(
        figure.subplots(1, 3), (*panels, ("images in a batch", "batch", (1, 4, 16, 64, 128))), strict=True
    ):
        axis.plot(values, [cost(**{name: v}) for v in values], "o-")
        axis.set(xlabel=label, ylabel="microseconds an image")
        if name != "number":
            axis.loglog(base=2)
            axis.set_xticks(values, [str(v) for v in values])
    figure.suptitle(f"render, 64 x 64 pixels, 25 point masses, batch 128 unless said; {torch.get_num_threads()} thread(s)")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print one line a case and peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--caustics", action="store_true", help="measure caustics too; compiling it takes minutes")
    parser.add_argument("--plot", action="store_true", help="write render.png beside this file instead")
    parser.add_argument("--all-cores", action="store_true", help="do not stay on one core")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="caustics")
    if not arguments.all_cores and hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # inherited by the process that takes this one's place
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.render", *sys.argv[1:]])
    if not arguments.all_cores:
        torch.set_num_threads(1)
    if arguments.plot:
        plot(Path(__file__).with_name("render.png"), arguments.repeats)
        return
    for preset, label in CASES:
        for row in measure(preset, label, arguments.n, arguments.repeats, with_caustics=arguments.caustics):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
