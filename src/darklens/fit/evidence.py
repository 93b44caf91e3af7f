"""What a smooth fit knows about substructure before any network looks: matched filters for a point mass at every pixel.

A small deflection `dalpha` changes the image, to first order, by

    dI(theta) = J(theta) . dalpha(theta),        J = dI / d(source position),

since moving the light ray and moving the source are the same thing: the fit's own Jacobian with respect to the source position
says where on the image a deflection shows, and how. For a point mass of Einstein radius `m^(1/2)` at p, `dalpha = m d / |d|^2`
with `d = theta - p`. With residuals r and weights w = 1/variance the log-likelihood is, to second order in m,

    ln L(m, p) = m s(p) - m^2 F(p) / 2,   s = sum w r J . d/|d|^2,   F = sum w (J . d/|d|^2)^2 - b^T A^-1 b,

where the last term takes out what the smooth lens could imitate (A: normal matrix of the fit, b: its overlap with the template).
Sums over theta for every p are correlations, done by FFT. `s / F^(1/2)` is the significance of a mass at p, `F^(1/2)` the
sensitivity there, and s, being linear, adds up along strings and over clumps. (The linear relation between residuals and the
potential is that of gravitational imaging, Koopmans 2005, MNRAS 363, 1136, section 3; here for a point mass.)
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from darklens.errors import InputError
from darklens.fit.lens_model import PARAMETERS, LensModel
from darklens.fit.noise import Noise
from darklens.fit.normal_equations import Images, normal_equations, weighed
from darklens.fit.smooth import SmoothFit
from darklens.simulate import GaussianPSF
from darklens.simulate.psf import PSF

CHANNELS = ("residual", "significance", "slope", "sensitivity", "model")
"""Residual in units of the noise; s/F^(1/2); s and F^(1/2) for a mass of `UNIT` theta_E^2, compressed; the smooth model, 0 to 1."""
UNIT = 0.01
BATCH = 12
"""Images treated together: few enough for the spectra to stay in the cache, which halves the time."""
SOFTEST = 1e-3
"""Fraction of its information that a template keeps at least, however well the smooth lens imitates it: rounding leaves no less."""
LEAST = 1e-60
"""Curvature of chi^2 below which a parameter is one of which an image says nothing."""
RIDGE = 1e-6
"""What is added to the diagonal of correlations between parameters, more than rounding takes away from them."""


def evidence(
    images: np.ndarray,
    fit: SmoothFit,
    *,
    pixel_scale: float,
    psf: PSF,
    noise: Noise,
    model: LensModel,
    crop: int | None = None,
    bin: int = 1,
) -> np.ndarray:
    """Return the maps of `CHANNELS` for fitted images.

    Args:
        images: `(N, H, W)`.
        fit: their fit; only its parameters are used.
        pixel_scale: arcsec.
        psf: point spread function.
        noise: says what the variance is.
        model: the `LensModel` that was fitted.
        crop: side in pixels of the central square that is used.
        bin: side of the blocks that are summed after the crop. Two or three pixels lose little: the PSF has no smaller structure.

    Returns:
        `(N, 5, h, w)` float32.

    Raises:
        InputError: the crop is larger than the images.
    """
    if crop is not None and crop > min(images.shape[1:]):
        raise InputError(f"crop {crop} is larger than the image ({images.shape[1]}x{images.shape[2]}): lower preprocess.crop")
    v0, v1 = noise.variance(images)
    good = np.isfinite(images) & (v0 > 0)
    parts = []
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        batch = weighed(images, v0, v1, good, rows, pixel_scale, psf)
        parts.append(_maps(batch, fit.parameters[rows], model, crop, bin))
    return np.concatenate(parts)


def _maps(images: Images, parameters: np.ndarray, model: LensModel, crop: int | None, bin: int) -> np.ndarray:
    n, height, width = images.data.shape
    at = normal_equations(images, model, np.arange(n), parameters, full=True)
    assert at.model is not None
    assert at.jacobian is not None
    window = _window(height, width, crop)

    def binned(array: np.ndarray | Tensor) -> Tensor:
        tensor = torch.as_tensor(np.ascontiguousarray(array[..., *window]) if isinstance(array, np.ndarray) else array)
        return avg_pool2d(tensor.flatten(0, -3)[:, None], bin).view(*tensor.shape[:-2], -1, tensor.shape[-1] // bin)

    weights = torch.from_numpy(np.ascontiguousarray(at.weights[:, *window]))
    residual = torch.from_numpy(np.ascontiguousarray((images.data - at.model)[:, *window]))
    w, jacobian = binned(weights) * bin**2, binned(at.jacobian)  # a sum of weights, means of smooth fields
    weighted = binned(weights * residual) * bin**2
    scale = images.pixel_scale * bin
    slope, information, overlap = _correlations(w, weighted, jacobian, model.free, scale, _softening(images.psf, scale))
    information = _orthogonal(information, overlap, at.A)
    unit = UNIT * torch.from_numpy(parameters[:, PARAMETERS.index("theta_E")]).float().square()[:, None, None]
    root = information.sqrt()
    smooth = binned(at.model)
    smooth = smooth - smooth.amin((1, 2), keepdim=True)
    channels = (
        binned(residual * weights.sqrt()) * bin,
        slope / (root + 1e-3 / unit),  # no significance where a mass of a thousand units would not show
        torch.asinh(slope * unit / 3),
        torch.log1p(root * unit),
        smooth / smooth.amax((1, 2), keepdim=True).clamp_min(torch.finfo(smooth.dtype).tiny),
    )
    return torch.stack(channels, 1).numpy()


def _window(height: int, width: int, crop: int | None) -> tuple[slice, slice]:
    if crop is None:
        return slice(None), slice(None)
    top, left = (height - crop) // 2, (width - crop) // 2
    return slice(top, top + crop), slice(left, left + crop)


def _softening(psf: PSF, scale: float) -> float:
    """Return the distance in arcsec within which the PSF, or the pixel, hides the point mass's singularity."""
    return max(psf.sigma, scale / 2) if isinstance(psf, GaussianPSF) else 1.5 * scale


def _correlations(
    w: Tensor, weighted: Tensor, jacobian: Tensor, free: tuple[str, ...], scale: float, soft: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return s `(N, h, w)`, the information `(N, h, w)` before projection, and the overlaps b `(N, P, h, w)`."""
    _, p, height, width = jacobian.shape
    jx, jy = jacobian[:, free.index("source_x")], jacobian[:, free.index("source_y")]
    wjx, wjy = w * jx, w * jy
    fields = [(weighted * jx)[:, None], (weighted * jy)[:, None], (wjx * jx)[:, None], (2 * wjx * jy)[:, None], (wjy * jy)[:, None]]
    fields += [jacobian * wjx[:, None], jacobian * wjy[:, None]]
    size = (_fast(2 * height - 1), _fast(2 * width - 1))
    spectra = torch.fft.rfft2(torch.cat(fields, 1), s=size)
    kx, ky, kxx, kxy, kyy = _kernels(size, scale, soft)
    s = spectra[:, 0] * kx + spectra[:, 1] * ky
    f = spectra[:, 2] * kxx + spectra[:, 3] * kxy + spectra[:, 4] * kyy
    b = spectra[:, 5 : 5 + p] * kx + spectra[:, 5 + p :] * ky
    maps = torch.fft.irfft2(torch.cat([s[:, None], f[:, None], b], 1), s=size)[..., :height, :width]
    return maps[:, 0], maps[:, 1].clamp_min(0), maps[:, 2:]


@functools.lru_cache(maxsize=8)
def _kernels(size: tuple[int, int], scale: float, soft: float) -> tuple[Tensor, ...]:
    """Return the conjugate spectra of `d/|d|^2` and of the products of its components, softened."""
    axes = [torch.fft.fftfreq(side, 1 / side) * scale for side in size]
    y, x = torch.meshgrid(*axes, indexing="ij")
    squared = x.square() + y.square() + soft**2
    x, y = x / squared, y / squared
    return tuple(torch.fft.rfft2(kernel).conj() for kernel in (x, y, x * x, x * y, y * y))


def _fast(size: int) -> int:
    """Return the next size that an FFT likes: an even number without prime factors above 5."""
    while size % 2 or _rough(size) > 1:
        size += 1
    return size


def _rough(size: int) -> int:
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size


def _orthogonal(information: Tensor, overlap: Tensor, normal: np.ndarray) -> Tensor:
    """Take out of the information what the smooth lens can imitate."""
    p = overlap.shape[1]
    finite = np.isfinite(normal)
    normal, diagonal = np.where(finite, normal, 0), np.diagonal(normal, axis1=1, axis2=2)
    # a fit that found no source leaves parameters of which the image says nothing, or nothing finite: they imitate nothing
    told = (diagonal > LEAST) & finite.all(2)
    gauge = np.where(told, 1 / np.sqrt(np.where(told, diagonal, 1)), 0)
    root = _root(torch.from_numpy(normal * gauge[:, :, None] * gauge[:, None, :] + RIDGE * np.eye(p))).float()
    b = torch.where(torch.from_numpy(told)[:, :, None], overlap.flatten(2), 0) * torch.from_numpy(gauge).float()[:, :, None]
    explained = torch.linalg.solve_triangular(root, b, upper=False).square().sum(1).view_as(information)
    return torch.maximum(information - explained, SOFTEST * information)


def _root(correlations: Tensor) -> Tensor:
    """Return Cholesky factors, of the nearest matrices that have some where rounding has left none, as for images without light."""
    root, failed = torch.linalg.cholesky_ex(correlations)
    if failed.any():
        values, vectors = torch.linalg.eigh(correlations[failed > 0])
        root[failed > 0] = torch.linalg.cholesky(vectors * values.clamp_min(RIDGE)[:, None, :] @ vectors.mT)
    return root
