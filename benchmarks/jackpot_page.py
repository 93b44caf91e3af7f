"""docs/jackpot.md, docs/jackpot-clump.md and their pictures, from what benchmarks.jackpot measured; no figure is typed by hand."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from darklens.files import read_json, write_atomic

FIELD = slice(80, 201)
"""Rows and columns of the picture."""
PLACE, FROM_PAPER, MASS = (-0.651, 1.040), 1.227, 9.55
"""The perturber of Vegetti et al. (2010): place from the lens and its distance, arcsec, and log10 M, M_sun."""
ELSEWHERE = 0.3
"""Arcsec beyond which two ways to model the lens do not mean the same place."""
WALK = """# The Jackpot: a real double ring, from the file to statements

SDSS J0946+1006 is an elliptical galaxy at redshift 0.222 that lenses two sources, one behind the other: a bright inner ring (source
at redshift 0.609) and a faint outer one. The files are HST ACS F814W at 0.05 arcsec a pixel: image, noise map, PSF, and a map of
what to leave out. This page was written by `python -m benchmarks.jackpot FOLDER` from what the commands gave; no figure of theirs
is typed by hand.

## The smooth lens

    darklens fit data.fits --noise noise_map.fits --psf psf.fits --exclude mask_extra_galaxies.fits --pixel-scale 0.05 --out jackpot

This models the inner ring: an elliptical power law with external shear, lens light as two sets of Gaussians, and a source on
pixels, solved for at every step with a regularisation whose strength has the largest evidence. **One source plane is modelled**:
the outer ring lies in the map of what to leave out, and the light of the lens within half an Einstein radius is not fitted.
`--model epl+shear+multipoles` adds boxy and lopsided terms; `--samples 2000` replaces the Gaussian approximation of the errors by
chains, and gives no interval at all if these do not converge.

| | value | 68% interval | published |
|---|---|---|---|
{values}

Reduced chi^2 {chi2:.3f} over {pixels:,} pixels, after {seconds:.0f} seconds of a busy machine ([real fits](real-fits.md), made by
`python -m benchmarks.real_fits`). How to read it:

- The reduced chi^2 is well below one because the noise map is larger than the noise: the corners of the image scatter by
  {scatter:.4f} where the map says {stated:.4f}, a factor of {factor:.2f} in variance, and neighbouring pixels correlate by
  {correlation:.2f}, as drizzled pixels do. So a chi^2 below one is no sign of too good a fit here, and the printed intervals are of
  this noise map.
{spread}
- The slope ({slope:.2f} here; {slopes} there, in that order) is not the {published_slope} of lensing with stellar dynamics: a
  slope from a single ring with a free source leans on the source's prior. Do not read it as a measurement of the halo.

| file | what it holds |
|---|---|
| `fit.json` | every parameter as value, low, high, low95, high95; `converged`; chi^2; evidence; state of the chains |
| `fit.fits` | MODEL, RESIDUAL, LENS_LIGHT, LENSED_SOURCE in the image's coordinates; SOURCE in the source plane |
| `coolest.json` | the lens as a COOLEST template; what the standard has no place for is listed under `meta` |
| `fit.png` | image, lens light taken off, model, residual in units of the noise, source |
| `samples.parquet`, `corner.png` | the chains, with `--samples` |

## The clump

    darklens localise likelihood data.fits --noise noise_map.fits --psf psf.fits --exclude mask_extra_galaxies.fits \\
        --pixel-scale 0.05 --z-lens 0.222 --z-source 0.609 --theta-e 1.39 --out jackpot-clump

![Smooth model, residual, gain of a point mass and sensitivity](jackpot-clump-point.png)

This looks for truncated halos; the picture is of `--clump point`, a point mass.

{verdict}

Every way to model the lens, and the twin: [Where is its clump](jackpot-clump.md).

The same in Python:

    from darklens.fit.one_lens import Choices, fit_lens

    fit = fit_lens(image, noise, psf, mask, 0.05, choices=Choices(model="epl+shear"))
    fit.evidence_with(clump) - fit.evidence     # what a deflector gains, source solved for anew
"""
SPREAD = (
    "The Gaussian interval of the Einstein radius is {interval:.4f} arcsec wide; ways to model the lens, those of the "
    "[search for a clump](jackpot-clump.md), differ by {apart:.4f}: {models}. Where ln E is hundreds below the others, the model "
    "does not suit the source, or its search ended elsewhere. The larger of the two is the honest uncertainty."
)
CLUMP = """# The Jackpot lens: where is the clump?

SDSS J0946+1006 is reported to have a dark perturber of 3.5e9 M_sun (Vegetti et al. 2010) at (-0.651, 1.040) arcsec from the lens,
in the frame of that paper. The file here has no coordinates on the sky, so a place can be compared in its own frame only; the
distance from the lens, 1.227 arcsec, needs no frame. The halo that is fitted is a truncated NFW subhalo of the median concentration
of its mass (`tnfw`), or a point mass (`point`); the published one is a pseudo-Jaffe profile: masses compare to a factor. The noise
map leaves a reduced chi^2 below one: significances in its units are understated. This page was written by

    python -m benchmarks.jackpot FOLDER

and one lens alone is searched by

    darklens localise likelihood data.fits --noise noise_map.fits --psf psf.fits --exclude mask_extra_galaxies.fits \\
        --pixel-scale 0.05 --z-lens 0.222 --z-source 0.609 --theta-e 1.39 --out jackpot

The false alarm is the probability that noise alone reaches the significance anywhere in this lens, from {simulations} simulations
of it without clump, in which the smooth model, its source and its light adjust; it does not hold what the smooth model cannot do,
and below {rarest:.2g} it is extrapolated. The twin is the first smooth model with new noise: what it shows is not there. ln E is
that of the smooth model, and what the evidence gains by the clump, with the smooth mass held and free: a model whose ln E is
hundreds below that of another is not the best of its kind.

"""
HEADER = (
    "| smooth model | ln E | clump | reduced chi^2 | place from the lens | distance | from the published place | log10 M_sun "
    "| significance | false alarm | ln E, held / free | smallest seen at the published place |"
)


def write_pages(out: Path, docs: Path, order: list[str], pixel_scale: float) -> None:
    """Write both pages and their pictures from the variants that were measured.

    Args:
        out: folder of `benchmarks.jackpot`.
        docs: where pages go.
        order: of the variants, the twin last.
        pixel_scale: arcsec.
    """
    found = {row["variant"]: row for row in (read_json(path) for path in out.glob("*.json")) if "variant" in row}
    rows = [found[name] for name in order if name in found]
    if not rows:
        return
    lines = [line for row in rows for line in _lines(row)]
    some = next(iter(rows[0]["clumps"].values()))
    head = [HEADER, "|---" * (HEADER.count("|") - 1) + "|"]
    parts = [
        CLUMP.format(simulations=some["simulations"], rarest=1 / some["simulations"]) + verdict(rows, order[-1]),
        "\n".join([*head, *lines]),
        _pictures(rows[0], out, docs, pixel_scale),
    ]
    write_atomic(docs / "jackpot-clump.md", "\n\n".join(parts) + "\n")
    if (out / "walk.json").is_file():
        _walk(read_json(out / "walk.json"), rows, docs, order[-1])


def _turned(seen: list[dict[str, Any]]) -> str:
    """Return where the published place would be in the frame, turned by quarters or mirrored, that suits what is seen best."""
    if not seen:
        return ""
    found = []
    for mirror in (1, -1):
        x, y = mirror * PLACE[0], PLACE[1]
        for quarters in range(4):
            away = np.array([np.hypot(c["x"] - x, c["y"] - y) for c in seen])
            found.append((-int((away <= ELSEWHERE).sum()), float(np.median(away)), mirror, quarters, (x, y)))
            x, y = -y, x
    within, _, mirror, quarters, place = min(found)
    how = " and ".join(
        part for part in ("mirrored" if mirror < 0 else "", f"turned by {90 * quarters} degrees" if quarters else "") if part
    )
    middle = float(np.median([np.hypot(c["x"] - place[0], c["y"] - place[1]) for c in seen]))
    chance = min(1.0, 8 * 2 * float(np.arcsin(min(1.0, middle / FROM_PAPER))) / (2 * np.pi))
    return (
        f" How the file is turned is not known: {how or 'as it is'} it would have the published one at "
        f"({place[0]:+.2f}, {place[1]:+.2f}), and {-within} of the {len(seen)} detections lie within {ELSEWHERE} arcsec of that, "
        f"the median of all {middle:.2f} away. That frame was chosen afterwards, of eight: one of them comes so near to a place at "
        f"that distance from the lens by chance in {chance:.0%}."
    )


def _lines(row: dict[str, Any]) -> list[str]:
    chi2, ln_E = row["smooth"]["reduced_chi2"], row["smooth"]["ln_E"]
    return [
        f"| {row['variant']} | {ln_E:.0f} | {kind} | {chi2:.3f} | {_place(c)} | {_distance(c):.2f} | {c['from_published']:.2f} | "
        f"{c['log10_m']:.2f} ± {c['errors'][2] or float('nan'):.2f} | {c['significance']:.2f} (seen from {c['threshold']:.2f}) | "
        f"{c['false_alarm']:.2g} | {c['delta_ln_E']:+.1f} / {c['delta_ln_E_free']:+.1f} | {c['sensitivity_there']:.2f} |"
        for kind, c in row["clumps"].items()
    ]


def _place(clump: dict[str, Any]) -> str:
    return f"({clump['x']:+.2f}, {clump['y']:+.2f})"


def _seen(clump: dict[str, Any]) -> bool:
    return clump["significance"] >= clump["threshold"] and clump["delta_ln_E"] > 0


def _distance(clump: dict[str, Any]) -> float:
    return float(np.hypot(clump["x"], clump["y"]))


def verdict(rows: list[dict[str, Any]], twin: str) -> str:
    """Return what the rows say: whether a clump is detected, at one place or several, and what the twin shows."""
    said = []
    real = [row for row in rows if row["variant"] != twin]
    for kind in real[0]["clumps"]:
        clumps = [(row["variant"], row["clumps"][kind]) for row in real if kind in row["clumps"]]
        seen = [(name, c) for name, c in clumps if _seen(c)]
        what = {"tnfw": "A truncated halo", "point": "A point mass"}[kind]
        if not seen:
            said.append(f"{what} is seen in none of {len(clumps)} ways to model the lens.")
            continue
        gaining = [c for _, c in seen if c["delta_ln_E_free"] > 0]
        apart = max(np.hypot(a["x"] - b["x"], a["y"] - b["y"]) for _, a in seen for _, b in seen)
        where, away = ", ".join(_place(c) for _, c in seen), ", ".join(f"{_distance(c):.2f}" for _, c in seen)
        place = "at one place" if apart <= ELSEWHERE else f"at places up to {apart:.2f} arcsec apart"
        masses = [c["log10_m"] for _, c in seen]
        said.append(
            f"{what} is seen in {len(seen)} of {len(clumps)} ways to model the lens"
            + (f" ({', '.join(name for name, _ in seen)})" if len(seen) < len(clumps) else "")
            + f", {place}: {where} arcsec from the lens, {away} away from it, where the published one is {FROM_PAPER}; "
            f"log10 M {min(masses):.2f} to {max(masses):.2f}, where the published one has {MASS}. "
            f"Its evidence is above that of the smooth lens, the smooth mass free, in {len(gaining)} of these."
        )
    near = [c["from_published"] for row in real for c in row["clumps"].values()]
    turned = _turned([c for row in real for c in row["clumps"].values() if _seen(c)])
    said.append(
        f"**The published perturber is {'recovered' if min(near) <= ELSEWHERE else 'not recovered'} at its published place in the "
        f"frame of the file**: the nearest candidate is {min(near):.2f} arcsec from it.{turned if min(near) > ELSEWHERE else ''}"
    )
    least = [row["clumps"]["tnfw"]["sensitivity_there"] for row in real if "tnfw" in row["clumps"]]
    if least:
        word = "would" if min(least) <= MASS else "would not"
        said.append(
            f"A truncated halo of the published mass {word} have been seen there: half of those of log10 M {min(least):.2f} would."
        )
    for row in rows:
        if row["variant"] == twin:
            shown = [f"{k}: {c['significance']:.2f}, seen from {c['threshold']:.2f}" for k, c in row["clumps"].items()]
            above = [k for k, c in row["clumps"].items() if _seen(c)]
            said.append(
                f"The twin without clump shows {'one (' + ', '.join(above) + ')' if above else 'none'} ({'; '.join(shown)})."
            )
    return "\n".join(_bullet(sentence) for sentence in said)


def _bullet(text: str) -> str:
    return fill(text, 132, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _pictures(row: dict[str, Any], out: Path, docs: Path, pixel_scale: float) -> str:
    return "\n\n".join(_picture(row, kind, out, docs, pixel_scale) for kind in row["clumps"])


def _picture(row: dict[str, Any], kind: str, out: Path, docs: Path, pixel_scale: float) -> str:
    from darklens.evaluate.localisation_figures import save_search_figure

    clump, file = row["clumps"][kind], f"jackpot-clump-{kind}.png"
    stem = row["variant"].replace(" ", "-").replace(",", "")
    maps = {name: values[FIELD, FIELD] for name, values in np.load(out / f"{stem}-{kind}.npz").items()}
    centre = (row["smooth"]["parameters"][name][0] for name in ("center_x", "center_y"))
    place = dict(zip(("x", "y"), (clump[k] + c for k, c in zip(("x", "y"), centre, strict=True)), strict=True))
    shown = place | {"log10_m": clump["log10_m"], "detected": _seen(clump)}
    summary = {"threshold": clump["threshold"], "candidates": [shown]}
    image, title = np.nan_to_num(maps["model"]), f"smooth model: {row['variant']}"
    save_search_figure(docs / file, image, maps, summary, pixel_scale=pixel_scale, title=title)
    return f"![Smooth model, residual, gain of a clump ({kind}) and sensitivity]({file})"


def _walk(walk: dict[str, Any], rows: list[dict[str, Any]], docs: Path, twin: str) -> None:
    fit, told = walk["fit"], walk["published"]
    smooth = {row["variant"]: row["smooth"] for row in rows if row["variant"] != twin}
    known = {
        "theta_E": f"{told['theta_E']} ({100 * (fit['theta_E']['value'] / told['theta_E'] - 1):+.1f}%)",
        "gamma": told["gamma"],
    }
    names = {"theta_E": "Einstein radius, arcsec", "gamma": "slope", "e1": "e1", "e2": "e2", "gamma1": "gamma1", "gamma2": "gamma2"}
    values = [
        f"| {title} (`{name}`) | {fit[name]['value']:.4f} | {_interval(fit[name])} | {known.get(name, '')} |"
        for name, title in names.items()
    ]
    models = [f"{of['parameters']['theta_E'][0]:.4f} arcsec ({name}; ln E {of['ln_E']:.0f})" for name, of in smooth.items()]
    radii = [of["parameters"]["theta_E"][0] for of in smooth.values()]
    width = (fit["theta_E"]["high"] or np.nan) - (fit["theta_E"]["low"] or np.nan)
    facts = {
        **walk["noise"],
        "values": "\n".join(values),
        "chi2": fit["reduced_chi2"],
        "pixels": fit["pixels"],
        "seconds": fit["seconds"],
        "spread": _bullet(SPREAD.format(interval=width, apart=max(radii) - min(radii), models=_listed(models))),
        "slope": fit["gamma"]["value"],
        "slopes": _listed([f"{of['parameters']['gamma'][0]:.2f}" for of in smooth.values()]),
        "published_slope": told["gamma"],
        "verdict": verdict(rows, twin),
    }
    write_atomic(docs / "jackpot.md", WALK.format(**facts))


def _interval(number: dict[str, Any]) -> str:
    return "none, it did not converge" if number["low"] is None else f"{number['low']:.4f} to {number['high']:.4f}"


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
