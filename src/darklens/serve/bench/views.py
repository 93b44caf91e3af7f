"""What the laboratory shows of a scene.

The image and the difference that substructure makes come from the renderer and are quick. Convergence, critical curves and
caustics come from one look at the deflection on the corners of a grid: its differences across a cell are the cell's mean
derivatives, finite for point masses too (Gauss's theorem).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from darklens.lensing import Mass, TNFWHalos
from darklens.serve.bench.cameras import Camera, camera
from darklens.serve.bench.parameters import Bench
from darklens.serve.bench.scenes import scene_of
from darklens.simulate import Scene, render

CELLS = 96
"""Cells a side of the grid for convergence and curves."""
SOURCE_SIDE, SOURCE_SHARE = 96, 0.3
"""Pixels a side of the picture of the source plane, and its size as a share of the image's."""
CAP = 10.0
"""The determinant is held within +-CAP, as in `darklens.lensing.critical`."""
VERTICES = 8
"""The fewest vertices of a curve that the grid resolves."""
RADII = 384
"""Radii at which a halo's deflection is tabulated."""


@dataclass(frozen=True)
class View:
    """What is shown of a scene.

    Args:
        arrays: name -> float32 array, `(H, W)` for maps and `(K, 2)` in arcsec for curves.
        numbers: name -> number, for people.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)


def image_of(bench: Bench, seen_by: Camera | None = None, size: int | None = None) -> tuple[Scene, Camera, np.ndarray, np.ndarray]:
    """Render and record the bench.

    Args:
        bench: the numbers.
        seen_by: another camera than the bench's.
        size: another number of pixels a side.

    Returns:
        The scene, the camera, the flux `(H, W)` without noise and the image that is recorded of it.

    Raises:
        InputError: no such instrument.
    """
    eye = (seen_by or camera(bench.instrument)).exposed(bench.exposures if seen_by is None else 1.0)
    side = size or eye.size or bench.size
    scene = scene_of(bench, eye)
    flux = render(scene, eye.instrument, (side, side)).numpy()
    seen = flux if not bench.noise else eye.recording.record(flux, eye.instrument, bench.noise_seed, [0])[0]
    return scene, eye, flux[0], np.asarray(seen[0], np.float32)


def view_of(bench: Bench) -> tuple[View, Scene, Camera]:
    """Return image, difference and source plane, and what they were made of.

    Raises:
        InputError: no such instrument.
    """
    scene, eye, flux, image = image_of(bench)
    smooth = render(scene.smooth(), eye.instrument, flux.shape).numpy()[0] if scene.substructure else flux
    sigma = eye.sigma(smooth)
    difference = (flux - smooth) / sigma
    half = 0.5 * len(flux) * eye.instrument.pixel_scale
    numbers = {
        "pixel_scale": eye.instrument.pixel_scale,
        "half_width": half,
        "source_half_width": SOURCE_SHARE * half,
        "peak": float(flux.max()),
        "signal_to_noise": float(np.sqrt(((smooth / sigma) ** 2).sum())),
        "significance": float(np.sqrt((difference**2).sum())),
        "subhalos": float(scene.n_perturbers[0]),
    }
    arrays = {"image": image, "difference": difference, "source": _source(scene, SOURCE_SHARE * half)}
    return View({name: array.astype(np.float32) for name, array in arrays.items()}, numbers), scene, eye


def _source(scene: Scene, half: float) -> np.ndarray:
    """Return the source's brightness on its own plane, 1 at its peak."""
    axis = torch.linspace(-half, half, SOURCE_SIDE, dtype=torch.float64)
    light = scene.source[0].intensity(axis[None, :], axis[:, None])[0].numpy()
    return light / max(float(light.max()), 1e-30)


def curves_of(scene: Scene, half: float) -> View:
    """Return the convergence, that of the substructure alone, critical curves and caustics, of one system.

    Args:
        scene: one system.
        half: half the side of the field, arcsec.
    """
    from contourpy import contour_generator

    edge = torch.linspace(-half, half, CELLS + 1, dtype=torch.float64)
    x, y = edge[None, :], edge[:, None]
    macro = _deflection(scene.macro, x, y)
    clumps = _of_substructure(scene.substructure, x, y)
    step = 2 * half / CELLS
    (xx, xy, yx, yy), (cxx, _, _, cyy) = (_gradients(alpha, step) for alpha in (macro + clumps, clumps))
    determinant = np.clip((1 - xx) * (1 - yy) - xy * yx, -CAP, CAP)
    middle = 0.5 * (edge[1:] + edge[:-1]).numpy()
    lines = cast(list[np.ndarray], contour_generator(middle, middle, determinant).lines(0.0))  # as they are by default
    curves = [c for c in lines if len(c) >= VERTICES and _confirmed(scene, c, 0.05 * step)]
    arrays = {"kappa": 0.5 * (xx + yy), "kappa_substructure": 0.5 * (cxx + cyy)}
    for i, curve in enumerate(curves):
        arrays[f"critical/{i}"] = curve
        arrays[f"caustic/{i}"] = np.stack(_traced(scene, curve), 1)
    return View({name: array.astype(np.float32) for name, array in arrays.items()}, {"curves": float(len(curves))})


def _deflection(masses: tuple[Mass, ...], x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return the deflection of smooth masses `(2, H, W)`."""
    total = np.zeros((2, *torch.broadcast_shapes(x.shape, y.shape)))
    for mass in masses:
        total += np.stack([alpha.broadcast_to(1, *total.shape[1:])[0].numpy() for alpha in mass.deflection(x, y)])
    return total


def _of_substructure(masses: tuple[Mass, ...], x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return the deflection of substructure `(2, H, W)`; that of haloes from a table of radii, each."""
    halos = [m for m in masses if isinstance(m, TNFWHalos)]
    total = _deflection(tuple(m for m in masses if not isinstance(m, TNFWHalos)), x, y)
    for many in halos:
        total += _of_halos(many, x.numpy(), y.numpy())
    return total


def _of_halos(many: TNFWHalos, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    alpha_Rs, Rs, r_trunc = (getattr(many, name)[0, :, None] for name in ("alpha_Rs", "Rs", "r_trunc"))
    farthest = 1.5 * float(np.hypot(np.abs(x).max(), np.abs(y).max())) + float(
        many.center_x.abs().max() + many.center_y.abs().max()
    )
    radii = np.concatenate([[0.0], np.geomspace(1e-4, farthest, RADII)])
    centre, axis = torch.zeros_like(alpha_Rs), torch.zeros(1, 1, dtype=torch.float64)
    table = TNFWHalos(alpha_Rs, Rs, r_trunc, centre, centre).deflection(torch.from_numpy(radii)[None, :], axis)
    total = np.zeros((2, *np.broadcast_shapes(x.shape, y.shape)))
    for alpha, px, py in zip(table[0][:, 0].numpy(), many.center_x[0].tolist(), many.center_y[0].tolist(), strict=True):
        dx, dy = x - px, y - py
        r = np.hypot(dx, dy)
        scale = np.interp(r, radii, alpha) / np.maximum(r, 1e-8)
        total += np.stack([scale * dx, scale * dy])
    return total


def _gradients(alpha: np.ndarray, step: float) -> tuple[np.ndarray, ...]:
    """Return the mean derivatives over each cell `(xx, xy, yx, yy)` of a field on the corners, `(2, H, W)`."""
    alpha_x, alpha_y = alpha

    def across(field: np.ndarray) -> np.ndarray:
        return 0.5 * (field[1:] + field[:-1])[:, 1:] / step - 0.5 * (field[1:] + field[:-1])[:, :-1] / step

    def up(field: np.ndarray) -> np.ndarray:
        return 0.5 * (field[1:, 1:] + field[1:, :-1] - field[:-1, 1:] - field[:-1, :-1]) / step

    return across(alpha_x), up(alpha_x), across(alpha_y), up(alpha_y)


def _confirmed(scene: Scene, curve: np.ndarray, h: float) -> bool:
    """Tell whether a curve is critical: differences across a singular centre make one of their own, which finer ones deny."""
    (xx, yx), (xy, yy) = (
        [(ahead - behind) / (2 * h) for ahead, behind in zip(_traced(scene, curve + d), _traced(scene, curve - d), strict=True)]
        for d in (np.array([h, 0.0]), np.array([0.0, h]))
    )
    return bool(np.median(np.abs(xx * yy - xy * yx)) < 0.2)


def _traced(scene: Scene, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a curve on the source plane."""
    x, y = torch.from_numpy(curve[None, :, 0]), torch.from_numpy(curve[None, :, 1])
    alpha = _deflection(scene.macro, x, y) + _of_substructure(scene.substructure, x, y)
    return curve[:, 0] - alpha[0, 0], curve[:, 1] - alpha[1, 0]
