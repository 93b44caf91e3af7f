"""Real lenses, fitted by the command, and lenses whose truth, or whose models by five other codes, are public.

    python -m benchmarks.real_fits LENSES [--reference FIVE_CODES] [--only NAME ...] [--out runs/real-fits]

LENSES is the folder of the lenses, FIVE_CODES that of the mocks that five codes modelled; each fit goes to a folder of its own, and
its row, with the exact command, to `docs/real-fits.json`, from which `docs/real-fits.md` is written. Rows that are not run again
stay as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import five_codes, tdlmc
from benchmarks.five_codes import interval
from darklens.files import read_json, write_atomic, write_json

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
JACKPOT = "hst-slacs0946+1006"
RING = "jwst-cosmos-web-ring/F150W"
EUCLID = "euclid-q1/102018665_NEG570040238507752998.fits"
LENSES: dict[str, dict[str, Any]] = {
    "SDSS J0946+1006, HST ACS F814W": {
        "image": f"{JACKPOT}/data.fits",
        "files": {
            "noise": f"{JACKPOT}/noise_map.fits",
            "psf": f"{JACKPOT}/psf.fits",
            "exclude": f"{JACKPOT}/mask_extra_galaxies.fits",
        },
        "options": ["--pixel-scale", "0.05"],
        "published": {"theta_E": 1.38, "from": "Bolton et al. 2008, ApJ 682, 964 (SLACS V)"},
    },
    "COSMOS-Web ring, JWST NIRCam F150W": {
        "image": f"{RING}/data.fits",
        "files": {"noise": f"{RING}/noise_map.fits", "psf": f"{RING}/psf.fits"},
        "options": ["--pixel-scale", "0.03"],
        "published": None,
    },
    "Euclid Q1 102018665, VIS": {
        "image": EUCLID,
        "files": {"noise": EUCLID, "psf": EUCLID},
        "options": ["--hdu", "VIS_BGSUB", "--noise-hdu", "VIS_RMS", "--psf-hdu", "VIS_PSF"],
        "published": None,
    },
    **tdlmc.lenses(),
    **{
        f"Five codes, {lens}, {way}": {
            "image": f"{lens}-image.npy",
            "files": {"noise": f"{lens}-noise_map.npy"},
            "options": ["--psf-fwhm", "0.08", "--pixel-scale", "0.08", "--light", "sersic", "--subpixels", "1", *options],
            "published": None,
            "reference": lens,
            "truth": five_codes.truth(lens),
        }
        for lens in five_codes.MODELS
        for way, options in five_codes.WAYS.items()
    },
}


def command(lens: dict[str, Any], folder: Path, out: Path) -> list[str]:
    """Return the words of the command that fits a lens."""
    files = [word for name, file in lens["files"].items() for word in (f"--{name}", str(folder / file))]
    return ["darklens", "fit", str(folder / lens["image"]), *files, *lens["options"], "--out", str(out), "--force"]


def measure(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Fit a lens, unless that is done, and return its row."""
    lens, folder, shown = LENSES[name], asked.folder, Path("LENSES")
    place = asked.out / (
        re.sub(r"[^a-z0-9]+", "-", name.lower()) if "truth" in lens else name.split(",")[0].replace(" ", "-").lower()
    )
    if "reference" in lens:
        folder, shown = asked.out / "five-codes", Path("FIVE_CODES")
        five_codes.prepare(asked.reference, lens["reference"], folder)
    if not asked.there:
        subprocess.run([sys.executable, "-m", *command(lens, folder, place)], check=True)
    found = read_json(place / "fit.json")
    kept = ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2", "converged", "why", "intervals", "reduced_chi2", "dof", "pixels")
    row = {
        "lens": name,
        **{key: found.get(key) for key in (*kept, "ln_evidence", "source_nodes", "seconds")},
        "published": lens["published"],
        "command": " ".join(["darklens", "fit", *command(lens, shown, Path("OUT"))[2:]]),
        "load_average": None if asked.there else os.getloadavg()[0],
    }
    if "truth" in lens:
        row |= {"truth": lens["truth"], "found": {key: found[key] for key in lens["truth"]}}
    if "system" in lens:
        points = found["point_images"]
        row |= {"system": lens["system"], "way": lens["way"], "off_truth": tdlmc.off_truth(lens["system"], points)}
        row |= {"scatter": points["source_plane_scatter"]["value"], "psf_error": points["psf_error"]}
    if "reference" in lens:
        row |= {"reference": lens["reference"], "images": five_codes.images(asked.reference, lens["reference"], place)}
    return row


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page of all rows."""
    lines = [
        "# Real lenses, fitted",
        "",
        "Masses, lens light and a source on pixels of lenses that nobody simulated, each by its command below. Intervals are",
        "those of the Gaussian approximation unless the row says samples; systematic errors of a real lens (PSF, drizzled noise,",
        "mass model) are not in them. Written by `benchmarks/real_fits.py`.",
        "",
        "| lens | theta_E [arcsec] (68%) | published | slope | reduced chi^2 | pixels | converged | seconds (load) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "truth" in row:
            continue
        theta, slope, told = row["theta_E"], row["gamma"], row["published"]
        known = f"{told['theta_E']} ({told['from']}), {100 * (theta['value'] / told['theta_E'] - 1):+.1f}%" if told else ""
        lines.append(
            f"| {row['lens']} | {interval(theta)} | {known} | {interval(slope)} | {row['reduced_chi2']:.3f} | {row['pixels']} | "
            f"{'yes' if row['converged'] else 'NO'} ({row['intervals']}) | {row['seconds']:.0f} ({_load(row)}) |"
        )
    lines += _tables("Quasars whose truth is known", tdlmc.ABOUT, [
        tdlmc.table(own) for system in tdlmc.SYSTEMS if (own := [row for row in rows if row.get("system") == system])
    ])  # fmt: skip
    lines += _tables("Mocks that five codes modelled", five_codes.ABOUT, [
        [f"{row['lens'].removeprefix('Five codes, ')}:", "", *five_codes.table(row)] for row in rows if "reference" in row
    ])  # fmt: skip
    lines += ["", "## Commands"]
    for row in rows:
        lines += ["", f"{row['lens']}:", "", f"    {row['command']}"]
    return "\n".join(lines) + "\n"


def _tables(title: str, about: list[str], tables: list[list[str]]) -> list[str]:
    return ["", f"## {title}", "", *about, *[line for table in tables for line in ("", *table)]] if tables else []


def _load(row: dict[str, Any]) -> str:
    return "not noted" if row["load_average"] is None else f"{row['load_average']:.0f}"


def main(arguments: list[str]) -> int:
    """Fit what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reference", type=Path, help="Folder of the mocks of five codes; by default reference/five-codes beside.")
    parser.add_argument("--only", nargs="*", default=list(LENSES))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "real-fits")
    parser.add_argument("--there", action="store_true", help="Read fits that are in --out already.")
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args(arguments)
    asked.reference = asked.reference or asked.folder.parent / "reference" / "five-codes"
    kept = asked.docs / "real-fits.json"
    rows = {row["lens"]: row for row in (read_json(kept)["rows"] if kept.is_file() else [])}
    for name in LENSES:
        if any(name.lower().startswith(start.lower()) for start in asked.only):
            rows[name] = measure(name, asked)
            done = [rows[known] for known in LENSES if known in rows]
            write_json(kept, {"rows": done})
            write_atomic(asked.docs / "real-fits.md", page(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
