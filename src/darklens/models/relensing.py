"""Re-lensing: what a lens model says an image should look like, judged by the image alone.

A smooth lens maps the pixel at theta to the source plane at `beta = theta - alpha(theta)`. Surface brightness is
conserved, so all pixels that land on one source point must be equally bright. The critical curve, where the Jacobian of
that map is singular, parts the pixels in two sets of opposite parity, each with an image of every multiply imaged
point. From either set a source S is built by bilinear splatting, and the *other* set is predicted from it by bilinear
sampling:

    S_j = sum_i w_ij I_i / sum_i w_ij,    R_i = sum_j w_ij S_j    (w_ij: bilinear weight of pixel i in source cell j).

No pixel predicts itself; else a lens that sends no two pixels to one place would explain every image. The residual
`I - R` is what one smooth lens with one source cannot explain: there the multiple images contradict each other, because
the lens is wrong or because mass that it does not know (a subhalo, a vortex) has displaced one of them. A source point
with a single image is predicted by nothing, and R is zero there.

R is differentiable in the lens through w, but for jumps where a pixel changes its set.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.lensing import SIE, SIS, Shear, trace

CELL = 0.75  # source cells in image pixels: the source is magnified, so it is sampled finer than the image
LEAK = 0.3  # share of its neighbours in a source cell: fills those that a demagnified image skips
FLOOR = 0.01  # pixels of darkness in every source cell: one that no light falls in stays dark
COVERED = 0.1  # pixels from which on a source cell is known


def pixel_grid(size: tuple[int, int], pixel_scale: float) -> tuple[Tensor, Tensor]:
    """Return the pixel centres x and y (H, W) in arcsec, the origin in the middle of the image.

    Raises:
        InputError: a pixel scale that is not positive.
    """
    if not pixel_scale > 0:
        raise InputError(f"a pixel scale of {pixel_scale} arcsec has no meaning: give a number above 0")
    y, x = ((torch.arange(n) - (n - 1) / 2) * pixel_scale for n in size)
    x, y = torch.meshgrid(x, y, indexing="xy")
    return x, y


class Relensing(nn.Module):
    """Predict an image from itself through an SIS, or SIE, with external shear; no parameters of its own.

    The source plane is sampled over the middle half of the field in cells of `CELL` pixels.

    Args:
        size: image height and width in pixels.
        pixel_scale: arcsec a pixel.
    """

    x: Tensor
    y: Tensor

    def __init__(self, size: tuple[int, int], pixel_scale: float) -> None:
        super().__init__()
        self.cell = CELL * pixel_scale
        self.source_shape = tuple(round(side / 2 / CELL) + 1 for side in size)
        x, y = pixel_grid(size, pixel_scale)
        self.register_buffer("x", x, persistent=False)
        self.register_buffer("y", y, persistent=False)

    def forward(self, image: Tensor, lens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the re-lensed image (B, H, W) and the source (B, h, w) that all pixels together show.

        Args:
            image: surface brightness (B, H, W).
            lens: theta_E, center_x, center_y (arcsec), gamma1 and gamma2, each (B,); of an SIE e1 and e2 as well.
        """
        return self.predict(image, lens)[:2]

    def predict(self, image: Tensor, lens: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does, and which pixels (B, H, W) another image predicts; the others are 0 in the first."""
        mass = _sie(lens) if "e1" in lens else SIS(lens["theta_E"], lens["center_x"], lens["center_y"])
        index, weight = self._bilinear(*trace([mass, Shear(lens["gamma1"], lens["gamma2"])], self.x, self.y))
        cells = self.source_shape[0] * self.source_shape[1]
        parity = outside_critical_curve(lens, self.x, self.y).flatten(1).unsqueeze(1).long()
        light = self._splat(weight * image.flatten(1).unsqueeze(1), index + parity * cells)
        cover = self._splat(weight, index + parity * cells)
        sources = light / (cover + FLOOR)
        others = index + (1 - parity) * cells
        relensed = weight * sources.flatten(1).gather(1, others.flatten(1)).view_as(weight)
        known = weight * (cover > COVERED).to(weight.dtype).flatten(1).gather(1, others.flatten(1)).view_as(weight)
        whole = light.sum(1) / (cover.sum(1) + FLOOR)
        return relensed.sum(1).view_as(image), whole, known.sum(1).view_as(image) > 0.5

    def _bilinear(self, beta_x: Tensor, beta_y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the 4 cells around each source position and their weights, (B, 4, H W); 0 off the grid."""
        rows, columns = self.source_shape
        u = (beta_x / self.cell + (columns - 1) / 2).flatten(1)
        v = (beta_y / self.cell + (rows - 1) / 2).flatten(1)
        left, low = u.detach().floor(), v.detach().floor()
        on_grid = (left >= 0) & (left < columns - 1) & (low >= 0) & (low < rows - 1)
        corner = torch.where(on_grid, low * columns + left, 0).long()
        index = torch.stack([corner, corner + 1, corner + columns, corner + columns + 1], 1)
        right, high = torch.where(on_grid, u - left, 0), v - low
        left = on_grid.to(right.dtype) - right
        weight = torch.stack([left * (1 - high), right * (1 - high), left * high, right * high], 1)
        return index, weight

    def _splat(self, values: Tensor, index: Tensor) -> Tensor:
        """Add values (B, 4, P) into the cells of the two sources (B, 2, h, w), each then leaking to its neighbours."""
        rows, columns = self.source_shape
        grid = values.new_zeros(values.shape[0], 2 * rows * columns)
        grid = grid.scatter_add(1, index.flatten(1), values.flatten(1)).view(-1, 2, rows, columns)
        return grid + LEAK * F.avg_pool2d(grid, 3, stride=1, padding=1)


def _sie(lens: dict[str, Tensor]) -> SIE:
    return SIE(*(lens[name] for name in ("theta_E", "e1", "e2", "center_x", "center_y")))


@torch.no_grad()
def outside_critical_curve(lens: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return which pixels (B, H, W) have positive parity under an SIS, or SIE, with external shear.

    `det A = (1 - kappa)^2 - |gamma|^2` with `kappa = theta_E/2r` and `gamma = (gamma1, gamma2) - kappa (cos 2phi, sin
    2phi)` is positive where `r (1 - gamma1^2 - gamma2^2) > theta_E (1 - gamma1 cos 2phi - gamma2 sin 2phi)`. An SIE, isothermal
    as well, has the same shear for its own kappa: 2 kappa r takes the place of theta_E.
    """
    theta_E, center_x, center_y, gamma1, gamma2 = (
        lens[key][:, None, None] for key in ("theta_E", "center_x", "center_y", "gamma1", "gamma2")
    )
    dx, dy = x - center_x, y - center_y
    r2 = dx.square() + dy.square()
    stretched = r2 - gamma1 * (dx.square() - dy.square()) - 2 * gamma2 * dx * dy
    if "e1" in lens:
        theta_E = 2 * _sie(lens).convergence(x, y) * r2.sqrt()
    return r2 * r2.sqrt() * (1 - gamma1.square() - gamma2.square()) > theta_E * stretched
