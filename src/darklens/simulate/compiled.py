"""The fast path of `render`: scenes of the common kinds, on a CPU, by one C++ kernel; the rest is rendered by PyTorch.

Kinds: one SIS, SIE or EPL with or without shear, point masses and truncated haloes, Sersic sources and lens light, a Gaussian PSF,
light at pixel centres.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from darklens import native
from darklens.lensing import EPL, SIE, SIS, CoredTNFWHalos, Light, Mass, PointMasses, Sersic, SersicEllipse, Shear, TNFWHalos
from darklens.simulate.instruments import Instrument
from darklens.simulate.psf import GaussianPSF, gaussian_taps
from darklens.simulate.scene import Scene, strength

Many: TypeAlias = PointMasses | TNFWHalos | CoredTNFWHalos
SOURCE = Path(__file__).with_name("render.cpp")
MACRO = ("theta_E", "gamma", "e1", "e2", "center_x", "center_y", "gamma1", "gamma2")
SERSIC = ("amp", "R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")
HALO = 9
"""Numbers that the kernel takes of a halo: centre, 1/Rs, factor, and the constants of `lensing/tnfw_halos.py`."""
_NO_HALO = {TNFWHalos: (1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0), CoredTNFWHalos: (1.0, 0.0, 0.1, 1.0, 1.0, 1.0, 0.0)}
JOBS_PER_THREAD = 4
"""Pieces a batch is cut into for each thread, so that none waits long for the others."""


def render_compiled(scene: Scene, instrument: Instrument, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
    """Return flux `(B, H, W)`, or None where PyTorch has to do it: another kind of scene, or no compiler."""
    if not _supported(scene, instrument) or dtype not in (torch.float32, torch.float64):
        return None
    library = native.library(SOURCE)
    if library is None:
        return None
    function = library.render_float if dtype == torch.float32 else library.render_double
    function.restype = None
    return torch.from_numpy(_call(function, scene, instrument, shape, np.float32 if dtype == torch.float32 else np.float64))


def _supported(scene: Scene, instrument: Instrument) -> bool:
    lenses = [m for m in scene.macro if type(m) in (SIS, SIE, EPL)]
    shears = [m for m in scene.macro if type(m) is Shear]
    return (
        len(lenses) == 1
        and len(shears) <= 1
        and len(lenses) + len(shears) == len(scene.macro)
        and all(type(m) in (PointMasses, TNFWHalos, CoredTNFWHalos) for m in scene.substructure)
        and all(type(light) in (Sersic, SersicEllipse) for light in (*scene.source, *scene.lens_light))
        and not any(mass for _, mass in scene.planes)
        and not scene.point_source
        and type(instrument.psf) is GaussianPSF
    )


def _call(
    function: Callable[..., None], scene: Scene, instrument: Instrument, shape: tuple[int, int], dtype: type[np.floating]
) -> np.ndarray:
    count, real = len(scene), ctypes.c_float if dtype is np.float32 else ctypes.c_double
    macro = _columns(scene.macro, MACRO, count, dtype, gamma=2.0)
    many = [_many(scene, kind, count, dtype) for kind in (PointMasses, TNFWHalos, CoredTNFWHalos)]
    sources, lights = (_lights(group, count, dtype) for group in (scene.source, scene.lens_light))
    psf, scale = instrument.psf, instrument.pixel_scale
    assert isinstance(psf, GaussianPSF), "_supported() lets no other pass"
    radius = psf.margin(scale)
    taps = np.array(gaussian_taps(psf.sigma / scale, radius), dtype)
    out: np.ndarray = np.empty((count, *shape), dtype)

    def address(array: np.ndarray, first: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data + first * array.strides[0])

    def work(first: int, last: int) -> None:
        function(
            ctypes.c_int(last - first), ctypes.c_int(shape[0]), ctypes.c_int(shape[1]), real(scale),
            address(macro, first), *(v for m, n in many for v in (address(m, first), address(n, first), ctypes.c_int(m.shape[1]))),
            address(sources, first), ctypes.c_int(sources.shape[1]), address(lights, first), ctypes.c_int(lights.shape[1]),
            address(taps), ctypes.c_int(radius), address(out, first),
        )  # fmt: skip

    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        work(0, count)
        return out
    cuts = np.linspace(0, count, min(count, JOBS_PER_THREAD * workers) + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:  # ctypes lets go of the interpreter's lock
        list(pool.map(work, cuts[:-1], cuts[1:]))
    return out


def _columns(profiles: tuple[Mass | Light, ...], names: tuple[str, ...], count: int, dtype: type, **defaults: float) -> np.ndarray:
    """Return the parameters `(B, len(names))` of profiles that together have each of them once."""
    out: np.ndarray = np.zeros((count, len(names)), dtype)
    for name, value in defaults.items():
        out[:, names.index(name)] = value
    for profile in profiles:
        for f in fields(profile):
            value = getattr(profile, f.name)
            out[:, names.index(f.name)] = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return out


def _lights(group: tuple[Light, ...], count: int, dtype: type) -> np.ndarray:
    if not group:
        return np.zeros((count, 0, len(SERSIC)), dtype)
    return np.ascontiguousarray(np.stack([_columns((light,), SERSIC, count, dtype) for light in group], axis=1))


def _many(scene: Scene, kind: type[Many], count: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kernel takes of the masses of one kind, `(B, N, 3 or 9)`, and up to where there are any, `(B,)`."""
    members = [m for m in scene.substructure if isinstance(m, kind)]
    parts = [np.stack([c.detach().double().cpu().numpy() for c in _constants(m)], -1) for m in members]
    width = 3 if kind is PointMasses else HALO
    values = np.zeros((count, sum(p.shape[1] for p in parts), width))
    first = 0
    for part, member in zip(parts, members, strict=True):
        there = strength(member).detach().cpu().numpy() != 0
        values[:, first : first + part.shape[1], : part.shape[2]] = np.where(there[..., None], part, 0)
        first += part.shape[1]
    there = (values != 0).any(-1)
    last = np.where(there.any(1), values.shape[1] - there[:, ::-1].argmax(1), 0) if values.shape[1] else np.zeros(count)
    if kind is not PointMasses:  # gaps between profiles of the same kind: a halo without a size cannot be computed
        values[~there, 2:] = _NO_HALO[kind]
    return np.ascontiguousarray(values, dtype), last.astype(np.int32)


def _constants(profile: Many) -> tuple[Tensor, ...]:
    if isinstance(profile, PointMasses):
        return profile.theta_E.square(), profile.center_x, profile.center_y
    return profile.center_x, profile.center_y, 1 / profile.Rs, *profile._constants()
