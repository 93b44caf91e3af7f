"""Light per pixel: sampled at pixel centres, on a finer grid, or finely only where it bends.

The data sets of the field sample at pixel centres. A detector integrates over the pixel. Where the brightness is smooth on the
scale `h` of a pixel the two differ by `h^2/24` times its Laplacian; at the cusp of a Sersic profile, and where a lens squeezes
one into an arc thinner than a pixel, they differ by much more. That estimate says which pixels need samples, and how many.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from darklens.errors import InputError
from darklens.simulate.scene import Scene

Supersampling = int | Literal["adaptive"]

LARGEST = 32
"""Samples a pixel side at most."""

LEVELS = ((4, 3e-4), (16, 1e-2))
"""Samples a side, and the estimated error in units of the image's peak from which a pixel gets them."""


def check_supersampling(value: Supersampling) -> None:
    """Refuse what is neither `adaptive` nor 1 to 32 samples a side.

    Raises:
        InputError: it is neither.
    """
    if value != "adaptive" and not (isinstance(value, int) and 1 <= value <= LARGEST):
        raise InputError(f"supersampling {value!r} is neither 'adaptive' nor 1 to {LARGEST} samples a pixel side: choose one")


def brightness(scene: Scene, x: Tensor, y: Tensor) -> Tensor:
    """Return the surface brightness of source and lens at image-plane positions, flux/arcsec^2."""
    beta_x, beta_y = scene.trace(x, y)
    nothing = x.new_zeros(())
    lensed = sum((light.intensity(beta_x, beta_y) for light in scene.source), nothing)
    return lensed + sum((light.intensity(x, y) for light in scene.lens_light), nothing)


def mean_brightness(scene: Scene, x: Tensor, y: Tensor, pixel_scale: float, supersampling: Supersampling) -> Tensor:
    """Return the surface brightness of pixels, `(B, H, W)`.

    Args:
        scene: B systems.
        x: `(1, W)` columns of the pixel centres, arcsec.
        y: `(H, 1)` rows.
        pixel_scale: arcsec.
        supersampling: 1 samples at pixel centres, n averages n x n samples, `adaptive` takes more only where `LEVELS` says.
    """
    if supersampling == "adaptive":
        return _adaptive(scene, x, y, pixel_scale)
    if supersampling == 1:
        return brightness(scene, x, y)
    steps = _offsets(supersampling, pixel_scale, x)
    fine = brightness(scene, (x[0, :, None] + steps).reshape(1, -1), (y[:, 0, None] + steps).reshape(-1, 1))
    return avg_pool2d(fine, supersampling)


def _offsets(n: int, pixel_scale: float, like: Tensor) -> Tensor:
    """Return the n centres of the equal parts of a pixel, arcsec from its own."""
    return (((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) * pixel_scale).to(like.device, like.dtype)


def _adaptive(scene: Scene, x: Tensor, y: Tensor, pixel_scale: float) -> Tensor:
    centre = brightness(scene, x, y)
    batch, height, width = centre.shape
    out, error = centre.flatten(1), _error(centre.detach()).flatten(1)
    x, y = x.expand(height, width).flatten(), y.expand(height, width).flatten()
    for samples, limit in LEVELS:
        wanted = error > limit
        count = int(wanted.sum(1).max())
        if not count:
            break
        # the largest of each system; where that is more than it wants, the mask keeps what was there: no row sees its neighbours
        chosen = error.topk(count, dim=1).indices
        steps = _offsets(samples, pixel_scale, x)
        down, right = (s.flatten() for s in torch.meshgrid(steps, steps, indexing="ij"))
        fine = brightness(scene, x[chosen][..., None] + right, y[chosen][..., None] + down).mean(-1)
        kept = torch.where(wanted.gather(1, chosen), fine, out.gather(1, chosen))
        out = out.scatter(1, chosen, kept)
    return out.view(batch, height, width)


def _error(centre: Tensor) -> Tensor:
    """Estimate the error of sampling at the centre, in units of the peak, from the second differences around each pixel."""
    wide = pad(centre[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    here = wide[:, 1:-1, 1:-1]
    rows = wide[:, 2:, 1:-1] + wide[:, :-2, 1:-1] - 2 * here
    columns = wide[:, 1:-1, 2:] + wide[:, 1:-1, :-2] - 2 * here
    bend = max_pool2d((rows.abs() + columns.abs())[:, None] / 24, 3, stride=1, padding=1)[:, 0]
    return bend / centre.amax((1, 2), keepdim=True).clamp_min(torch.finfo(centre.dtype).tiny)
