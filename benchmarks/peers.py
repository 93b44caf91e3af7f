"""lenstronomy as a peer: the same image, model, bounds and starting spread, through its own fitting sequence."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Ranges = dict[str, tuple[float, float, float, float]]
"""Name of a parameter -> starting value, starting spread, least, most."""


class Reached(Exception):
    """The likelihood that was asked for is reached, or the time is up."""


@dataclass
class Watch:
    """Best likelihood so far, and when it reached what was asked for.

    Args:
        target: ln L (-chi^2 / 2) to reach.
        limit: seconds after which to give up.
    """

    target: float
    limit: float
    best: float = -np.inf
    reached_after: float | None = None
    evaluations: int = 0
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.began

    def see(self, value: float) -> None:
        """Count an evaluation; ends the search when it is over."""
        self.evaluations += 1
        self.best = max(self.best, value)
        if value >= self.target:
            self.reached_after = self.seconds
        if self.reached_after is not None or self.seconds > self.limit:
            raise Reached


def band(image: np.ndarray, noise: np.ndarray, pixel_scale: float, psf: dict[str, Any], subpixels: int) -> list[dict[str, Any]]:
    """Return an image as lenstronomy takes it, its middle at (0, 0).

    Args:
        image: `(N, N)`.
        noise: `(N, N)` standard deviations.
        pixel_scale: arcsec.
        psf: `kwargs_psf`.
        subpixels: rays along a side of a pixel.
    """
    edge = -(len(image) - 1) / 2 * pixel_scale
    data = {
        "image_data": image,
        "noise_map": noise,
        "ra_at_xy_0": edge,
        "dec_at_xy_0": edge,
        "transform_pix2angle": np.eye(2) * pixel_scale,
    }
    return [data, psf, {"supersampling_factor": subpixels}]


def parameters(ranges: Sequence[tuple[Ranges, dict[str, float]]]) -> list[list[dict[str, float]]]:
    """Return lenstronomy's five lists (start, spread, fixed, least, most) of some profiles.

    Args:
        ranges: of each profile what is free, and what is fixed.
    """
    start, spread, least, most = ([{k: v[i] for k, v in free.items()} for free, _ in ranges] for i in range(4))
    return [start, spread, [fixed for _, fixed in ranges], least, most]


def sequence(
    one_band: list[dict[str, Any]], masses: dict[str, Any], sources: dict[str, Any], mask: np.ndarray | None = None
) -> Any:
    """Return a fitting sequence for one image, amplitudes solved for linearly.

    Args:
        one_band: see `band`.
        masses: name of each mass profile -> its ranges and fixed values, see `parameters`.
        sources: likewise for source light.
        mask: `(N, N)`, true where a pixel counts.
    """
    from lenstronomy.Workflow.fitting_sequence import FittingSequence

    return FittingSequence(
        {"multi_band_list": [one_band], "multi_band_type": "multi-linear"},
        {"lens_model_list": list(masses), "source_light_model_list": list(sources)},
        {},
        {} if mask is None else {"image_likelihood_mask_list": [mask]},
        {"lens_model": parameters(list(masses.values())), "source_model": parameters(list(sources.values()))},
    )


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Say nothing on the way."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def race(search: Any, target: float, limit: float, rounds: Sequence[list[Any]]) -> Watch:
    """Run rounds of a search until it has reached a likelihood or its time is up.

    Args:
        search: see `sequence`.
        target: ln L.
        limit: seconds.
        rounds: steps of a fitting sequence, repeated as long as there is time.
    """
    from unittest.mock import patch

    from lenstronomy.Sampling.likelihood import Likelihood

    watch, true = Watch(target, limit), Likelihood.logL

    def watched(self: Any, *args: Any, **kwargs: Any) -> float:
        value = true(self, *args, **kwargs)
        watch.see(float(value))
        return value

    with silent(), patch.object(Likelihood, "logL", watched), contextlib.suppress(Reached):
        while True:
            search.fit_sequence(rounds)
    return watch
