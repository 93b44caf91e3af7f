"""Scenes as lenstronomy's keyword arguments, and back; lenstronomy itself is not needed for either.

The conventions are the same (arcsec, x to the right, ellipticity e1, e2, Einstein radii on the intermediate axis, reduced
deflections, brightness per arcsec^2), so a profile differs in its name and in the names of some parameters: `MASS_NAMES`,
`LIGHT_NAMES` and `RENAMED` are all there is. Adding a profile is one line. What comes in is looked up in these tables and
nothing else is done with it.

A system is a dictionary:

    kwargs_model       lens_model_list, source_light_model_list, lens_light_model_list, point_source_model_list, z_lens,
                       z_source, and for several planes multi_plane, lens_redshift_list: as `create_class_instances` takes it
    kwargs_lens, kwargs_source, kwargs_lens_light, kwargs_ps
    cosmology          H0, Om0, Ob0, for `FlatLambdaCDM`
    darklens           label, truth, seed, row

Read is also a dictionary with the contents of `kwargs_model` beside the others; all but `lens_model_list` and `kwargs_lens` may
be absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from darklens.errors import InputError, unknown
from darklens.lensing import Cosmology
from darklens.simulate.interop.systems import Part, System, known_profiles, scene_of, systems_of

if TYPE_CHECKING:
    from darklens.simulate.scene import Scene

MASS_NAMES = {
    "SIS": "SIS",
    "SIE": "SIE",
    "EPL": "EPL",
    "Shear": "SHEAR",
    "PointMass": "POINT_MASS",
    "NFW": "NFW",
    "TNFW": "TNFW",
    "CoredTNFW": "TNFWC",
    "PseudoJaffe": "PJAFFE",
    "ConvergenceSheet": "CONVERGENCE",
    "Multipole": "MULTIPOLE",
}
LIGHT_NAMES = {
    "Sersic": "SERSIC",
    "SersicEllipse": "SERSIC_ELLIPSE",
    "CoreSersic": "CORE_SERSIC",
    "Gaussian": "GAUSSIAN",
    "GaussianEllipse": "GAUSSIAN_ELLIPSE",
}
POINT_NAMES = {"PointSource": "SOURCE_POSITION"}
SYNONYMS = {"EPL_NUMBA": "EPL"}
"""Other names of lenstronomy's for the same profile, which are read."""

RENAMED = {"ConvergenceSheet": {"center_x": "ra_0", "center_y": "dec_0"}}
"""Profile -> our name of a parameter -> lenstronomy's, where they differ."""

ORIGIN = {"SHEAR": ("ra_0", "dec_0")}
"""Profiles about an origin that lenstronomy lets one move. Ours are about zero; another origin only shifts the whole source."""

CENTER = ("center_x", "center_y")
"""What may be left out, and is zero then."""

GROUPS = ("kwargs_lens", "kwargs_source", "kwargs_lens_light", "kwargs_ps")


def to_lenstronomy(scene: Scene, *, vortex_points: int | None = None) -> list[dict[str, Any]]:
    """Return every system of a scene as lenstronomy's keyword arguments.

    Args:
        scene: B systems.
        vortex_points: lenstronomy has no uniform line of mass: write a vortex as a row of so many point masses.

    Returns:
        B dictionaries of numbers, texts and lists; see the module.

    Raises:
        InputError: a profile that lenstronomy does not have.
    """
    return [_written(system, vortex_points) for system in systems_of(scene)]


def from_lenstronomy(systems: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Scene:
    """Make a scene of lenstronomy's keyword arguments.

    Point masses and truncated NFW halos of the main plane become substructure, unless there is nothing else.

    Args:
        systems: one system or several of the same profiles; see the module.

    Raises:
        InputError: a profile that is not known, a parameter too many or too few or that is no number, or systems that differ.
    """
    systems = [systems] if isinstance(systems, Mapping) else list(systems)
    return scene_of([_read(system, row) for row, system in enumerate(systems)])


def _written(system: System, vortex_points: int | None) -> dict[str, Any]:
    main = [part for p in (*system.macro, *system.substructure) for part in _points(p, vortex_points)]
    planes = [(z, part) for z, parts in system.planes.items() for part in parts]
    lenses = [(system.z_lens, part) for part in main] + planes
    model: dict[str, Any] = {
        "lens_model_list": [_name(part, MASS_NAMES) for _, part in lenses],
        "source_light_model_list": [_name(part, LIGHT_NAMES) for part in system.source],
        "lens_light_model_list": [_name(part, LIGHT_NAMES) for part in system.lens_light],
        "point_source_model_list": [_name(part, POINT_NAMES) for part in system.point_source],
        "z_lens": system.z_lens,
        "z_source": system.z_source,
    }
    if planes:
        model |= {"multi_plane": True, "lens_redshift_list": [z for z, _ in lenses]}
    if system.point_source:
        model |= {"fixed_magnification_list": [True] * len(system.point_source)}
    parts = ([part for _, part in lenses], system.source, system.lens_light, system.point_source)
    about = {"label": system.label, "truth": system.truth, "seed": system.seed, "row": system.row}
    return {
        "kwargs_model": model,
        **{group: [_arguments(part) for part in some] for group, some in zip(GROUPS, parts, strict=True)},
        "cosmology": asdict(system.cosmology),
        "darklens": about,
    }


def _name(part: Part, names: Mapping[str, str]) -> str:
    if part.profile not in names:
        remedy = "; give vortex_points to write it as a row of point masses" if part.profile == "Vortex" else ""
        raise InputError(f"lenstronomy has no counterpart of {part.profile}: leave it out{remedy}")
    return names[part.profile]


def _arguments(part: Part) -> dict[str, Any]:
    renamed = RENAMED.get(part.profile, {})
    return {renamed.get(name, name): value for name, value in part.values.items()}


def _points(part: Part, n: int | None) -> list[Part]:
    """Return a vortex as the middles of n equal pieces of its string, each with its share of the mass; else the part itself."""
    if part.profile != "Vortex" or n is None:
        return [part]
    if n < 1:
        raise InputError(f"a vortex of {n} point masses is none: give vortex_points of 1 or more")
    v = {name: float(value) for name, value in part.values.items()}
    along = v["half_length"] * ((2 * np.arange(n) + 1) / n - 1)
    x, y = v["center_x"] + along * math.cos(v["angle"]), v["center_y"] + along * math.sin(v["angle"])
    theta_E = v["theta_v"] / math.sqrt(n)
    return [Part("PointMass", {"theta_E": theta_E, "center_x": float(a), "center_y": float(b)}) for a, b in zip(x, y, strict=True)]


def _read(given: Mapping[str, Any], row: int) -> System:
    model = given.get("kwargs_model", given)
    if not isinstance(model, Mapping) or "lens_model_list" not in model:
        raise InputError(f"system {row} has no lens_model_list: give it in kwargs_model, or beside kwargs_lens")
    lists = ("lens_model_list", "source_light_model_list", "lens_light_model_list", "point_source_model_list")
    tables = (MASS_NAMES, LIGHT_NAMES, LIGHT_NAMES, POINT_NAMES)
    lenses, source, light, points = (
        _profiles(model.get(names) or [], given.get(group) or [], table, group)
        for names, group, table in zip(lists, GROUPS, tables, strict=True)
    )
    redshifts = model.get("lens_redshift_list") if model.get("multi_plane") else None
    about = given.get("darklens") or {}
    system = System(
        source=source,
        lens_light=light,
        point_source=points,
        z_lens=_redshift(model.get("z_lens") or (redshifts[0] if redshifts else None), "z_lens", System.z_lens),
        z_source=_redshift(model.get("z_source"), "z_source", System.z_source),
        cosmology=_cosmology(given.get("cosmology") or {}),
        label=str(about.get("label", "")),
        truth=dict(about.get("truth") or {}),
        seed=int(about.get("seed", 0)),
        row=int(about.get("row", row)),
    )
    _place(system, lenses, redshifts)
    return system


def _place(system: System, lenses: list[Part], redshifts: Sequence[float] | None) -> None:
    """Sort masses into the main plane and the others."""
    if redshifts is None:
        system.add_masses(lenses)
        return
    if len(redshifts) != len(lenses):
        raise InputError(f"lens_redshift_list has {len(redshifts)} redshifts for {len(lenses)} masses: give one each")
    system.add_masses(part for z, part in zip(redshifts, lenses, strict=True) if z == system.z_lens)
    for z, part in zip(redshifts, lenses, strict=True):
        if z != system.z_lens:
            system.planes.setdefault(float(z), []).append(part)


def _cosmology(given: Mapping[str, Any]) -> Cosmology:
    names = [f.name for f in fields(Cosmology)]
    if extra := sorted(set(given) - set(names)):
        raise InputError(f"cosmology has no parameter {extra[0]!r}: give some of {', '.join(names)}")
    return Cosmology(**{name: _number(value, f"cosmology: {name}") for name, value in given.items()})


def _redshift(value: object, name: str, default: float) -> float:
    if value is None:
        return default
    if not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
        raise InputError(f"{name} = {value!r} is no redshift: give a number of 0 or more")
    return float(value)


def _profiles(names: Sequence[str], arguments: Sequence[Mapping], table: Mapping[str, str], group: str) -> list[Part]:
    if len(names) != len(arguments):
        raise InputError(f"{group} has {len(arguments)} entries for {len(names)} profiles: give one for each")
    return [_part(name, given, table, f"{group}[{i}]") for i, (name, given) in enumerate(zip(names, arguments, strict=True))]


def _part(theirs: str, given: Mapping[str, Any], table: Mapping[str, str], where: str) -> Part:
    """Look up a profile and its parameters."""
    profiles = known_profiles()
    known = {name: ours for ours, name in table.items() if ours in profiles}
    known |= {name: known[same] for name, same in SYNONYMS.items() if same in known}
    if not isinstance(theirs, str) or theirs not in known:
        raise unknown("lenstronomy profile", str(theirs), known)
    if not isinstance(given, Mapping):
        raise InputError(f"{where} is {given!r}: give the dictionary of the parameters of {theirs}")
    ours = known[theirs]
    given = _without_origin(theirs, given, where)
    needed = {f.name: f.default is MISSING and f.name not in CENTER for f in fields(profiles[ours])}
    names = {name: RENAMED.get(ours, {}).get(name, name) for name in needed}
    if extra := sorted(set(given) - set(names.values())):
        raise InputError(f"{where}: {theirs} has no parameter {extra[0]!r}: its parameters are {', '.join(names.values())}")
    values = {f: _number(given[name], f"{where}: {name}") for f, name in names.items() if name in given}
    if missing := [names[f] for f, due in needed.items() if due and f not in values]:
        raise InputError(f"{where}: {theirs} lacks {', '.join(missing)}: give a number for each")
    return Part(ours, dict.fromkeys(set(CENTER) & set(needed), 0.0) | values)


def _without_origin(theirs: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    names = ORIGIN.get(theirs, ())
    for name in names:
        if given.get(name, 0) != 0:
            raise InputError(
                f"{where}: {theirs} about {name} = {given[name]}: only about 0, so shift the source by its deflection there"
            )
    return {name: value for name, value in given.items() if name not in names}


def _number(value: object, where: str) -> float:
    plain = value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise InputError(f"{where} = {value!r} is no number: give one")
    if not math.isfinite(plain):
        raise InputError(f"{where} = {value!r} is not finite: give a finite number")
    return float(plain)
