"""Real cutouts in place of simulated galaxies: what is no lens is such a cutout, a lens is one with a lensed source painted on.

A cutout has the sky, noise and neighbours of its survey, and keeps them. The lensed light is painted so that each band keeps the
ratio of light to noise that it has in the simulation: fluxes are in units of the noise of the background, which every cutout knows
of itself, whatever its unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from darklens.data import content_hash, load, split_of
from darklens.errors import InputError
from darklens.simulate.row_draws import RowDraws

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class RealGalaxies:
    """Cutouts of real galaxies.

    Args:
        images: `(G, bands, H, W)` float32 in any unit, the galaxy in the middle.
        origin: where they come from, for manifests.

    Raises:
        InputError: a pixel is not finite, or a band has no noise to measure flux by.
    """

    images: np.ndarray = field(repr=False)
    origin: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite(self.images).all():
            raise InputError(f"galaxies of {self.origin}: a pixel is not a finite number; fill or leave out such cutouts")
        if not (self.sigma > 0).all():
            raise InputError(
                f"galaxies of {self.origin}: a band of a cutout is flat, without noise to measure flux by; leave it out"
            )

    @classmethod
    def from_path(
        cls, path: str | Path, bands: int, shape: tuple[int, int], part: tuple[str, dict[str, float]] | None = None
    ) -> RealGalaxies:
        """Read a table, or anything that darklens reads, and cut the middle out of larger images.

        Args:
            path: a table or a folder.
            bands: how many the images must have.
            shape: rows and columns of what is made.
            part: a split's name and the shares of all splits: only the cutouts that belong to this one, by content.

        Raises:
            InputError: other bands, smaller images, or no cutout in this part.
        """
        images = load(path).image_array()
        if images.shape[1] != bands or min(images.shape[2] - shape[0], images.shape[3] - shape[1]) < 0:
            raise InputError(
                f"{path} has images of {'x'.join(map(str, images.shape[1:]))}, and galaxies here need {bands} bands of at least "
                f"{shape[0]}x{shape[1]} pixels: give such cutouts"
            )
        top, left = (images.shape[2] - shape[0]) // 2, (images.shape[3] - shape[1]) // 2
        images = images[:, :, top : top + shape[0], left : left + shape[1]]
        if part is not None:
            images = images[[split_of(content_hash(image), part[1], 0) == part[0] for image in images]]
        if not len(images):
            raise InputError(f"{path} has no galaxy for {part[0] if part else 'any row'}: give more cutouts")
        digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
        return cls(images.astype(np.float32), f"{len(images)} cutouts of {Path(path).name} sha256:{digest}")

    @property
    def sigma(self) -> np.ndarray:
        """Noise of the background of each band, `(G, bands)`, from the differences of neighbours: galaxies hardly enter."""
        steps = np.diff(self.images, axis=-1)
        middle = np.median(steps, (-2, -1), keepdims=True)
        return MAD_TO_SIGMA * np.median(np.abs(steps - middle), (-2, -1)) / 2**0.5

    def draw(self, seed: int, rows: Sequence[int]) -> np.ndarray:
        """Return a cutout for each row in units of its noise, turned and mirrored at random, `(B, bands, H, W)` float32."""
        draws = RowDraws(seed, rows, "galaxy")
        chosen, turn = (np.floor(draws.random() * n).astype(int) for n in (len(self.images), 8 if self._square else 4))
        images = self.images[chosen] / self.sigma[chosen][..., None, None]
        return np.stack([_turned(image, int(k), self._square) for image, k in zip(images, turn, strict=True)]).astype(np.float32)

    @property
    def _square(self) -> bool:
        return self.images.shape[-1] == self.images.shape[-2]


def _turned(image: np.ndarray, k: int, square: bool) -> np.ndarray:
    """Return one of the eight (of a rectangle four) orientations of an image."""
    turned = np.rot90(image, k // 2 if square else 2 * (k // 2), (-2, -1))
    return turned[..., ::-1] if k % 2 else turned
