"""Fit smooth lenses: several starts on binned images, the best of them on the images themselves, restarts where it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError
from darklens.fit.lens_model import PARAMETERS, LensModel
from darklens.fit.levenberg_marquardt import State, covariance, minimise
from darklens.fit.noise import Noise
from darklens.fit.normal_equations import Images, normal_equations, weighed
from darklens.fit.starts import starts
from darklens.simulate import GaussianPSF, TabulatedPSF
from darklens.simulate.psf import PSF
from darklens.units import FWHM_PER_SIGMA

BATCH = 128
"""Images fitted together: enough to share the overhead, few enough for memory."""
COARSE_SIDE = 34
"""Side in pixels to which images are binned at first."""
SUSPICIOUS = 1.1
"""Reduced chi^2 above which other starts are tried: it may be substructure, or the wrong valley."""


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Args:
        starts: starting points an image.
        coarse: iterations on the binned image.
        fine: iterations on the image.
        restarts: rounds of new starts for images that did not converge or whose chi^2 is suspicious.
        seed: of the restarts.
    """

    starts: int = 4
    coarse: int = 25
    fine: int = 20
    restarts: int = 2
    seed: int = 0


@dataclass(frozen=True)
class SmoothFit:
    """What was fitted, over N images.

    Args:
        names: the P free parameters.
        parameters: `(N, len(PARAMETERS))` every parameter, the fixed ones included.
        covariance: `(N, P, P)` of the free ones.
        model: `(N, H, W)` in the unit of the images.
        residual: `(N, H, W)` image minus model in units of the noise; zero where masked.
        chi2: `(N,)` reduced chi^2.
        converged: `(N,)`.
        iterations: `(N,)` on the image itself.
    """

    names: tuple[str, ...]
    parameters: np.ndarray
    covariance: np.ndarray
    model: np.ndarray
    residual: np.ndarray
    chi2: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray

    def __len__(self) -> int:
        return len(self.chi2)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the values of one parameter, `(N,)`."""
        return self.parameters[:, PARAMETERS.index(name)]

    def error(self, name: str) -> np.ndarray:
        """Return the standard deviation of a free parameter, `(N,)`."""
        k = self.names.index(name)
        return np.sqrt(self.covariance[:, k, k])


def fit_images(
    images: np.ndarray,
    *,
    pixel_scale: float,
    psf: PSF,
    noise: Noise,
    model: LensModel,
    mask: np.ndarray | None = None,
    effort: Effort = Effort(),
    device: str = "cpu",
    progress: Callable[[int], None] = lambda done: None,
) -> SmoothFit:
    """Fit a smooth lens to every image.

    Args:
        images: `(N, H, W)`.
        pixel_scale: arcsec.
        psf: point spread function.
        noise: says what the variance is.
        model: what is fitted.
        mask: `(H, W)` or `(N, H, W)`, true for the pixels that count; None counts all that are finite.
        effort: how hard to try.
        device: "cpu" (the C++ kernel, where there is a compiler), or where PyTorch computes.
        progress: called with the number of images done.

    Raises:
        InputError: wrong rank, or an image without a single pixel that counts.
    """
    images = np.asarray(images)
    if images.ndim != 3:
        raise InputError(f"images of {images.ndim} axes: give (N, H, W), one band at a time")
    v0, v1 = noise.variance(images)
    good = np.isfinite(images) & (v0 > 0)
    good &= True if mask is None else np.broadcast_to(np.asarray(mask, bool), images.shape)
    enough = good.sum((1, 2)) > len(model.free)
    if not enough.all():
        raise InputError(
            f"image {int(np.argmin(enough))} has {int(good[~enough][0].sum())} usable pixels for {len(model.free)} parameters: "
            "check mask and noise"
        )
    parts = []
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        batch = weighed(images, v0, v1, good, rows, pixel_scale, psf)
        parts.append(_fit_batch(batch, good[rows], model, effort, device))
        progress(min(first + BATCH, len(images)))
    return join(parts)


def join(parts: list[SmoothFit]) -> SmoothFit:
    """Return the fits of several batches as one."""
    arrays = [name for name in SmoothFit.__dataclass_fields__ if name != "names"]
    return SmoothFit(parts[0].names, *(np.concatenate([getattr(part, name) for part in parts]) for name in arrays))


def _fit_batch(images: Images, good: np.ndarray, model: LensModel, effort: Effort, device: str) -> SmoothFit:
    n = len(images.data)
    coarse, factor = binned(images)
    first = starts(coarse.data, coarse.v0, coarse.pixel_scale, model, effort.starts)
    state = _descend(images, coarse, factor, model, np.arange(n), first, effort, device)
    dof = good.sum((1, 2)) - len(model.free)
    rng = np.random.default_rng(effort.seed)
    for _ in range(effort.restarts):
        again = np.flatnonzero(~state.converged | (state.cost / dof > SUSPICIOUS))
        if not len(again):
            break
        shaken = _shake(first[again], state.parameters[again], model, rng)
        other = _descend(images, coarse, factor, model, again, shaken, effort, device)
        _keep_better(state, other, again)
    return _result(images, model, state, dof, device)


def binned(images: Images) -> tuple[Images, int]:
    """Sum blocks of an odd number of pixels, padded evenly with masked ones, so that the field's centre stays where it is."""
    n, height, width = images.data.shape
    factor = max(1, min(height, width) // COARSE_SIDE)
    factor += 1 - factor % 2
    if factor == 1:
        return images, 1
    counts = [-(-size // factor) for size in (height, width)]
    counts = [k + (k - size) % 2 for k, size in zip(counts, (height, width), strict=True)]
    pads = [(k * factor - size) // 2 for k, size in zip(counts, (height, width), strict=True)]
    widths = ((0, 0), *((p, p) for p in pads))

    def summed(array: np.ndarray) -> np.ndarray:
        padded = np.pad(array, widths)
        return padded.reshape(n, counts[0], factor, counts[1], factor).sum((2, 4))

    counted = summed((images.v0 > 0).astype(np.float32))
    full = counted > 0.5 * factor**2
    up = np.where(full, factor**2 / np.maximum(counted, 1), 0)  # blocks with a few masked pixels count as whole ones
    data = summed(np.where(images.v0 > 0, images.data, 0)) * up
    v0 = np.where(full, summed(np.where(images.v0 > 0, images.v0, 0)) * up, -1)
    scale = images.pixel_scale * factor
    sigma = np.hypot(_width(images.psf, images.pixel_scale), scale / 12**0.5)
    psf = GaussianPSF(sigma * FWHM_PER_SIGMA, truncation=3)
    return Images(data.astype(np.float32), v0.astype(np.float32), images.v1, scale, psf), factor


def _width(psf: PSF, pixel_scale: float) -> float:
    """Return the standard deviation of a PSF in arcsec, of its core if it is a kernel: wings would make it useless."""
    if isinstance(psf, GaussianPSF):
        return psf.sigma
    assert isinstance(psf, TabulatedPSF)
    side = (psf.kernel > 0.5 * psf.kernel.max()).sum() ** 0.5  # full width at half maximum of a round core, in pixels of its own
    return max(1.0, 2 * side / np.pi**0.5) * (psf.pixel_scale or pixel_scale) / FWHM_PER_SIGMA


def _descend(
    images: Images, coarse: Images, factor: int, model: LensModel, which: np.ndarray, first: np.ndarray, effort: Effort, device: str
) -> State:
    """Minimise from every start on the binned images and from the best on the images themselves."""
    jobs, variants = first.shape[:2]
    rough = minimise(
        coarse, model, np.repeat(which, variants), first.reshape(jobs * variants, -1), iterations=effort.coarse, device=device
    )
    cost = np.where(np.isfinite(rough.cost), rough.cost, np.inf).reshape(jobs, variants)
    best = rough.parameters.reshape(jobs, variants, -1)[np.arange(jobs), cost.argmin(1)]
    if factor > 1 and "sky" in model.free:
        best[:, PARAMETERS.index("sky")] /= factor**2
    state = minimise(images, model, which, best, iterations=effort.fine, device=device)
    return _polish(images, model, state, effort, device)


def _polish(images: Images, model: LensModel, state: State, effort: Effort, device: str) -> State:
    """Go on in double precision where single precision has come to its end, as it does when parameters are nearly degenerate."""
    rest = np.flatnonzero(~state.converged)
    if len(rest):
        rows = state.which[rest]
        data, v0, v1 = (array[rows].astype(np.float64) for array in (images.data, images.v0, images.v1))
        double = Images(data, v0, v1, images.pixel_scale, images.psf)
        better = minimise(double, model, np.arange(len(rest)), state.parameters[rest], iterations=2 * effort.fine, device=device)
        _take(
            state, better, rest, better.converged
        )  # the same valley, so better by its convergence even if chi^2 is a little higher
    return state


def _shake(first: np.ndarray, found: np.ndarray, model: LensModel, rng: np.random.Generator) -> np.ndarray:
    """Return new starts: the first ones and what was found, with the lens and the source moved about."""
    out = first.copy()
    theta_E = PARAMETERS.index("theta_E")
    out[:, 0, : theta_E + 1] = found[:, : theta_E + 1]
    for name, size in (
        ("theta_E", 0.15),
        ("gamma1", 0.1),
        ("gamma2", 0.1),
        ("source_x", 0.2),
        ("source_y", 0.2),
        ("source_e1", 0.2),
        ("source_e2", 0.2),
    ):
        if name in model.free:
            k = PARAMETERS.index(name)
            unit = out[..., theta_E] if name in ("theta_E", "source_x", "source_y") else 1.0
            out[..., k] += size * unit * rng.standard_normal(out.shape[:2])
    low, high = model.bounds()
    out[..., model.free_index] = np.clip(out[..., model.free_index], low, high)
    return out


def _keep_better(state: State, other: State, rows: np.ndarray) -> None:
    """Take the other solution where it is lower, or where it alone has converged and is as good."""
    here = state.cost[rows]
    lower = np.isfinite(other.cost) & (other.cost < here - 0.1) & (other.converged | ~state.converged[rows])
    settled = other.converged & ~state.converged[rows] & (other.cost < here * 1.001)
    _take(state, other, rows, lower | settled)


def _take(state: State, other: State, rows: np.ndarray, better: np.ndarray) -> None:
    for name in ("parameters", "cost", "A", "converged", "iterations"):
        getattr(state, name)[rows[better]] = getattr(other, name)[better]


def _result(images: Images, model: LensModel, state: State, dof: np.ndarray, device: str) -> SmoothFit:
    last = normal_equations(images, model, state.which, state.parameters, full=True, device=device)
    assert last.model is not None
    residual = (images.data - last.model) * np.sqrt(last.weights)
    errors = covariance(last.A)
    converged = state.converged & np.isfinite(errors).all((1, 2))  # a parameter without a trace in the image has not been found
    return SmoothFit(model.free, state.parameters, errors, last.model, residual, last.cost / dof, converged, state.iterations)
