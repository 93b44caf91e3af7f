"""Fit one lens: many starts with a coarse source, the best of them with finer ones, sources adapted to what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from darklens.errors import InputError, WorkError
from darklens.fit.one_lens.choices import Choices
from darklens.fit.one_lens.descents import Log, best_distinct, first_descents, scatter
from darklens.fit.one_lens.first_guess import INNER, OUTER, annulus, ring_radius, starts_for
from darklens.fit.one_lens.lens_fit import LensFit
from darklens.fit.one_lens.light import LightBasis, Shape, lens_light
from darklens.fit.one_lens.macro import Macro
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.point_search import locate
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.fit.one_lens.points import Points
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.refining import on_other_grids, refined
from darklens.fit.one_lens.search import Found


def fit_lens(
    image: np.ndarray,
    noise: np.ndarray,
    psf: np.ndarray,
    mask: np.ndarray | None = None,
    pixel_scale: float = 0.05,
    *,
    psf_oversampling: int = 1,
    positions: Positions | None = None,
    choices: Choices | None = None,
    log: Log = lambda sentence: None,
) -> LensFit:
    """Fit the mass, the lens light and the source of one lens.

    The source is a rectilinear grid of nodes, solved for with the amplitudes of the lens light at every step (semilinear
    inversion); the other parameters go down the cost by Levenberg-Marquardt, from many starts.

    Positions of multiple images lead the search: they give the first guess of the Einstein radius, only starts that bring them
    together are descended from, and their chi^2 is added to the cost of the first descents. In the last ones, and so in errors and
    evidence, it counts only where `positions.in_likelihood` says so.

    The images of a quasar (`choices.point_images`) are PSFs with amplitudes of their own; their positions are parameters, bound by
    the lens equation, see `Points`.

    What a search for substructure needs: the result's `evidence` is ln E of the smooth lens, `evidence_with(mass)` the same with a
    perturber added and everything linear solved anew (macro held, half a second), `refitted(mass)` with the macro free as well;
    `model.grid`, `source`, `model_image`, `residual` are what their names say.

    Args:
        image: `(H, W)`, background-subtracted, its middle on the lens.
        noise: `(H, W)` standard deviation of each pixel.
        psf: `(K, K)`, odd, on the pixels of the image, or on finer ones.
        mask: `(H, W)`, true where a pixel may count.
        pixel_scale: arcsec.
        psf_oversampling: pixels of the PSF along a side of a pixel of the image.
        positions: images of points of the source, or None.
        choices: how to model it; None takes the defaults.
        log: receives a sentence for each stage.

    Returns:
        The best fit, with a Gaussian approximation of its errors; `darklens.infer.sample_lens` samples the posterior.

    Raises:
        InputError: data that cannot be fitted, with the remedy.
        WorkError: no start led anywhere.
    """
    choices = choices or Choices()
    spread = PointSpread(np.asarray(psf, float), psf_oversampling)
    observation, theta_E, centre, points = _prepared(image, noise, spread, mask, pixel_scale, choices, positions)
    positions = positions if points is None else points.seen
    log(f'fitting {observation.size} pixels; the ring is at about {theta_E:.2f}"')
    model = _model(observation, choices, theta_E, centre, points)
    # Gaussians imitate a part of the arcs while the lens is wrong; one profile cannot
    rigid = replace(choices, source="parametric", light="sersic" if choices.light == "mge" else choices.light)
    smooth = model if choices.source == "parametric" else _model(observation, rigid, theta_E, centre, points)
    starts = starts_for(smooth, theta_E, centre, choices.starts, choices.seed, positions)
    if len(starts) < choices.starts:
        log(f"only {len(starts)} of {choices.starts} starts: the positions rule the others out")
    guide = _coarse(smooth, positions)
    on_pixels = guide if choices.source == "parametric" else _coarse(model, positions)
    candidates = first_descents(guide, on_pixels, starts, choices, log)
    finalists = best_distinct(_together(candidates, positions, theta_E))
    final = replace(
        _refocused(model, finalists[0], choices, mask), positions=positions if positions and positions.in_likelihood else None
    )
    best, others = on_other_grids(refined(final, finalists, np.asarray(noise, float), choices, log), choices, log)
    heights = tuple(sorted((f.evidence for f in candidates), reverse=True))
    return LensFit(best, choices, heights, None if points else positions, others)


def _together(candidates: list[Found], positions: Positions | None, theta_E: float) -> list[Found]:
    """Return the descents that ended with the images of each source together."""
    if positions is None:
        return candidates
    apart, limit = [scatter(found, positions) for found in candidates], positions.allowed(theta_E)
    kept = [found for found, far in zip(candidates, apart, strict=True) if far <= limit]
    if not kept:
        raise WorkError(
            f'every start ended with the positions at least {min(apart):.3g}" apart in the source plane (limit {limit:.3g}"): '
            "check that they are images of one point, leave out --theta-e so that they give it, or raise --position-tolerance"
        )
    return kept


def _prepared(
    image: np.ndarray,
    noise: np.ndarray,
    spread: PointSpread,
    mask: np.ndarray | None,
    pixel_scale: float,
    choices: Choices,
    positions: Positions | None,
) -> tuple[Observation, float, tuple[float, float], Points | None]:
    image, noise = (np.asarray(a, float) for a in (image, noise))
    mask = np.isfinite(image) if mask is None else np.asarray(mask, bool)
    fine = spread if spread.oversampling > 1 else None
    whole = Observation(image, noise, spread.on_pixels, pixel_scale, mask, choices.subpixels, fine)
    centre = choices.centre or (0.0, 0.0)
    whole.check_inside(centre)
    points = None
    if choices.point_images is not None:
        if positions is not None:
            raise InputError("--positions and --point-images both say where images are: give one of them")
        points = locate(choices.point_images, whole, spread, centre, choices.point_sigma, choices.psf_error)
        positions = points.seen
    if positions is not None:
        whole.check_counts(positions.x, positions.y)
    theta_E = choices.theta_E or (positions and positions.radius(centre)) or _ring_radius(whole, centre, choices)
    inner, outer = _edges(choices, theta_E, centre, points)
    kept = whole.mask & annulus(whole, centre, inner, outer)
    _check_ring(whole, kept, centre, theta_E, choices)
    light = whole if points is None else replace(whole, image=image - points.light(points.start, points.flux, whole))
    if choices.centre is None:  # not before the mask is known to be the right way round: it says which light is looked at
        light.check_centred(choices.light != "none", theta_E)
    if points is not None:
        whole = replace(whole, noise=points.louder(noise, points.shed(points.start, points.flux, whole)))
    return replace(whole, mask=kept), theta_E, centre, points


def _ring_radius(whole: Observation, centre: tuple[float, float], choices: Choices) -> float:
    try:
        return ring_radius(whole, centre)
    except InputError:
        if choices.centre is None:
            whole.check_centred(choices.light != "none")  # a lens far out has no ring about the middle
        raise


def _check_ring(whole: Observation, kept: np.ndarray, centre: tuple[float, float], theta_E: float, choices: Choices) -> None:
    """Refuse pixels that leave nothing of the ring."""
    ring = annulus(whole, centre, 0.7 * theta_E, 1.3 * theta_E)
    if not ring.any():
        raise InputError(
            f'a ring of {theta_E:.4g}" lies outside the image, which reaches to {whole.reach_told}: give --theta-e in arcsec, or '
            "check the pixel scale"
        )
    if kept.any() and (kept & ring).sum() >= 0.2 * ring.sum():
        return
    left = f'{int((kept & ring).sum())} of the {int(ring.sum())} pixels around the ring at {theta_E:.2f}"'
    if choices.annulus is not None and (whole.mask & ring).sum() >= 0.2 * ring.sum():
        inner, outer = choices.annulus
        raise InputError(f"annulus {inner:g},{outer:g} leaves {left}: give --annulus radii on both sides of the ring, or --theta-e")
    raise InputError(
        f"the mask leaves {left}: it has to be non-zero where a pixel counts; give one that marks what to leave out with --exclude"
    )


def _model(observation: Observation, choices: Choices, theta_E: float, centre: tuple[float, float], points: Points | None) -> Model:
    macro = Macro(choices.model)
    light = lens_light(choices.light, 0.5 * observation.pixel_scale, 3 * theta_E)
    source = LightBasis((Shape("source", "sersic"),)) if choices.source == "parametric" else LightBasis()
    bounds = macro.bounds(theta_E, centre) | light.bounds(centre, 0.3 * theta_E) | source.bounds(centre, 1.5 * theta_E)
    bounds |= {} if points is None else points.bounds
    low, high = ({name: pair[k] for name, pair in bounds.items()} for k in (0, 1))
    return Model(observation, macro, light, source, None, low, high, points=points)


def _coarse(model: Model, positions: Positions | None) -> Model:
    """Return the model with one ray a pixel and a slope that hardly moves, for the first descents, in which positions count."""
    coarse = replace(model.nearly_isothermal, observation=replace(model.observation, subpixels=1))
    if model.points is not None:
        return replace(coarse, points=model.points.loose)
    return replace(coarse, positions=positions)


def _refocused(model: Model, best: Found, choices: Choices, mask: np.ndarray | None) -> Model:
    """Return the model on the pixels about the Einstein radius that was found, where the user has not chosen them."""
    if choices.annulus is not None:
        return model
    value = dict(zip(model.names, best.eta.tolist(), strict=True))
    observation = model.observation
    centre = choices.centre or (0.0, 0.0)
    kept = np.isfinite(observation.image) if mask is None else np.asarray(mask, bool)
    kept = kept & annulus(observation, centre, *_edges(choices, value["theta_E"], centre, model.points))
    return replace(model, observation=replace(observation, mask=kept))


def _edges(choices: Choices, theta_E: float, centre: tuple[float, float], points: Points | None) -> tuple[float, float]:
    """Return the radii between which pixels are fitted; around point images there are some on either side."""
    if choices.annulus is not None:
        return choices.annulus
    inner, outer = INNER * theta_E if choices.light == "mge" else 0.0, OUTER * theta_E
    if points is None:
        return inner, outer
    r = np.hypot(points.seen.x - centre[0], points.seen.y - centre[1])
    return min(inner, max(0.0, float(r.min()) - 2 * points.reach)), max(outer, float(r.max()) + 2 * points.reach)
