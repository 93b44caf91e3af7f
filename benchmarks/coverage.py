"""Do the intervals of `darklens fit` hold? Simulated lenses, fitted one by one, and how often their truth lies inside.

    python -m benchmarks.coverage --n 200 --samples 2000 --out coverage.json
    python -m benchmarks.coverage --n 200 --samples 0 --source pixelised [--lens-light]

Every lens is a pure function of (seed, number), drawn from the priors below and rendered by the simulator. With a parametric
source: SIE + shear, a Sersic source, a Gaussian PSF, white noise. With one on pixels: power law + shear, a galaxy that may be cuspy
and up to three compact clumps, finer pixels, and noise that grows with the light; nothing that is fitted knows of Sersic. Each
search starts at the true Einstein radius: intervals are judged here, not the search. `--lens-light` puts a galaxy with a Sersic
profile before a source on pixels, whose light is fitted as `darklens fit` does it by default, with Gaussians.
`--samples 0` judges the Gaussian approximation, which costs a tenth of the chains. Prints one
line of JSON; a fit that gives no intervals counts under "not_converged" and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.task_rows import Row, script_row
from darklens.evaluate.proportion import proportion
from darklens.files import write_json
from darklens.fit.one_lens import Choices, fit_lens
from darklens.infer.lens_posterior import Posterior, posterior
from darklens.lensing import EPL, SIE, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Instrument, Scene, render
from darklens.train.provenance import provenance

ROWS = Path(__file__).parents[1] / "runs" / "rows"

SIDE, SCALE, FWHM, SUBPIXELS = 30, 0.12, 0.2, 2
NOISE = 0.02, 0.05
"""Of the brightest pixel."""
JUDGED = ("theta_E", "e1", "e2", "gamma1", "gamma2", "source_x", "source_y", "source_R_sersic")
PIXELISED = ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2", "center_x", "center_y")
"""What is judged of a lens whose source is on pixels."""
RICH_SIDE, RICH_SCALE, RICH_FWHM, RICH_SUPERSAMPLING = 56, 0.06, 0.1, 4
LEVELS = {"68": ("low", "high"), "95": ("low95", "high95")}


def draw(generator: np.random.Generator) -> dict[str, float]:
    """Return the parameters of one lens, priors one per line."""
    return {
        "theta_E": generator.uniform(0.8, 1.2),
        "e1": generator.uniform(-0.15, 0.15),
        "e2": generator.uniform(-0.15, 0.15),
        "center_x": generator.normal(0, 0.02),
        "center_y": generator.normal(0, 0.02),
        "gamma1": generator.uniform(-0.05, 0.05),
        "gamma2": generator.uniform(-0.05, 0.05),
        "source_R_sersic": generator.uniform(0.15, 0.4),
        "source_n_sersic": generator.uniform(0.8, 2.0),
        "source_e1": generator.uniform(-0.2, 0.2),
        "source_e2": generator.uniform(-0.2, 0.2),
        "source_x": generator.uniform(-0.25, 0.25),
        "source_y": generator.uniform(-0.25, 0.25),
    }


def simulate(truth: dict[str, float], generator: np.random.Generator, side: int = SIDE, scale: float = SCALE) -> dict[str, Any]:
    """Return image, noise, PSF and pixel scale (arcsec) of one lens on `side` x `side` pixels."""
    t = {k: torch.tensor([v], dtype=torch.float64) for k, v in truth.items()}
    masses = SIE(t["theta_E"], t["e1"], t["e2"], t["center_x"], t["center_y"]), Shear(t["gamma1"], t["gamma2"])
    shape = (t[f"source_{k}"] for k in ("R_sersic", "n_sersic", "e1", "e2", "x", "y"))
    source = SersicEllipse(torch.ones(1, dtype=torch.float64), *shape)
    scene = Scene(masses, (), (source,), ("",), {}, 0, (0,))
    psf = GaussianPSF(FWHM)
    camera = Instrument("", scale, psf)
    image = render(scene, camera, (side, side), supersampling=SUBPIXELS, dtype=torch.float64)[0].numpy()
    sigma = generator.uniform(*NOISE) * image.max()
    data = image + sigma * generator.standard_normal(image.shape)
    return {"image": data, "noise": np.full(image.shape, sigma), "psf": kernel_of(psf, scale), "pixel_scale": scale}


def draw_rich(generator: np.random.Generator) -> dict[str, float]:
    """Return the parameters of one lens whose source is fitted on pixels."""
    return {
        "theta_E": generator.uniform(0.9, 1.3),
        "gamma": generator.normal(2.0, 0.12),
        "e1": generator.normal(0, 0.1),
        "e2": generator.normal(0, 0.1),
        "center_x": generator.normal(0, 0.01),
        "center_y": generator.normal(0, 0.01),
        "gamma1": generator.normal(0, 0.04),
        "gamma2": generator.normal(0, 0.04),
        "source_R_sersic": generator.uniform(0.1, 0.3),
        "source_n_sersic": generator.uniform(0.8, 4),
        "source_e1": generator.uniform(-0.3, 0.3),
        "source_e2": generator.uniform(-0.3, 0.3),
        "source_x": generator.uniform(-0.2, 0.2),
        "source_y": generator.uniform(-0.2, 0.2),
    }


def simulate_rich(truth: dict[str, float], generator: np.random.Generator, lens_light: bool = False) -> dict[str, Any]:
    """Return image, noise, PSF and pixel scale (arcsec) of one lens with a clumpy source, and light of its own if asked for."""

    def column(*values: float) -> list[torch.Tensor]:
        return [torch.tensor([v], dtype=torch.float64) for v in values]

    t = {k: column(v)[0] for k, v in truth.items()}
    masses = EPL(*(t[k] for k in ("theta_E", "gamma", "e1", "e2", "center_x", "center_y"))), Shear(t["gamma1"], t["gamma2"])
    shape = (t[f"source_{k}"] for k in ("R_sersic", "n_sersic", "e1", "e2", "x", "y"))
    lights = [SersicEllipse(torch.ones(1, dtype=torch.float64), *shape)]
    for _ in range(generator.integers(0, 4)):
        size = generator.uniform(1, 6), generator.uniform(0.02, 0.06)
        place = (truth[k] + generator.normal(0, 0.12) for k in ("source_x", "source_y"))
        lights.append(SersicEllipse(*column(*size, 1.0, 0.0, 0.0, *place)))
    camera, field = Instrument("", RICH_SCALE, GaussianPSF(RICH_FWHM)), (RICH_SIDE, RICH_SIDE)

    def seen(*own: SersicEllipse) -> np.ndarray:
        scene = Scene(masses, (), tuple(lights), ("",), {}, 0, (0,), lens_light=own)
        return render(scene, camera, field, supersampling=RICH_SUPERSAMPLING, dtype=torch.float64)[0].numpy()

    image = seen()
    top = np.percentile(image, 99.5)
    if lens_light:
        size = top / RICH_SCALE**2 * generator.uniform(0.1, 0.6), generator.uniform(0.3, 0.8), generator.uniform(2, 5)
        own = (truth[k] + generator.normal(0, sd) for k, sd in (("e1", 0.05), ("e2", 0.05), ("center_x", 0.01), ("center_y", 0.01)))
        image = seen(SersicEllipse(*column(*size, *own)))
    noise = top * generator.uniform(0.02, 0.06) * np.sqrt(1 + 3 * np.clip(image, 0, None) / top)
    data = image + noise * generator.standard_normal(image.shape)
    return {"image": data, "noise": noise, "psf": kernel_of(camera.psf, RICH_SCALE), "pixel_scale": RICH_SCALE}


def kernel_of(psf: GaussianPSF, scale: float) -> np.ndarray:
    """Return a PSF on pixels."""
    margin = psf.margin(scale)
    point = torch.zeros(1, 4 * margin + 1, 4 * margin + 1, dtype=torch.float64)
    point[0, 2 * margin, 2 * margin] = 1.0
    return psf.convolve(point, scale)[0].numpy()


def judge_rich(number: int, samples: int, seed: int, starts: int = 6, lens_light: bool = False) -> dict[str, Any]:
    """As `judge`, with a source on pixels."""
    generator = np.random.default_rng([seed, number])
    truth = draw_rich(generator)
    given = simulate_rich(truth, generator, lens_light)
    chosen = Choices(light="mge" if lens_light else "none", centre=(0.0, 0.0), theta_E=truth["theta_E"], starts=starts, seed=seed)
    return _judged(number, truth, posterior(fit_lens(**given, choices=chosen), samples, seed=seed), PIXELISED)


def judge(number: int, samples: int, seed: int, starts: int = 6) -> dict[str, Any]:
    """Return for one lens which intervals hold its truth, and how far off each value is in units of the 68% half-width."""
    generator = np.random.default_rng([seed, number])
    truth = draw(generator)
    given = simulate(truth, generator)
    chosen = Choices(
        model="sie+shear",
        light="none",
        source="parametric",
        centre=(0.0, 0.0),
        theta_E=truth["theta_E"],
        starts=starts,
        subpixels=SUBPIXELS,
        seed=seed,
    )
    return _judged(number, truth, posterior(fit_lens(**given, choices=chosen), samples, seed=seed), JUDGED)


def _judged(number: int, truth: dict[str, float], found: Posterior, judged: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {"number": number, "converged": found.converged, "why": found.why}
    for name in judged if found.converged else ():
        interval = found.intervals[name]
        row[name] = {level: interval[low] <= truth[name] <= interval[high] for level, (low, high) in LEVELS.items()}
        row[name]["pull"] = (interval["value"] - truth[name]) / (0.5 * (interval["high"] - interval["low"]))
    return row


def result_rows(content: dict[str, Any]) -> list[Row]:
    """Return rows for the block "inference" of docs/results.md, one a parameter."""
    made, kind = provenance(), "chains" if content["samples"] else "gaussian"
    kind += " on pixels" if content["source"] == "pixelised" else ""
    kind += ", before lens light" if content["lens_light"] else ""
    tested = f"{content['n']} of {content['n'] + content['not_converged']} simulated lenses"
    return [
        script_row(
            "inference", f"darklens fit, {kind}", f"{name}, {tested}",
            {f"coverage_{level}": found[level] for level in LEVELS}, made, seed=content["seed"],
        )
        for name, found in content["coverage"].items()
    ]  # fmt: skip


def main() -> None:
    """Judge lenses, print one line and leave rows for docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--source", choices=["parametric", "pixelised"], default="parametric")
    parser.add_argument("--lens-light", action="store_true", help="With --source pixelised.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=6, help="As of darklens fit.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="Stop after this many.")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rich = asked.source == "pixelised"
    if asked.lens_light and not rich:
        parser.error("--lens-light goes with --source pixelised")
    torch.set_num_threads(1)
    began, rows = time.monotonic(), []
    for number in range(asked.n):
        if time.monotonic() - began > asked.seconds:
            break
        how = number, asked.samples, asked.seed, asked.starts
        rows.append(judge_rich(*how, asked.lens_light) if rich else judge(*how))
    good, judged = [row for row in rows if row["converged"]], PIXELISED if rich else JUDGED
    if not good:
        raise SystemExit(f"no interval of any of {len(rows)} lenses to judge, for example: {rows[0]['why']}")
    content = {
        "benchmark": "coverage", "n": len(good), "not_converged": len(rows) - len(good), "samples": asked.samples,
        "source": asked.source, "lens_light": asked.lens_light, "seed": asked.seed, "starts": asked.starts,
        "seconds": time.monotonic() - began,
        "machine": platform.processor() or platform.machine(),
        "coverage": {
            name: {level: proportion(sum(row[name][level] for row in good), len(good)) for level in LEVELS}
            | {"pull_sd": float(np.std([row[name]["pull"] for row in good]))}
            for name in judged
        },
        "all": {level: float(np.mean([row[name][level] for row in good for name in judged])) for level in LEVELS},
    }  # fmt: skip
    if asked.out:
        write_json(asked.out, content | {"lenses": rows})
    name = f"coverage-{'chains' if asked.samples else 'gaussian'}-{asked.source}{'-lens-light' if asked.lens_light else ''}"
    write_json(ROWS / f"{name}.json", result_rows(content))
    print(json.dumps(content))


if __name__ == "__main__":
    main()
