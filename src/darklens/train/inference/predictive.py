"""Scenes with numbers of one's choice, and what draws of a posterior predict: is an image like those that its posterior allows?

A scene of a preset is a function of `(seed, row)`. It is drawn again with some of its numbers pinned to given values; everything
else in it, and the random numbers that it is drawn with, stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from darklens.fit import plan_for
from darklens.lensing import Mass
from darklens.simulate import Preset, Scene
from darklens.simulate.priors import Drawn, Fixed, Prior, Randoms

OTHER_NOISE = 9_191
"""Added to the seed of the noise: the prediction has one of its own."""
OF_SOURCE = {"source_amp": "amp", "source_x": "center_x", "source_y": "center_y", "source_e1": "e1", "source_e2": "e2"}
"""Truth columns of the source -> what its profile calls them."""


@dataclass(frozen=True)
class Pinned(Prior):
    """A prior that uses up the random numbers of another and returns one value."""

    prior: Prior
    value: float

    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Return the value."""
        self.prior.draw(rng, size)
        return Fixed(self.value).draw(rng, size)

    @property
    def support(self) -> tuple[float, float]:
        """The value, twice."""
        return self.value, self.value


def pinned_scene(preset: Preset, seed: int, row: int, label: str, values: Mapping[str, float]) -> Scene:
    """Return the scene of a row of a preset with some numbers pinned.

    Args:
        preset: of the images.
        seed: of the table.
        row: in it.
        label: class of the row.
        values: truth column -> value; priors of the population first, then parameters of the smooth lens and its source.
    """
    population = preset.population
    priors = {name: getattr(population, name, None) for name in values}
    pinned = {name: Pinned(prior, float(values[name])) for name, prior in priors.items() if isinstance(prior, Prior)}
    scene = replace(population, **pinned).draw(1, seed, row, labels=(label,))
    rest = {name: value for name, value in values.items() if name not in pinned}
    return _with_smooth(scene, rest) if rest else scene


def _with_smooth(scene: Scene, values: Mapping[str, float]) -> Scene:
    def changed(mass: Mass) -> Mass:
        own = {f.name for f in fields(mass)}
        return replace(mass, **{k: torch.tensor([float(v)], dtype=torch.float64) for k, v in values.items() if k in own})

    macro = tuple(changed(mass) for mass in scene.macro)
    source = tuple(
        replace(
            light,
            **{OF_SOURCE.get(k, k): torch.tensor([float(v)], dtype=torch.float64) for k, v in values.items() if k in OF_SOURCE},
        )
        for light in scene.source
    )
    return replace(scene, macro=macro, source=source)


def can_predict(
    preset: Preset, seed: int, row: int, label: str, names: tuple[str, ...], theta: np.ndarray, image: np.ndarray
) -> bool:
    """Whether pinning the true numbers gives the very image that is known, and other numbers another one."""
    true, _ = preset.images(pinned_scene(preset, seed, row, label, dict(zip(names, theta, strict=True))))
    if not np.allclose(true[0], image, rtol=1e-4, atol=1e-4 * float(np.abs(image).max())):
        return False
    moved, _ = preset.images(pinned_scene(preset, seed, row, label, dict(zip(names, theta * 0.99, strict=True))))
    return not np.array_equal(moved, true)


def residual_power(
    preset: Preset, seed: int, row: int, label: str, names: tuple[str, ...], draws: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare an image with predictions, each with a noise of its own.

    Args:
        preset: of the image.
        seed: of its table.
        row: in it.
        label: class of the row.
        names: of the parameters.
        draws: `(S, P)`.
        image: `(H, W)` as recorded.

    Returns:
        `(S,)` mean square of the difference in units of the noise of both (about 1 for the true numbers, where there is noise),
        and the predictions `(S, H, W)`.
    """
    scenes = [pinned_scene(preset, seed, row, label, dict(zip(names, theta, strict=True))) for theta in draws]
    found = np.stack([preset.images(replace(scene, seed=scene.seed + OTHER_NOISE + k))[0][0, 0] for k, scene in enumerate(scenes)])
    v0, v1 = plan_for(preset).noise.variance(image[None].astype(np.float64))
    variance = v0[0] + v1[0] * np.clip(image, 0, None)
    return ((found - image) ** 2 / (2 * variance)).mean((1, 2)), found
