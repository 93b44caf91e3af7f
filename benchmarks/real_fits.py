"""Real lenses, fitted by the command: SDSS J0946+1006 (HST), the COSMOS-Web ring (JWST), a Euclid lens.

    python -m benchmarks.real_fits LENSES [--only NAME ...] [--out runs/real-fits]

LENSES is the folder of the lenses; each fit goes to a folder of its own, and its row, with the exact command, to
`docs/real-fits.json`, from which `docs/real-fits.md` is written. Rows that are not run again stay as they are.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
}


def command(lens: dict[str, Any], folder: Path, out: Path) -> list[str]:
    """Return the words of the command that fits a lens."""
    files = [word for name, file in lens["files"].items() for word in (f"--{name}", str(folder / file))]
    return ["darklens", "fit", str(folder / lens["image"]), *files, *lens["options"], "--out", str(out), "--force"]


def measure(name: str, folder: Path, out: Path, there: bool) -> dict[str, Any]:
    """Fit a lens, unless that is done, and return its row."""
    lens, place = LENSES[name], out / name.split(",")[0].replace(" ", "-").lower()
    if not there:
        subprocess.run([sys.executable, "-m", *command(lens, folder, place)], check=True)
    found = read_json(place / "fit.json")
    kept = ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2", "converged", "why", "intervals", "reduced_chi2", "dof", "pixels")
    shown = ["darklens", "fit", *command(lens, Path("LENSES"), Path("OUT"))[2:]]
    return {
        "lens": name,
        **{key: found.get(key) for key in (*kept, "ln_evidence", "source_nodes", "seconds")},
        "published": lens["published"],
        "command": " ".join(shown),
        "load_average": None if there else os.getloadavg()[0],
    }


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
        theta, slope, told = row["theta_E"], row["gamma"], row["published"]
        known = f"{told['theta_E']} ({told['from']}), {100 * (theta['value'] / told['theta_E'] - 1):+.1f}%" if told else ""
        lines.append(
            f"| {row['lens']} | {_interval(theta)} | {known} | {_interval(slope)} | {row['reduced_chi2']:.3f} | {row['pixels']} | "
            f"{'yes' if row['converged'] else 'NO'} ({row['intervals']}) | {row['seconds']:.0f} ({_load(row)}) |"
        )
    for row in rows:
        lines += ["", f"{row['lens']}:", "", f"    {row['command']}"]
    return "\n".join(lines) + "\n"


def _load(row: dict[str, Any]) -> str:
    return "not noted" if row["load_average"] is None else f"{row['load_average']:.0f}"


def _interval(number: dict[str, Any]) -> str:
    if number["low"] is None:
        return f"{number['value']:.4f} (no interval)"
    return f"{number['value']:.4f} ({number['low']:.4f} to {number['high']:.4f})"


def main(arguments: list[str]) -> int:
    """Fit what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=list(LENSES))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "real-fits")
    parser.add_argument("--there", action="store_true", help="Read fits that are in --out already.")
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args(arguments)
    kept = asked.docs / "real-fits.json"
    rows = {row["lens"]: row for row in (read_json(kept)["rows"] if kept.is_file() else [])}
    for name in LENSES:
        if any(name.lower().startswith(start.lower()) for start in asked.only):
            rows[name] = measure(name, asked.folder, asked.out, asked.there)
            done = [rows[known] for known in LENSES if known in rows]
            write_json(kept, {"rows": done})
            write_atomic(asked.docs / "real-fits.md", page(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
