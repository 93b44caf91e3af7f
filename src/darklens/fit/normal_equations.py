"""Image, Jacobian and normal equations of smooth lenses: a C++ kernel on the CPU, PyTorch everywhere else.

Both give the same numbers; PyTorch is the reference, takes any PSF, and runs on any device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from darklens import native
from darklens.fit.lens_model import PARAMETERS, LensModel, brightness, profiles
from darklens.lensing import trace
from darklens.simulate import GaussianPSF, pixel_grid
from darklens.simulate.psf import PSF, gaussian_taps

SOURCE = Path(__file__).with_name("normal_equations.cpp")
REFERENCE_PIXELS = 1 << 20
"""Pixels that the PyTorch path treats at once."""


@dataclass(frozen=True)
class Images:
    """What is fitted, in float32 or float64.

    Args:
        data: `(N, H, W)` flux a pixel.
        v0: `(N, H, W)` variance of a pixel without light from lens or source; not positive where a pixel is masked.
        v1: `(N,)` variance that a unit of flux adds: `variance = v0 + v1 flux`.
        pixel_scale: arcsec.
        psf: point spread function.
    """

    data: np.ndarray
    v0: np.ndarray
    v1: np.ndarray
    pixel_scale: float
    psf: PSF


def weighed(
    images: np.ndarray, v0: np.ndarray, v1: np.ndarray, good: np.ndarray, rows: slice, pixel_scale: float, psf: PSF
) -> Images:
    """Return some of the images in float32, pixels that do not count masked; arguments as in `Images`."""
    return Images(
        np.where(good[rows], images[rows], 0).astype(np.float32),
        np.where(good[rows], v0[rows], -1).astype(np.float32),
        v1[rows].astype(np.float32),
        pixel_scale,
        psf,
    )


@dataclass(frozen=True)
class Normal:
    """Normal equations of a weighted least-squares problem, one set a job.

    Args:
        cost_in: `(J,)` squared residuals with the weights that were handed in.
        cost: `(J,)` the same with the weights of this model: chi^2.
        A: `(J, P, P)` Jacobian^T W Jacobian.
        g: `(J, P)` Jacobian^T W residual.
        weights: `(J, H, W)` 1/variance of this model.
        model: `(J, H, W)`, if asked for.
        jacobian: `(J, P, H, W)`, if asked for.
    """

    cost_in: np.ndarray
    cost: np.ndarray
    A: np.ndarray
    g: np.ndarray
    weights: np.ndarray
    model: np.ndarray | None = None
    jacobian: np.ndarray | None = None


def normal_equations(
    images: Images,
    model: LensModel,
    which: np.ndarray,
    parameters: np.ndarray,
    weights_in: np.ndarray | None = None,
    *,
    full: bool = False,
    device: str = "cpu",
) -> Normal:
    """Evaluate jobs: `parameters[j]` on image `which[j]`.

    Args:
        images: the images.
        model: says which parameters are free.
        which: `(J,)` image of each job.
        parameters: `(J, len(PARAMETERS))` float64.
        weights_in: `(J, H, W)` for `cost_in`; None leaves it zero.
        full: return the model image and the Jacobian as well.
        device: where PyTorch computes; the kernel serves the CPU.
    """
    function = None
    if device == "cpu" and isinstance(images.psf, GaussianPSF):
        function = _kernel(images.data.dtype)
    if function is None:
        return _reference(images, model, which, parameters, weights_in, full, device)
    return _native(function, images, model, which, parameters, weights_in, full)


def _kernel(dtype: np.dtype) -> Callable[..., None] | None:
    library = native.library(SOURCE)
    if library is None:
        return None
    function = library.normal_equations_float if dtype == np.float32 else library.normal_equations_double
    function.restype = None
    return function


def _native(
    function: Callable[..., None],
    images: Images,
    model: LensModel,
    which: np.ndarray,
    parameters: np.ndarray,
    weights_in: np.ndarray | None,
    full: bool,
) -> Normal:
    dtype, jobs, count = images.data.dtype, len(which), len(model.free)
    real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    height, width = images.data.shape[1:]
    assert isinstance(images.psf, GaussianPSF), "the kernel knows no other"
    radius = images.psf.margin(images.pixel_scale)
    taps = np.array(gaussian_taps(images.psf.sigma / images.pixel_scale, radius), dtype)
    which, free = np.ascontiguousarray(which, np.int32), np.array(model.free_index, np.int32)
    with np.errstate(over="ignore"):  # a step beyond what a float holds has no finite cost, and is not taken
        parameters = np.ascontiguousarray(parameters, dtype)
    out = Normal(
        cost_in=np.zeros(jobs),
        cost=np.zeros(jobs),
        A=np.zeros((jobs, count, count)),
        g=np.zeros((jobs, count)),
        weights=np.empty((jobs, height, width), dtype),
        model=np.empty((jobs, height, width), dtype) if full else None,
        jacobian=np.empty((jobs, count, height, width), dtype) if full else None,
    )
    for array in (images.data, images.v0, images.v1):
        assert array.flags.c_contiguous, "the kernel reads plain arrays"
        assert array.dtype == dtype, "the kernel reads arrays of one precision"

    def address(array: np.ndarray | None, first: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(None if array is None else array.ctypes.data + first * array.strides[0])

    def work(first: int, last: int) -> None:
        function(
            ctypes.c_int(last - first), address(which, first), address(parameters, first), address(free), ctypes.c_int(count),
            address(images.data), address(images.v0), address(images.v1), address(weights_in, first), ctypes.c_int(height),
            ctypes.c_int(width), real(images.pixel_scale), address(taps), ctypes.c_int(radius), address(out.cost_in, first),
            address(out.cost, first), address(out.A, first), address(out.g, first), address(out.weights, first),
            address(out.model, first), address(out.jacobian, first),
        )  # fmt: skip

    workers = min(torch.get_num_threads(), jobs)
    cuts = np.linspace(0, jobs, max(1, min(jobs, 4 * workers)) + 1).astype(int).tolist()
    if workers <= 1:
        work(0, jobs)
    else:
        with ThreadPoolExecutor(workers) as pool:  # ctypes lets go of the interpreter's lock
            list(pool.map(work, cuts[:-1], cuts[1:]))
    return out


def _reference(
    images: Images,
    model: LensModel,
    which: np.ndarray,
    parameters: np.ndarray,
    weights_in: np.ndarray | None,
    full: bool,
    device: str,
) -> Normal:
    height, width = images.data.shape[1:]
    size = max(1, REFERENCE_PIXELS // (height * width * (len(model.free) + 1)))
    parts = []
    for first in range(0, len(which), size):
        jobs = slice(first, first + size)
        weights = None if weights_in is None else weights_in[jobs]
        parts.append(_reference_chunk(images, model, which[jobs], parameters[jobs], weights, full, device))
    join = {name: [getattr(part, name) for part in parts] for name in Normal.__dataclass_fields__}
    return Normal(**{name: np.concatenate(arrays) for name, arrays in join.items() if arrays[0] is not None})


def smooth_image(parameters: torch.Tensor, model: LensModel, shape: tuple[int, int], pixel_scale: float, psf: PSF) -> torch.Tensor:
    """Return what smooth lenses look like without noise, `(B, H, W)` flux a pixel, of parameters `(B, len(PARAMETERS))`."""
    x, y = pixel_grid(shape, pixel_scale, psf.margin(pixel_scale), parameters.dtype, parameters.device)
    masses, source, lens_light, sky = profiles(parameters)
    beta = trace(masses, x, y)
    light = brightness(source, *beta)
    light = light + brightness(lens_light, x, y) if model.lens_light else light
    return psf.convolve(light * pixel_scale**2, pixel_scale) + sky[:, None, None]


def _reference_chunk(
    images: Images,
    model: LensModel,
    which: np.ndarray,
    parameters: np.ndarray,
    weights_in: np.ndarray | None,
    full: bool,
    device: str,
) -> Normal:
    dtype = torch.float32 if images.data.dtype == np.float32 else torch.float64

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    data, v0, v1 = tensor(images.data[which]), tensor(images.v0[which]), tensor(images.v1[which])[:, None, None]
    p, (height, width) = tensor(parameters), images.data.shape[1:]
    image = partial(smooth_image, model=model, shape=(height, width), pixel_scale=images.pixel_scale, psf=images.psf)

    columns = []
    for k in model.free_index:  # forward mode: one pass a parameter, for all images
        tangent = torch.zeros_like(p)
        tangent[:, k] = 1
        total, column = torch.func.jvp(image, (p,), (tangent,))  # type: ignore[misc] # two, without `has_aux`
        columns.append(column)
    jacobian = torch.stack(columns, 1)
    flux = total - p[:, PARAMETERS.index("sky"), None, None]
    weights = torch.where(v0 > 0, 1 / (v0 + v1 * flux.clamp_min(0)), 0)
    residual = data - total
    weighted = jacobian * weights[:, None]
    out = {
        "cost_in": (tensor(weights_in) * residual.square()).sum((1, 2)) if weights_in is not None else torch.zeros(len(p)),
        "cost": (weights * residual.square()).sum((1, 2)),
        "A": torch.einsum("bphw,bqhw->bpq", weighted, jacobian).double(),
        "g": torch.einsum("bphw,bhw->bp", weighted, residual).double(),
        "weights": weights,
    }
    arrays = {k: v.cpu().numpy() for k, v in out.items()}
    arrays["cost_in"], arrays["cost"] = arrays["cost_in"].astype(float), arrays["cost"].astype(float)
    return Normal(**arrays, model=total.cpu().numpy() if full else None, jacobian=jacobian.cpu().numpy() if full else None)
