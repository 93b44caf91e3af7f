"""What a fit of one lens leaves behind: numbers, images, samples and pictures in a folder."""

from __future__ import annotations

import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.posterior_figures import corner_figure
from darklens.evaluate.style import COLOURS, INK, SKY_MAP, new_figure, save_png
from darklens.files import read_json, write_atomic, write_json
from darklens.fit.one_lens import LensFit
from darklens.fit.one_lens.points import Points
from darklens.infer.lens_points import point_summary
from darklens.infer.lens_posterior import Posterior
from darklens.lensing import EPL, SIE, Mass, SersicEllipse, Shear
from darklens.simulate import Instrument, Scene
from darklens.simulate.interop.coolest import lensed_points, write_coolest
from darklens.simulate.psf import TabulatedPSF
from darklens.units import UNITS

SUMMARY, IMAGES, SAMPLES, TEMPLATE = "fit.json", "fit.fits", "samples.parquet", "coolest.json"
PICTURE, CORNER = "fit.png", "corner.png"
SOURCE_SIDE = 120
RESIDUAL_LIMIT = 5.0
_LINEAR = ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT")


def prepare(out: Path, force: bool) -> None:
    """Make room for a fit.

    Raises:
        InputError: the folder holds something and shall not be replaced, or something that is no fit.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not force:
            raise InputError(f"{out} is not empty: choose another folder with --out, or replace it with --force")
        if not (out / SUMMARY).is_file():
            raise InputError(f"{out} holds something other than a fit: choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def write_lens(
    out: Path, fit: LensFit, posterior: Posterior, image: np.ndarray, about: dict[str, Any], header: Any = None
) -> dict[str, Any]:
    """Write `fit.json`, `fit.fits`, `coolest.json`, the figures and, where there are any, the samples.

    Args:
        out: folder that is there.
        fit: the best fit.
        posterior: its intervals.
        image: `(H, W)` that was fitted.
        about: what else to note in `fit.json`.
        header: of the image's FITS file, whose celestial coordinates are taken over; None has offsets in arcsec.

    Returns:
        The content of `fit.json`.
    """
    content = summary(fit, posterior) | about
    write_fits(out / IMAGES, fit, header)
    _picture(out / PICTURE, fit, image, content)
    if posterior.samples is not None:
        _samples(out / SAMPLES, posterior)
        _corner(out / CORNER, posterior)
    left_out = _coolest(out, fit, posterior)
    content["files"] = [*sorted(path.name for path in out.iterdir()), SUMMARY]
    content["coolest_leaves_out"] = left_out
    write_json(out / SUMMARY, content)
    return content


def summary(fit: LensFit, posterior: Posterior) -> dict[str, Any]:
    """Return the numbers of a fit: every parameter with its intervals, the quality of the fit, the state of the chains."""
    chains, grid = posterior.samples, fit.model.grid
    return {
        **{name: posterior.intervals[name] for name in posterior.intervals},
        "converged": posterior.converged,
        "why": posterior.why,
        "intervals": posterior.kind,
        "reduced_chi2": fit.reduced_chi2,
        "chi2": fit.chi2,
        "dof": fit.dof,
        "pixels": fit.model.observation.size,
        "chi2_per_pixel": fit.chi2 / fit.model.observation.size,
        "ln_evidence": fit.evidence,
        "best_fit": fit.parameters,
        "model": fit.choices.model,
        "light": fit.choices.light,
        "source": fit.choices.source,
        "source_nodes": None if grid is None else list(grid.shape),
        "regularisation": None if grid is None else _regularisation(fit),
        "effective_amplitudes": fit.found.solution.effective_parameters(),
        "ln_evidence_of_starts": list(fit.starts),
        "positions": fit.report_of_positions(),
        "point_images": point_summary(fit, posterior),
        "chains": None
        if chains is None
        else {
            "samples": int(chains.flat.shape[0]),
            "r_hat": dict(zip(chains.names, chains.r_hat.tolist(), strict=True)),
            "ess": dict(zip(chains.names, chains.ess.tolist(), strict=True)),
            "accepted": chains.accepted,
            "evaluations": chains.evaluations,
        },
    }


def _regularisation(fit: LensFit) -> dict[str, Any]:
    """Return the prior of a source on pixels, and how far the parameters move on other grids."""
    grid = fit.model.grid
    assert grid is not None
    moved = dict(zip(fit.names, np.sqrt(np.diag(fit.scatter)).tolist(), strict=True))
    return {
        "kind": grid.regularisation,
        "lambda": fit.found.solution.strength,
        "least_freedom": 1.0 if grid.freedom is None else float(grid.freedom.min() / grid.freedom.max()),
        "other_grids": 0 if fit.others is None else len(fit.others),
        "scatter_of_grids": moved,
    }


def write_fits(path: Path, fit: LensFit, header: Any = None) -> None:
    """Write image-plane and source-plane maps as one FITS file.

    Extensions MODEL, RESIDUAL (in units of the noise), LENS_LIGHT, LENSED_SOURCE and, where there are some, POINT_IMAGES with the
    coordinates of the image; SOURCE on even pixels of the source plane, in surface brightness (flux/arcsec^2), with offsets in
    arcsec.
    """
    from astropy.io import fits

    observation = fit.model.observation
    sky = _celestial(header) or _offsets(observation.shape, observation.pixel_scale)
    planes = {
        "MODEL": fit.model_image,
        "RESIDUAL": fit.residual,
        "LENS_LIGHT": fit.lens_light_image,
        "LENSED_SOURCE": fit.source_image,
    } | ({} if fit.model.points is None else {"POINT_IMAGES": fit.point_image})
    hdus = [fits.PrimaryHDU()]
    for name, plane in planes.items():
        hdus.append(fits.ImageHDU(plane.astype(np.float32), header=_header(sky), name=name))
    source, (left, right, bottom, top) = fit.source(SOURCE_SIDE)
    own = _offsets(source.shape, (right - left) / SOURCE_SIDE, ((left + right) / 2, (bottom + top) / 2))
    hdus.append(fits.ImageHDU(source.astype(np.float32), header=_header(own | {"BUNIT": "flux/arcsec2"}), name="SOURCE"))
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    write_atomic(path, buffer.getvalue())


def _header(cards: dict[str, Any]) -> Any:
    from astropy.io import fits

    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    return header


def _offsets(shape: tuple[int, int], scale: float, centre: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    for axis, (name, size, value) in enumerate(zip("XY", shape[::-1], centre, strict=True), start=1):
        values = (name, "arcsec", (size + 1) / 2, value, scale)
        cards |= {f"{key}{axis}": v for key, v in zip(_LINEAR, values, strict=True)}
    return cards


def _celestial(header: Any) -> dict[str, Any] | None:
    from astropy.wcs import WCS

    if header is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = WCS(header)
        return dict(found.to_header()) if found.has_celestial else None


def _picture(path: Path, fit: LensFit, image: np.ndarray, content: dict[str, Any]) -> None:
    observation = fit.model.observation
    rows, columns = np.nonzero(observation.mask)
    margin = 3
    cut = tuple(slice(max(0, a.min() - margin), a.max() + margin + 1) for a in (rows, columns))
    x, y = observation.coordinates()
    half = 0.5 * observation.pixel_scale
    extent = (x[cut].min() - half, x[cut].max() + half, y[cut].min() - half, y[cut].max() + half)
    figure = new_figure(13.6, 3.1)
    axes = figure.subplots(1, 5)
    points = content["point_images"]
    lensed = np.where(observation.mask, image - np.nan_to_num(fit.lens_light_image) - np.nan_to_num(fit.point_image), np.nan)
    top = float(np.nanpercentile(fit.source_image, 99.7))
    shown = [
        (
            np.where(observation.mask, image, np.nan),
            "image",
            {"cmap": SKY_MAP, "vmin": 0.0, "vmax": float(np.nanpercentile(image[observation.mask], 99))},
        ),
        (lensed, "image less lens light" + (" and points" if points else ""), {"cmap": SKY_MAP, "vmin": -0.1 * top, "vmax": top}),
        (fit.source_image, "model of the lensed source", {"cmap": SKY_MAP, "vmin": -0.1 * top, "vmax": top}),
        (np.where(observation.mask, fit.residual, np.nan), "", {"cmap": "RdBu_r", "vmin": -RESIDUAL_LIMIT, "vmax": RESIDUAL_LIMIT}),
    ]
    for ax, (plane, title, how) in zip(axes, shown, strict=False):
        drawn = ax.imshow(plane[cut], origin="lower", extent=extent, **how)
        ax.set_title(title or rf"residual / sigma, $\chi^2_\nu$ = {content['reduced_chi2']:.3f}", fontsize=9, color=INK, loc="left")
    figure.colorbar(drawn, ax=axes[3], shrink=0.8)
    source, ends = fit.source(SOURCE_SIDE)
    axes[4].imshow(source, origin="lower", extent=ends, cmap=SKY_MAP)
    axes[4].set_title("source", fontsize=9, color=INK, loc="left")
    if points:
        _mark(axes, points)
    for ax in axes:
        ax.tick_params(labelsize=7, colors=INK)
    theta = content["theta_E"]
    error = "" if theta["low"] is None else f" (+{theta['high'] - theta['value']:.4f} -{theta['value'] - theta['low']:.4f})"
    figure.suptitle(
        f'{fit.choices.model}, theta_E = {theta["value"]:.4f}"{error}' + ("" if content["converged"] else ", NOT CONVERGED"),
        fontsize=10, color=INK if content["converged"] else COLOURS[1], x=0.01, ha="left",
    )  # fmt: skip
    save_png(figure, path)


def _mark(axes: Any, points: dict[str, Any]) -> None:
    """Draw where the point images are, where the lens equation puts them, and where their source is."""
    where = [(image["x"]["value"], image["y"]["value"]) for image in points["images"]]
    for k, place in enumerate(where, start=1):
        axes[0].annotate(str(k), place, xytext=(4, 4), textcoords="offset points", fontsize=7, color="white")
    for ax in axes[:4]:
        dark = "white" if ax is not axes[3] else INK
        ax.plot(*zip(*where, strict=True), "+", color=dark, markersize=7, markeredgewidth=0.8)
    predicted = [image["predicted"] for image in points["images"] if image["predicted"] is not None]
    if predicted:
        axes[3].plot(*zip(*predicted, strict=True), "o", markersize=7, markeredgewidth=0.8, fillstyle="none", color=INK)
    axes[4].plot(points["source_x"]["value"], points["source_y"]["value"], "+", color="white", markersize=7, markeredgewidth=0.8)


def _corner(path: Path, posterior: Posterior) -> None:
    samples = posterior.samples
    assert samples is not None
    order = [n for n in ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2") if n in samples.names]
    place = [samples.names.index(n) for n in order]
    title = f"{samples.flat.shape[0]} samples, {samples.values.shape[0]} chains" + ("" if samples.converged else ", NOT CONVERGED")
    figure = corner_figure(samples.flat[:, place], order, UNITS, title)
    save_png(figure, path)


def _samples(path: Path, posterior: Posterior) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    samples = posterior.samples
    assert samples is not None
    chains, each = samples.values.shape[:2]
    columns = {"chain": np.repeat(np.arange(chains), each), "log_density": samples.log_density.ravel()}
    columns |= dict(zip(samples.names, samples.flat.T, strict=True))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    write_atomic(path, buffer.getvalue())


def _coolest(out: Path, fit: LensFit, posterior: Posterior) -> list[str]:
    """Write the lens as a COOLEST template; return what the standard has no place for."""
    value, observation = fit.parameters, fit.model.observation
    shape = value["e1"], value["e2"], value["center_x"], value["center_y"]
    macro: list[Mass] = [EPL(value["theta_E"], value["gamma"], *shape) if "gamma" in value else SIE(value["theta_E"], *shape)]
    if "gamma1" in value:
        macro.append(Shear(value["gamma1"], value["gamma2"]))
    x, lights = fit.found.solution.x, []
    left_out: list[str] = [name for name in ("m3", "m4") if name in fit.model.macro.parts]
    source = _sersics(fit.model.source_light, value, x[: fit.model.source_light.columns]) if fit.model.grid is None else []
    if fit.choices.light.startswith("sersic"):
        lights = _sersics(fit.model.lens_light, value, x[fit.model.blocks["light"]])
    elif fit.choices.light == "mge":
        left_out.append("lens light as Gaussians")
    scene = Scene(tuple(macro), (), tuple(source), ("MAP",), {}, 0, (0,), lens_light=tuple(lights))
    camera = Instrument("", observation.pixel_scale, TabulatedPSF(observation.kernel))
    path = out / TEMPLATE
    write_coolest(scene, path, instrument=camera, shape=observation.shape)
    content = read_json(path)
    content["mode"] = "MAP"
    content["meta"] |= {"left_out": left_out}
    if fit.model.grid is not None:
        _pixelated_source(content, fit)
    if fit.model.points is not None:
        _source_of(content)["light_model"].append(_points(fit.model.points, fit))
    if posterior.kind == "samples":
        _statistics(content, posterior)
    write_json(path, content)
    return left_out


def _sersics(basis: Any, value: dict[str, float], amplitudes: np.ndarray) -> list[SersicEllipse]:
    found = []
    for shape, amp in zip(basis.shapes, amplitudes.tolist(), strict=True):
        own = (value[shape.name(p)] for p in ("R_sersic", "n_sersic", "e1", "e2", "x", "y"))
        found.append(SersicEllipse(amp, *own))
    return found


def _pixelated_source(content: dict[str, Any], fit: LensFit) -> None:
    _, (left, right, bottom, top) = fit.source(SOURCE_SIDE)
    pixels = {
        "field_of_view_x": [left, right],
        "field_of_view_y": [bottom, top],
        "num_pix_x": SOURCE_SIDE,
        "num_pix_y": SOURCE_SIDE,
        "fits_file": {"path": IMAGES, "extension": "SOURCE"},
    }
    _source_of(content)["light_model"] = [{"type": "PixelatedRegularGrid", "parameters": {"pixels": pixels}}]


def _points(points: Points, fit: LensFit) -> dict[str, Any]:
    seen = points.at(fit.model.named(fit.found.eta))
    return lensed_points(np.stack([seen.x, seen.y], 1), fit.point_fluxes()[0])


def _source_of(content: dict[str, Any]) -> dict[str, Any]:
    return next(entity for entity in content["lensing_entities"] if entity["name"] == "source")


def _statistics(content: dict[str, Any], posterior: Posterior) -> None:
    """Add medians and percentiles of what COOLEST and we call by the same name."""
    for entity in content["lensing_entities"]:
        for profile in entity["mass_model"]:
            for name, parameter in profile["parameters"].items():
                if name in ("theta_E", "gamma", "center_x", "center_y") and name in posterior.intervals:
                    found = posterior.intervals[name]
                    stats = {"median": found["value"], "percentile_16th": found["low"], "percentile_84th": found["high"]}
                    parameter["posterior_stats"] = stats
