"""The command that draws what a preset simulates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darklens.cli.application import app

if TYPE_CHECKING:
    import numpy as np
    import torch

    from darklens.evaluate.gallery import Pair, System
    from darklens.simulate import PairPreset, Preset, Scene

EDGE_SAMPLES = 4
"""Samples of the deflection along each edge of a pixel."""

SMOOTHING = 1.0
"""Standard deviation in pixels of the convergence map's smoothing: a point mass would fill a single pixel."""

CURVE_GRID, VERTICES = 300, 20
"""Points a side of the grid that critical curves are sought on, and the fewest vertices of one that it resolves."""

MOST = 12
"""Systems of each class at most."""


@app.command()
def show(
    preset: Annotated[str, typer.Argument(help="Preset; darklens list names them.")],
    out: Annotated[Path | None, typer.Option(help="PNG file; by default PRESET.png.")] = None,
    seed: Annotated[int, typer.Option(help="Every system is a function of (seed, row).")] = 0,
    n: Annotated[int, typer.Option("--n", help="Systems of each class.")] = 1,
    instrument: Annotated[str | None, typer.Option(help="See them through another instrument, or several: a,b,c.")] = None,
) -> None:
    """Draw a gallery: images, critical curves and caustics, the substructure's convergence, and what it changes.

    Of pairs for super-resolution: what the blunt and the sharp camera record, and what the sharp one would record without noise.
    """
    from darklens import console
    from darklens.errors import InputError, unknown
    from darklens.evaluate.gallery import save_pair_gallery, save_system_gallery
    from darklens.simulate import PAIRS, PRESETS
    from darklens.simulate import instrument as find_instrument

    if preset not in PRESETS and preset not in PAIRS:
        raise unknown("preset", preset, (*PRESETS, *PAIRS))
    if not 1 <= n <= MOST:
        raise InputError(f"--n {n} systems of each class is outside 1 to {MOST}: choose a number in between")
    path = out or Path(f"{preset}.png")
    if path.suffix.lower() != ".png":
        raise InputError(f"--out {path} is no .png file: pictures are written as PNG")
    if preset in PAIRS:
        if instrument is not None:
            raise InputError(f"--instrument {instrument}: the pairs of {preset} have two cameras of their own; leave it out")
        save_pair_gallery(path, pairs_of(PAIRS[preset], n, seed), f"{preset}: {PAIRS[preset].summary}")
    else:
        chosen = PRESETS[preset]
        if instrument is not None:
            chosen = chosen.observed_in([find_instrument(name.strip()) for name in instrument.split(",")])
        save_system_gallery(path, systems_of(chosen, n, seed), _title(chosen))
    console.say(f"wrote {path}")


def pairs_of(preset: PairPreset, n: int, seed: int) -> list[Pair]:
    """Simulate n pairs of each class, class by class."""
    import numpy as np

    from darklens.evaluate.gallery import Pair

    classes = len(preset.population.classes)
    scene = preset.draw(n * classes, seed)
    scene = scene.select(np.argsort(np.arange(n * classes) % classes, kind="stable"))
    low, high, truth = (preset.images(scene, side)[:, 0] for side in ("LR", "HR", "TRUTH"))
    scales = preset.low.pixel_scale, preset.high.pixel_scale
    return [Pair(label, low[i], high[i], truth[i], scales, "e-/s") for i, label in enumerate(scene.labels)]


def _title(preset: Preset) -> str:
    seen = f" (as seen by {', '.join(i.name for i in preset.instruments)})" if "Seen by" in preset.notes else ""
    return f"{preset.name}: {preset.summary}{seen}"


def systems_of(preset: Preset, n: int, seed: int) -> list[System]:
    """Simulate n systems of each class, with all that a gallery shows of them, class by class."""
    import numpy as np

    from darklens.evaluate.gallery import System
    from darklens.evaluate.label_sheet import pictures
    from darklens.simulate import render
    from darklens.simulate.disturbance import noise_of

    classes = len(preset.classes)
    scene = preset.population.draw(n * classes, seed)
    scene = scene.select(np.argsort(np.arange(n * classes) % classes, kind="stable"))
    images, truth = preset.images(scene)
    flux, smooth = (render(s, preset.instrument, preset.shape).double().numpy() for s in (scene, scene.smooth()))
    sigma, unit = noise_of(preset, smooth, truth)
    difference = np.divide(flux - smooth, sigma, out=np.zeros_like(flux), where=np.broadcast_to(sigma, flux.shape) > 0)
    kappa = substructure_convergence(scene, preset.shape, preset.instrument.pixel_scale)
    calibration, many = _white_balance(preset), images.shape[1] >= 3
    coloured = pictures(images) if many and not preset.bands else [None] * len(images)  # a survey's bands have no common unit
    half = 0.5 * max(preset.shape) * preset.instrument.pixel_scale
    systems = []
    for i, label in enumerate(scene.labels):
        critical, caustics = _curves(scene.system(i), half)
        light: Any = scene.system(i).source[0]  # the first source of a preset has a centre, which not every light has
        systems.append(
            System(
                label=label,
                image=images[i] * calibration if many else images[i, 0],
                unit=preset.recording.unit,
                pixel_scale=preset.instrument.pixel_scale,
                critical=critical,
                caustics=caustics,
                source=(float(light.center_x), float(light.center_y)),
                kappa=kappa[i],
                difference=difference[i],
                difference_unit=unit,
                note=_note(scene, i),
                picture=coloured[i],
            )
        )
    return systems


def _white_balance(preset: Preset) -> np.ndarray:
    """Return factors for the bands `(bands, 1, 1)` by which what is halfway between source and lens in colour becomes white."""
    import numpy as np

    factors = [
        band.instrument.nanomaggies * 10 ** (0.2 * (band.source_colour + band.lens_colour))  # half the sum, times 0.4
        for band in preset.bands
    ]
    return np.array(factors or [1.0])[:, None, None]


def _curves(system: Scene, half_width: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return critical curves and caustics of one system, through all its planes; around light masses only what the grid resolves.

    The Jacobian is taken by differences: a picture needs no more, and many masses are passed through once only.
    """
    import numpy as np
    import torch
    from contourpy import contour_generator

    axis = torch.linspace(-half_width, half_width, CURVE_GRID, dtype=torch.float64) + 1e-5 * half_width
    step = float(axis[1] - axis[0])
    determinant = np.clip(_determinant(system, axis[None, :], axis[:, None], 0.5 * step), -10.0, 10.0)
    curves = [torch.from_numpy(c) for c in contour_generator(axis.numpy(), axis.numpy(), determinant).lines(0.0)]
    # differences across a singular centre make a curve of their own, which finer ones do not confirm
    ends = [c.split(1, 1) for c in curves if len(c) >= VERTICES and _confirmed(system, c, 1e-3 * step)]
    return [torch.cat(xy, 1).numpy() for xy in ends], [torch.cat(system.trace(*xy), 1).numpy() for xy in ends]


def _determinant(system: Scene, x: torch.Tensor, y: torch.Tensor, h: float) -> np.ndarray:
    """Return the determinant of d(beta)/d(theta) by central differences of half-width h."""
    (xx, yx), (xy, yy) = (
        [(plus - minus) / (2 * h) for plus, minus in zip(system.trace(*ahead), system.trace(*behind), strict=True)]
        for ahead, behind in (((x + h, y), (x - h, y)), ((x, y + h), (x, y - h)))
    )
    return (xx * yy - xy * yx).numpy()


def _confirmed(system: Scene, curve: torch.Tensor, h: float) -> bool:
    import numpy as np

    x, y = curve.split(1, 1)
    return bool(np.median(np.abs(_determinant(system, x, y, h))) < 0.2)


def _note(scene: Scene, i: int) -> str:
    """Say what substructure a system has, in few words."""
    value = {k: float(v[i]) for k, v in scene.truth.items()}
    words = []
    if value.get("n_sub", 0) > 0:
        words.append(f"{value['n_sub']:.0f} subhalo{'s' if value['n_sub'] > 1 else ''}")
    if value.get("m_sub", 0) > 0:
        words.append(f"{value['m_sub']:.1e} $M_\\odot$")
    if value.get("vortex_half_length", 0) > 0:
        words.append(f'vortex, half-length {value["vortex_half_length"]:.2g}"')
    return f"  ({', '.join(words)})" if words else ""


def substructure_convergence(scene: Scene, shape: tuple[int, int], pixel_scale: float) -> np.ndarray:
    """Return the mean convergence that substructure and line of sight add to each pixel, `(B, H, W)`, smoothed.

    By Gauss's theorem the mean of `kappa = div(alpha) / 2` over a pixel is half the flux of the deflection through its edges,
    over its area: finite for point masses too. Over several planes it is the convergence of the effective deflection.
    """
    import numpy as np
    import torch
    from scipy.ndimage import gaussian_filter

    def lines(n: int, samples: int) -> torch.Tensor:
        inside = (
            (torch.arange(samples, dtype=torch.float64) + 0.5) / samples if samples > 1 else torch.zeros(1, dtype=torch.float64)
        )
        cells = torch.arange(n + (samples == 1), dtype=torch.float64)
        return ((cells[:, None] + inside).flatten() - n / 2) * pixel_scale

    def through(axis: int, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        lensed, smooth = (s.trace(x, y)[axis] for s in (scene, scene.smooth()))
        return (smooth - lensed).numpy()

    height, width = shape
    if not scene.n_perturbers.any():
        return np.zeros((len(scene), *shape))
    right = through(0, lines(width, 1)[None, :], lines(height, EDGE_SAMPLES)[:, None])
    up = through(1, lines(width, EDGE_SAMPLES)[None, :], lines(height, 1)[:, None])
    outward = np.diff(right.reshape(len(scene), height, EDGE_SAMPLES, width + 1).mean(2), axis=2)
    outward += np.diff(up.reshape(len(scene), height + 1, width, EDGE_SAMPLES).mean(3), axis=1)
    return gaussian_filter(0.5 * outward / pixel_scale, (0, SMOOTHING, SMOOTHING))
