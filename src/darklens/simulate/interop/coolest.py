"""Scenes as COOLEST templates, and back (Galan, Vernardos et al. 2023, JOSS 8(88), 5567): JSON, read and written as data.

COOLEST's frame is ours: arcsec, x to the right, y up, and Einstein and half-light radii on the intermediate axis. Its shapes
are (q, phi) with phi in degrees counter-clockwise from +y, so that with theta = phi + 90 degrees and e = (1-q)/(1+q)
`e1 = e cos 2theta`, `e2 = e sin 2theta`; its shear is (gamma_ext, phi_ext) likewise. Brightness is per arcsec^2. (Packages
whose x is right ascension, such as lenstronomy's converter, turn x round.)

A template has a list of entities with a redshift, each with mass and light. The one that is farthest is the source; its light
is the source, that of all others the lens light; masses lie in one plane before it. Of an unresolved source the standard knows the
images (`LensedPS`): they are written as the lens equation has them, and read as the source which they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from darklens.errors import InputError, unknown
from darklens.files import read_json, write_json
from darklens.lensing import Cosmology, PointSource, magnification, trace
from darklens.simulate.interop.coolest_setting import PIXEL_SCALE, setting
from darklens.simulate.interop.systems import Part, System, scene_of, systems_of

if TYPE_CHECKING:
    from darklens.simulate.instruments import Instrument
    from darklens.simulate.scene import Scene

Numbers = dict[str, float]


def read_coolest(path: str | Path) -> Scene:
    """Read the lens of a COOLEST template.

    A parameter's value is its point estimate, or where that is absent the median of its posterior.

    Args:
        path: the `.json` file.

    Returns:
        A scene of one system, float64; its label is the mode of the template (`MAP`, `MOCK`).

    Raises:
        InputError: the file is no template, has a profile that is not known or a parameter without value, or several lens planes.
    """
    content = read_json(Path(path))
    entities = content.get("lensing_entities")
    if content.get("standard") != "COOLEST" or not isinstance(entities, list) or not entities:
        raise InputError(f"{path} is no COOLEST template with lensing entities: give the .json file of a lens model")
    if not all(isinstance(entity, dict) for entity in entities):
        raise InputError(f"{path} has lensing entities that are no JSON objects: give the .json file of a lens model")
    redshifts = [_number(entity.get("redshift"), f"{path}: redshift of {entity.get('name')}") for entity in entities]
    z_source = max(redshifts)
    system = System(z_source=z_source, label=str(content.get("mode", "")))
    masses, planes, images = [], set(), []
    for entity, z in zip(entities, redshifts, strict=True):
        name = f"{path}: {entity.get('name')}"
        lights = entity.get("light_model")
        images += [(model, name) for model in _models(lights) if model.get("type") == POINTS and z == z_source]
        light = _profiles([model for model in _models(lights) if model.get("type") != POINTS or z < z_source], _LIGHTS, name)
        (system.source if z == z_source else system.lens_light).extend(light)
        found = list(_profiles(entity.get("mass_model"), _MASSES, name)) if z < z_source else []  # at the source it bends nothing
        masses += found
        planes |= {z} if found else set()
    if len(planes) != 1:
        raise InputError(f"{path} has mass at redshifts {sorted(planes)} before the source at {z_source}: one lens plane is read")
    system.z_lens = planes.pop()
    system.add_masses(masses)
    system.point_source = [_common_source(system, model, name) for model, name in images]
    cosmology = _mapping(content.get("cosmology"))
    system.cosmology = Cosmology(**{k: _number(cosmology[k], f"{path}: {k}") for k in ("H0", "Om0") if k in cosmology})
    return scene_of([system])


def write_coolest(
    scene: Scene, path: str | Path, row: int = 0, *, instrument: Instrument | None = None, shape: tuple[int, int] = (64, 64)
) -> Path:
    """Write one system of a scene as a COOLEST template.

    Args:
        scene: B systems.
        path: the `.json` file; a tabulated PSF is written beside it as FITS.
        row: position of the system in the batch.
        instrument: with what it is observed; by default one of 0.05 arcsec a pixel and no PSF.
        shape: rows and columns of the observed field.

    Returns:
        The path.

    Raises:
        InputError: no such row, or a profile that COOLEST does not have.
        WorkError: the file cannot be written.
    """
    path = Path(path)
    if not -len(scene) <= row < len(scene):
        raise InputError(f"row {row} is outside the scene's {len(scene)} systems: choose 0 to {len(scene) - 1}")
    system = next(systems_of(scene.select(np.array([row]))))
    if any(system.planes.values()):
        raise InputError("COOLEST fixes no convention for several lens planes: write scene.smooth(), or leave the planes out")
    half_width = 0.75 * max(shape) * (instrument.pixel_scale if instrument else PIXEL_SCALE)
    sheets = ("Shear", "ConvergenceSheet")  # fields of no galaxy
    lens = [part for part in (*system.macro, *system.substructure) if part.profile not in sheets]
    fields = [part for part in system.macro if part.profile in sheets]
    entities = [
        _entity("lens", "Galaxy", system.z_lens, _written(lens, _MASSES), _written(system.lens_light, _LIGHTS)),
        _entity("source", "Galaxy", system.z_source, [], [*_written(system.source, _LIGHTS), *_images_of(scene, row, half_width)]),
    ]
    if fields:
        entities.insert(1, _entity("field", "MassField", system.z_lens, _written(fields, _MASSES)))
    content = {
        "standard": "COOLEST",
        "mode": "MOCK",
        "coordinates_origin": {"ra": "00h00m00s", "dec": "+00d00m00s"},
        "cosmology": {"H0": system.cosmology.H0, "Om0": system.cosmology.Om0, "astropy_name": "FlatLambdaCDM"},
        "lensing_entities": entities,
        "likelihoods": None,
        "meta": {"written_by": "darklens", "label": system.label, "seed": system.seed, "row": system.row, "truth": system.truth},
        **setting(path, instrument, shape),
    }
    write_json(path, content)
    return path


# ---- shapes: (q, phi) there, (e1, e2) here ----


def _ellipticity(q: float, phi: float) -> Numbers:
    e, angle = (1 - q) / (1 + q), 2 * math.radians(phi + 90)
    return {"e1": e * math.cos(angle), "e2": e * math.sin(angle)}


def _shape(e1: float, e2: float) -> Numbers:
    e = math.hypot(e1, e2)
    return {"q": (1 - e) / (1 + e), "phi": _position_angle(e1, e2)}


def _position_angle(x: float, y: float) -> float:
    """Return half the direction of a spin-2 vector, from +y, in degrees between -90 and 90; zero for no direction."""
    return math.degrees(0.5 * math.atan2(y, x)) % 180 - 90 if x or y else 0.0


def _of_galaxy(renamed: Mapping[str, str]) -> Callable[[Numbers], Numbers]:
    """Return what makes our numbers of theirs: shapes converted, radii and brightness renamed."""

    def read(p: Numbers) -> Numbers:
        plain = {ours: p[theirs] for theirs, ours in renamed.items()}
        return plain | _ellipticity(p["q"], p["phi"]) | {k: p[k] for k in ("center_x", "center_y")}

    return read


def _read_shear(p: Numbers) -> Numbers:
    angle = 2 * math.radians(p["phi_ext"] + 90)
    return {"gamma1": p["gamma_ext"] * math.cos(angle), "gamma2": p["gamma_ext"] * math.sin(angle)}


_RADIUS = {"theta_E": "theta_E"}
_SERSIC = {"I_eff": "amp", "theta_eff": "R_sersic", "n": "n_sersic"}
_SHAPE = ("q", "phi", "center_x", "center_y")

_MASSES: dict[str, tuple[str, tuple[str, ...], Callable[[Numbers], Numbers]]] = {
    "SIE": ("SIE", (*_RADIUS, *_SHAPE), _of_galaxy(_RADIUS)),
    "PEMD": ("EPL", ("theta_E", "gamma", *_SHAPE), _of_galaxy(_RADIUS | {"gamma": "gamma"})),
    "ExternalShear": ("Shear", ("gamma_ext", "phi_ext"), _read_shear),
    "ConvergenceSheet": ("ConvergenceSheet", ("kappa_s",), lambda p: {"kappa": p["kappa_s"]}),
}
_LIGHTS = {"Sersic": ("SersicEllipse", (*_SERSIC, *_SHAPE), _of_galaxy(_SERSIC))}
"""Their profile -> ours, their parameters, and what makes our numbers of theirs."""

LARGEST = 1e300
"""Absolute value beyond which a number is taken for a slip."""
POINTS, _OF_POINTS = "LensedPS", ("ra_list", "dec_list", "amps")
"""Images of an unresolved source."""

_SPECIAL = {"SIS": "SIE", "Sersic": "Sersic"}
"""Round profiles of ours, which are written as their elliptical kin with q = 1."""


def lensed_points(where: Iterable[Iterable[float]], flux: Iterable[float]) -> dict[str, Any]:
    """Return the COOLEST profile of images of a point, x and y in arcsec, with their fluxes."""
    lists = (*(list(map(float, axis)) for axis in zip(*where, strict=True)), list(map(float, flux)))
    return {"type": POINTS, "parameters": {n: {"point_estimate": {"value": v}} for n, v in zip(_OF_POINTS, lists, strict=True)}}


def _images_of(scene: Scene, row: int, half_width: float) -> list[dict[str, Any]]:
    alone = scene.system(row).to(torch.float64)
    found = []
    for one in alone.point_source:
        where, flux = PointSource(one.amp, one.center_x, one.center_y).images(alone.masses(), half_width=half_width)
        if not len(where):
            raise InputError(
                f'a point source at ({float(one.center_x):g}", {float(one.center_y):g}") has no image in the observed field, and '
                "COOLEST has point sources by their images only: give a larger shape, or leave it out"
            )
        found.append(lensed_points(where.tolist(), flux.tolist()))
    return found


def _common_source(system: System, model: Mapping[str, Any], where: str) -> Part:
    """Return the source of images of a point: the mean of where they come from, and the median of their fluxes without a lens."""
    about = _mapping(model.get("parameters"))
    lists = [one for one in (_estimate(about.get(name)) for name in _OF_POINTS) if isinstance(one, list) and one]
    if len(lists) < len(_OF_POINTS) or len({len(one) for one in lists}) > 1:
        raise InputError(f"{where}: {', '.join(_OF_POINTS)} of {POINTS} must be lists of one length: repair them, or take it out")
    known = ([_number(value, f"{where}: {name}") for value in one] for name, one in zip(_OF_POINTS, lists, strict=True))
    x, y, flux = (torch.tensor(one, dtype=torch.float64) for one in known)
    masses = scene_of([system]).system(0).to(torch.float64).masses()
    x, y = x[:, None], y[:, None]
    beta = (float(b.mean()) for b in trace(masses, x, y))
    unlensed = flux / magnification(masses, x, y)[:, 0].abs()
    values = dict(zip(("amp", "center_x", "center_y"), (float(np.median(unlensed)), *beta), strict=True))
    return Part(
        "PointSource", {name: _number(value, f"{where}: {name} of the source of {POINTS}") for name, value in values.items()}
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _models(models: object) -> list[dict[str, Any]]:
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


def _profiles(models: object, known: Mapping[str, tuple], where: str) -> Iterator[Part]:
    for model in _models(models):
        kind = str(model.get("type"))
        if kind not in known:
            raise unknown("COOLEST profile", kind, known)
        ours, names, convert = known[kind]
        parameters = _mapping(model.get("parameters"))
        yield Part(ours, convert({name: _value(parameters.get(name), f"{where}: {name} of {kind}") for name in names}))


def _value(parameter: object, where: str) -> float:
    return _number(_estimate(parameter), where)


def _estimate(parameter: object) -> object:
    """Return what a parameter says of its value: the point estimate, or the median where there is none."""
    about = _mapping(parameter)
    estimate = _mapping(about.get("point_estimate")).get("value")
    return estimate if estimate is not None else _mapping(about.get("posterior_stats")).get("median")


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:  # nor is NaN
        told = f"an integer of {value.bit_length()} bits" if isinstance(value, int) and abs(value) > LARGEST else repr(value)
        raise InputError(f"{where} is {told}, not a finite number: give it a value, or take the profile out")
    return float(value)


def _written(parts: Iterable[Part], known: Mapping[str, tuple]) -> list[dict[str, Any]]:
    ours = {names[0]: theirs for theirs, names in known.items()} | {k: v for k, v in _SPECIAL.items() if v in known}
    written = []
    for part in parts:
        if part.profile not in ours:
            raise InputError(f"COOLEST has no counterpart of {part.profile}: it has those of {', '.join(ours)}, so leave it out")
        values = _theirs(part.values)  # type: ignore[arg-type]  # those that COOLEST has are of numbers alone
        parameters = {name: {"point_estimate": {"value": value}} for name, value in values.items()}
        written.append({"type": ours[part.profile], "parameters": parameters})
    return written


def _theirs(values: Numbers) -> Numbers:
    """Return the parameters of any profile under COOLEST's names."""
    if "gamma1" in values:
        g1, g2 = values["gamma1"], values["gamma2"]
        return {"gamma_ext": math.hypot(g1, g2), "phi_ext": _position_angle(g1, g2)}
    if "kappa" in values:
        if values.get("center_x") or values.get("center_y"):
            raise InputError(
                "COOLEST's ConvergenceSheet is about the origin: put its centre to (0, 0), which only shifts the source"
            )
        return {"kappa_s": values["kappa"]}
    renamed = {ours: theirs for theirs, ours in _SERSIC.items()}
    plain = {renamed.get(k, k): v for k, v in values.items() if k not in ("e1", "e2")}
    return plain | _shape(values.get("e1", 0.0), values.get("e2", 0.0))


def _entity(name: str, kind: str, redshift: float, masses: list[dict], lights: list[dict] | None = None) -> dict[str, Any]:
    entity = {"name": name, "type": kind, "redshift": redshift, "mass_model": masses}
    return entity if lights is None else entity | {"light_model": lights}
