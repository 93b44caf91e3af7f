"""Fit one lens: many starts with a coarse source, the best of them with finer ones, sources adapted to what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from darklens.errors import InputError, WorkError, unknown
from darklens.fit.one_lens.first_guess import INNER, OUTER, annulus, ring_radius, starts_for
from darklens.fit.one_lens.lens_fit import LensFit
from darklens.fit.one_lens.light import LIGHTS_OF_LENS, LightBasis, Shape, lens_light
from darklens.fit.one_lens.macro import Macro
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.parity import imaged_once
from darklens.fit.one_lens.point_search import locate
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.fit.one_lens.points import Points
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.search import Found, descend
from darklens.fit.one_lens.source_grid import REGULARISATIONS, SourceGrid, adapted

SOURCES = ("pixelised", "parametric")
COARSE = 12
"""Nodes along a side of the source in the first descents."""
PIXELS_A_NODE = 7
"""Image pixels for each node of the final source."""
NODES = 12, 32
"""Least and most nodes along a side of the final source."""
ROUNDS = 6
"""Sources adapted to what was found before: two for the cost, then as many for the evidence as it takes to come to rest."""
STRENGTH = 1e-4
"""Regularisation in units of the noise to begin with; its evidence moves it at once."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Choices:
    """How one lens is modelled.

    Args:
        model: masses, see `Macro`.
        light: of the lens galaxy: mge, sersic, sersics, none.
        source: pixelised or parametric (an elliptical Sersic profile).
        regularisation: of a pixelised source: curvature or gradient.
        nodes: along a side of a pixelised source; None chooses by the number of pixels.
        theta_E: guess of the Einstein radius, arcsec; None takes it from the positions, or else from the image.
        centre: of the lens, arcsec; None says that it is in the middle.
        annulus: radii in arcsec between which pixels are fitted; None takes 0 (of a multi-Gaussian lens: half the ring's radius)
            to 1.5 times the ring's radius, of an image with a mask all that the mask leaves.
        starts: random starting points.
        seed: of them.
        subpixels: rays along a side of a pixel.
        point_images: images of a point source: positions `[[x, y], ...]` in arcsec, how many there are, "auto"; None for no such.
        point_sigma: how closely they meet in the source plane, as an offset in the image plane, arcsec; None takes 0.004.
        psf_error: relative error of the PSF, which adds to the noise where points shine; None measures it.

    Raises:
        InputError: a name that is not known, or a number out of its range.
    """

    model: str = "epl+shear"
    light: str = "mge"
    source: str = "pixelised"
    regularisation: str = "curvature"
    nodes: int | None = None
    theta_E: float | None = None
    centre: tuple[float, float] | None = None
    annulus: tuple[float, float] | None = None
    starts: int = 6
    seed: int = 0
    subpixels: int = 2
    point_images: str | int | list[list[float]] | None = None
    point_sigma: float | None = None
    psf_error: float | None = None

    def __post_init__(self) -> None:
        Macro(self.model)
        if self.light not in LIGHTS_OF_LENS:
            raise unknown("lens light", self.light, LIGHTS_OF_LENS)
        if self.regularisation not in REGULARISATIONS:
            raise unknown("regularisation", self.regularisation, REGULARISATIONS)
        if self.source not in SOURCES:
            raise unknown("source", self.source, SOURCES)
        if self.starts < 1:
            raise InputError(f"{self.starts} starts: give at least one")
        if not 1 <= self.subpixels <= 5:
            raise InputError(f"{self.subpixels} rays along a side of a pixel are outside 1 to 5: choose a number in between")
        if self.point_images is None and (self.point_sigma is not None or self.psf_error is not None):
            raise InputError("--point-sigma and --psf-error are about --point-images: give that option, or leave them out")
        if self.nodes is not None and not 4 <= self.nodes <= 60:
            raise InputError(f"{self.nodes} source nodes along a side are outside 4 to 60: choose a number in between")
        if self.theta_E is not None and not 0 < self.theta_E < np.inf:
            raise InputError(f'Einstein radius {self.theta_E:g}": the guess must be above 0; give it in arcsec')
        if self.centre is not None and not np.isfinite(self.centre).all():
            raise InputError(f"centre {self.centre[0]:g},{self.centre[1]:g}: give two numbers, x and y in arcsec from the middle")
        if self.annulus is not None and not 0 <= self.annulus[0] < self.annulus[1] < np.inf:
            raise InputError(f"annulus {self.annulus}: give the inner radius first, then a larger one, in arcsec")


def fit_lens(
    image: np.ndarray,
    noise: np.ndarray,
    psf: np.ndarray,
    mask: np.ndarray | None = None,
    pixel_scale: float = 0.05,
    *,
    psf_oversampling: int = 1,
    positions: Positions | None = None,
    choices: Choices = Choices(),
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
        choices: how to model it.
        log: receives a sentence for each stage.

    Returns:
        The best fit, with a Gaussian approximation of its errors; `darklens.infer.sample_lens` samples the posterior.

    Raises:
        InputError: data that cannot be fitted, with the remedy.
        WorkError: no start led anywhere.
    """
    spread = PointSpread(np.asarray(psf, float), psf_oversampling)
    observation, theta_E, centre, points = _prepared(image, noise, spread, mask, pixel_scale, choices, positions)
    positions = positions if points is None else points.seen
    log(f'fitting {observation.size} pixels; the ring is at about {theta_E:.2f}"')
    model = _model(observation, choices, theta_E, centre, points)
    starts = starts_for(model, theta_E, centre, choices.starts, choices.seed, positions)
    if len(starts) < choices.starts:
        log(f"only {len(starts)} of {choices.starts} starts: the positions rule the others out")
    candidates = _descended(_coarse(model, positions), starts, choices, theta_E, log)
    together = _together(candidates, positions, theta_E)
    best = max([found for found in together if not imaged_once(found)] or together, key=lambda f: f.evidence)
    final = replace(_refocused(model, best, choices, mask), positions=positions if positions and positions.in_likelihood else None)
    best = _refined(final, best, np.asarray(noise, float), choices, log)
    return LensFit(best, choices, tuple(sorted((f.evidence for f in candidates), reverse=True)), None if points else positions)


def _descended(model: Model, starts: list[np.ndarray], choices: Choices, theta_E: float, log: Log) -> list[Found]:
    """Return where the starts lead to."""
    candidates = []
    for number, eta in enumerate(starts):
        found = _try(model, eta, choices, theta_E, number)
        if found is not None:
            candidates.append(found)
            log(f"start {number + 1} of {len(starts)}: ln E {found.evidence:.1f}, {_told(found)}")
    if not candidates:
        raise WorkError("none of the starts led to a model: say how large the ring is with --theta-e, or give more --starts")
    return candidates


def _together(candidates: list[Found], positions: Positions | None, theta_E: float) -> list[Found]:
    """Return the descents that ended with the images of each source together."""
    if positions is None:
        return candidates
    scatter, limit = [_scatter(found, positions) for found in candidates], positions.allowed(theta_E)
    kept = [found for found, far in zip(candidates, scatter, strict=True) if far <= limit]
    if not kept:
        raise WorkError(
            f'every start ended with the positions at least {min(scatter):.3g}" apart in the source plane (limit {limit:.3g}"): '
            "check that they are images of one point, leave out --theta-e so that they give it, or raise --position-tolerance"
        )
    return kept


def _scatter(found: Found, positions: Positions) -> float:
    return float(positions.scatter(*found.model.traced(found.model.named(found.eta), *positions.images)))


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
    """Return the model with one ray a pixel, for the first descents, in which positions count."""
    coarse = replace(model, observation=replace(model.observation, subpixels=1))
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


def _try(model: Model, eta: np.ndarray, choices: Choices, theta_E: float, number: int) -> Found | None:
    try:
        if choices.source == "parametric":
            return descend(model, eta, STRENGTH, iterations=25)
        grid = ring_grid(model, eta, COARSE, choices.regularisation, theta_E)
        return descend(model.on(grid), eta, STRENGTH, iterations=10)
    except np.linalg.LinAlgError:  # a start so far off that its columns are degenerate
        return None


def _refined(model: Model, best: Found, noise: np.ndarray, choices: Choices, log: Log) -> Found:
    """Go on from the best start with all rays, and with sources adapted to what has been found."""
    if choices.source == "parametric":
        for _ in range(2 if model.points is not None else 1):
            best = descend(_with_psf_error(model, best, noise, log), best.eta, STRENGTH, iterations=60)
        return best
    side = choices.nodes or int(np.clip((model.observation.size / PIXELS_A_NODE) ** 0.5, *NODES))
    for number in range(ROUNDS):
        louder = _with_psf_error(model, best, noise, log)
        on_grid = louder.on(image_grid(louder, best, side, choices.regularisation))
        many = 12 if number < 2 else 30
        best = descend(on_grid, best.eta, best.solution.strength, iterations=many, by_evidence=number >= 2)
        log(f"{side}x{side} source nodes: ln E {best.evidence:.1f}, {_told(best)}, {best.steps} steps")
        if number >= 2 and best.converged:
            break
    return best


def _with_psf_error(model: Model, found: Found, noise: np.ndarray, log: Log) -> Model:
    """Return the model with the noise that the PSF's error makes of the points' light, as what was found leaves it over."""
    points, before = model.points, found.model
    if points is None:
        return model
    place = dict(zip(found.model.names, found.eta.tolist(), strict=True))
    shed = points.shed(place, found.solution.x[before.blocks["points"]], before.observation)
    seen = before.observation.mask
    left_over = found.solution.residual / before.observation.weight
    points = points.with_error_of(left_over, noise[seen], shed[seen])
    log(f"PSF error {100 * points.psf_error:.2g}% of the light of the point images")
    return replace(model, points=points, observation=replace(model.observation, noise=points.louder(noise, shed)))


def _told(found: Found) -> str:
    chi2, positions = found.solution.chi2 / found.model.observation.size, found.model.positions
    if found.model.points is not None:
        positions = found.model.points.at(found.model.named(found.eta))
    apart = "" if positions is None else f', positions {_scatter(found, positions):.3f}" apart'
    return f'theta_E {found.eta[found.model.names.index("theta_E")]:.4f}", chi^2 a pixel {chi2:.3f}{apart}'


def ring_grid(model: Model, eta: np.ndarray, nodes: int, regularisation: str, theta_E: float) -> SourceGrid:
    """Return a source grid where rays from around the ring end."""
    x, y = (t.mean(-1).numpy() for t in model.observation.rays)
    value = model.named(eta)
    r = np.hypot(x - float(value["center_x"]), y - float(value["center_y"]))
    bx, by = (b.mean(-1).numpy() for b in model.traced(value))
    weight = ((r > 0.7 * theta_E) & (r < 1.3 * theta_E)).astype(float)
    return adapted(bx, by, weight, nodes, regularisation)


def image_grid(model: Model, found: Found, nodes: int, regularisation: str) -> SourceGrid:
    """Return a source grid where rays from the bright parts of the lensed source end, as found before."""
    observation, before = model.observation, found.model
    bx, by = (b.mean(-1) for b in model.traced(model.named(found.eta)))
    brightness = before.source(found.solution.x, found.eta, bx, by).numpy() * observation.pixel_scale**2
    noise = np.median(observation.noise[observation.mask])
    weight = np.clip(brightness / noise - 0.5, 0, 3)
    if weight.sum() < nodes:
        raise WorkError("the source that was found is lost in the noise: check the noise map, or guess the ring with --theta-e")
    return adapted(bx.numpy(), by.numpy(), weight, nodes, regularisation)
