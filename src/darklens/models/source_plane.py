"""The source behind a singular isothermal sphere, from the image alone.

The pixel at theta shows the source at `beta = theta - theta_E theta/|theta|` (an SIS in the middle of the field). Surface
brightness is conserved, so a cell of the source plane is as bright as the mean of the pixels that land there:

    S_j = sum_i w_ij I_i / sum_i w_ij    (w_ij: bilinear weight of pixel i in cell j).

S is differentiable in theta_E through w, in which it is piecewise linear: a gradient reaches whatever predicted theta_E. Rounding
beta to the nearest cell makes w a step and the gradient zero; `lensformer-published` and `lenspinn` with `rounding` show that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.relensing import pixel_grid

FLOOR = 0.01  # pixels of darkness in every cell: one that no light falls in stays dark


def check_theta_E_range(theta_E_range: tuple[float, float]) -> tuple[float, float]:
    """Return (smallest, largest) Einstein radius in arcsec.

    Raises:
        InputError: not two numbers, a smallest one below 0, or a largest one that is not larger.
    """
    if len(theta_E_range) != 2 or not 0 <= theta_E_range[0] < theta_E_range[1]:
        raise InputError(
            f"theta_E_range {list(theta_E_range)} is no range: give two radii in arcsec, 0 or above, the smaller first"
        )
    return theta_E_range[0], theta_E_range[1]


class SourcePlane(nn.Module):
    """Trace images back to the source plane, sampled as the images are; no parameters of its own.

    Args:
        size: image height and width in pixels.
        pixel_scale: arcsec a pixel.
        largest: the largest theta_E in arcsec that will be asked for.

    Raises:
        InputError: a pixel scale that is not positive, or a field too small to hold a ring of the largest theta_E.
    """

    position: Tensor
    inward: Tensor

    def __init__(self, size: tuple[int, int], pixel_scale: float, largest: float) -> None:
        super().__init__()
        x, y = pixel_grid(size, pixel_scale)
        half_width = min(size) * pixel_scale / 2
        if half_width < largest:
            raise InputError(
                f"a field of half-width {half_width:.3g} arcsec is too small for lenses of up to {largest:.3g} arcsec: "
                "check the pixel scale, give larger images, or lower theta_E_range"
            )
        radius = torch.hypot(x, y).clamp_min(1e-6 * pixel_scale)  # the central pixel of an odd grid stays where it is
        self.register_buffer("position", torch.stack([x, y]) / pixel_scale, persistent=False)
        self.register_buffer("inward", torch.stack([x, y]) / radius / pixel_scale, persistent=False)

    def forward(self, images: Tensor, theta_E: Tensor) -> Tensor:
        """Return the sources (B, bands, H, W); zero where no pixel lands.

        Args:
            images: surface brightness (B, bands, H, W).
            theta_E: arcsec, one for each image (B,), or one for each pixel (B, H, W).
        """
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell two pixels apart
            light = images.to(torch.promote_types(images.dtype, torch.float32)).flatten(2)
            beta = self.position - theta_E.to(light.dtype).reshape(images.shape[0], 1, *(theta_E.shape[1:] or (1, 1))) * self.inward
            index, weight = self._bilinear(beta)
            cover = _scatter(weight, index)
            source = _scatter((weight.unsqueeze(1) * light.unsqueeze(2)).flatten(0, 1), index.repeat_interleave(light.shape[1], 0))
            return (source.view_as(light) / (cover + FLOOR).unsqueeze(1)).view_as(images)

    def _bilinear(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the 4 cells around positions (B, 2, H, W) in cells, and their weights, (B, 4, H W); 0 off the grid."""
        rows, columns = beta.shape[2:]
        u, v = (beta[:, k].flatten(1) + (side - 1) / 2 for k, side in ((0, columns), (1, rows)))
        on_grid = (u >= 0) & (u <= columns - 1) & (v >= 0) & (v <= rows - 1)
        left, low = u.detach().floor().clamp(0, columns - 2), v.detach().floor().clamp(0, rows - 2)
        corner = (low * columns + left).long()
        index = torch.stack([corner, corner + 1, corner + columns, corner + columns + 1], 1)
        right, high = u - left, v - low
        weight = torch.stack([(1 - right) * (1 - high), right * (1 - high), (1 - right) * high, right * high], 1)
        return index, weight * on_grid.unsqueeze(1)


def _scatter(values: Tensor, index: Tensor) -> Tensor:
    """Add values (B, 4, P) into the cells that index (B, 4, P) names, (B, P)."""
    return values.new_zeros(values.shape[0], values.shape[2]).scatter_add(1, index.flatten(1), values.flatten(1))
