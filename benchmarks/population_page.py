"""docs/population.md and its like with their pictures, from what benchmarks.population measured; no figure is typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from darklens.evaluate.style import COLOURS, INK, dress, new_figure
from darklens.evaluate.vector_figures import save_picture
from darklens.evaluate.wording import format_difference, format_interval
from darklens.files import write_atomic
from darklens.runs import Run
from darklens.train.inference.estimator import NOTHING

TITLES = {"posterior": "posteriors added up", "ratio": "likelihood ratio"}
HEAD = """# From single lenses to a population{of}

    darklens infer {name} IMAGES --out posteriors
    darklens infer {name} IMAGES --population {parameter} --out posteriors

The first says what each image says; the second adds, over all images, mean and scatter of a parameter as one population: a Gaussian
cut off at the ends of the prior that the run was trained under ({ends}). Images unlike those of the training are left
out of it. Brackets on this page are 95% intervals.

This page was written by `{command}`; no figure is typed by hand.

## One lens

What the run reached on {n:,} test images of `{preset}`. An honest 68% interval holds the truth in 68% of the images. *Told* is what
an image says of a parameter, in nats: one nat narrows an interval to 37%, and an angle that is known but for half a turn is known,
though its median and its error say nothing.

| parameter | told, nats | mean absolute error | of always saying the median | bias | 68% intervals hold | 95% intervals hold |
|---|---|---|---|---|---|---|
{lines}
"""
PICTURE = """
![How often intervals of a probability hold the truth, and the ranks of the truth]({picture})

Above left: how often intervals of a probability hold the truth; right: the same for all parameters together (TARP). Grey: where
honest ones lie in 95 of 100 cases. Below: ranks of the true values among the draws, flat where posteriors are right.
"""
SETS = """
## {lenses} lenses together: `{parameter}`

{n} populations, each with a mean and a scatter of its own and {lenses} lenses that no other has: simulated, fitted and asked for
as the command does it. The means lie in the middle 60% of the prior, the scatters between 10% and 30% of its range.

**Second opinion**: a ratio of likelihoods. A network of three hidden layers, which sees what the run's network says of an image but
never its posterior, was taught on {reference:,} lenses of the prior, which the run's network was not taught with, to tell lenses
of a population from them (`darklens.infer.population_ratio`); its logits, added up over the lenses, stand in place of the sum over
posteriors.

| method | what | mean absolute error | bias | half of the 68% interval | 68% intervals hold | 95% intervals hold |
|---|---|---|---|---|---|---|
{lines}

![True and inferred means of the populations, and the two methods beside each other]({picture})

{verdict}
"""
LIMITS = """
## What a population cannot be asked for here

- **Subhaloes of `axion-posterior`**: its images have none. Their mass fraction and the slope of their mass function are asked for
  [on a page of their own](population-subhalos.md).
- Real lenses: these populations are simulated as the training was. What a simulation lacks, {lenses} lenses lack together, and the
  interval does not know it.
"""
LIMITS_OF_SUBHALOS = """
## What these numbers are not

- Real lenses: these populations are simulated as the training was, with bright arcs, Sersic sources, one PSF and no haloes on the
  line of sight. What a simulation lacks, {lenses} lenses lack together, and the interval does not know it.
- One parameter at a time: mean and scatter of one of them, while the other is drawn from its whole prior for each lens.
{silent}- `lens-parameters`, whose images (preset `subhalos`) have fainter arcs and 0.5 to 2% in subhaloes, learns next to
  nothing of `f_sub` from one lens ([results](results.md)), and `--population f_sub` is refused there.
"""
PAGES = {"population": ("", LIMITS), "population-subhalos": (": subhaloes", LIMITS_OF_SUBHALOS)}
"""Of each page: what its title adds, and how it ends."""
SILENT = """- `{name}`: one lens tells {told} nats of it. Posteriors as wide as the prior say nothing together either:
  what would add up over lenses is how well the network knows its own prior, and `--population {name}` is refused.
"""


def calibration_of(page: str) -> str:
    """Return the name of the picture of single lenses on a page."""
    return "posterior-calibration.png" if page == "population" else f"{page}-calibration.png"


def write_page(contents: list[dict[str, Any]], run: Run, folder: Path, page: str = "population") -> None:
    """Write the pictures and the page.

    Args:
        contents: what was measured of each parameter.
        run: whose posteriors were added up.
        folder: docs.
        page: one of `PAGES`.
    """
    metrics, first, (title, limits) = run.metrics, contents[0], PAGES[page]
    ends = "; ".join(f"`{one['parameter']}`: {one['prior'][0]:g} to {one['prior'][1]:g}" for one in contents)
    asked = "".join(f" --parameter {one['parameter']}" for one in contents) + f" --name {page}" if page != "population" else ""
    facts = {"name": run.recipe["name"], "parameter": first["parameter"], "ends": ends, "preset": first["preset"], "of": title}
    facts |= {"command": f"python -m benchmarks.population{f' runs/{run.path.name}' if asked else ''}{asked}"}
    parts = [HEAD.format(**facts, n=metrics["n"], lines="\n".join(_one(name, of) for name, of in metrics["parameters"].items()))]
    picture = calibration_of(page)
    parts += [PICTURE.format(picture=picture)] if (folder / picture).is_file() else []
    for k, content in enumerate(contents):
        picture = f"{page}.png" if k == 0 else f"{page}-{content['parameter']}.png"
        draw(content, folder / picture)
        counts = {key: content[key] for key in ("lenses", "n", "reference", "parameter")}
        lines = "\n".join(_line(method, what, of) for method, both in content["methods"].items() for what, of in both.items())
        parts += [SETS.format(**counts, lines=lines, verdict=verdict(content), picture=picture)]
    told = {name: of["information"] for name, of in metrics["parameters"].items()}
    silent = "".join(SILENT.format(name=n, told=format_interval(of)) for n, of in told.items() if of["value"] < NOTHING)
    write_atomic(folder / f"{page}.md", "".join([*parts, limits.format(lenses=first["lenses"], silent=silent)]))


def _one(name: str, found: dict[str, Any]) -> str:
    keys = ("information", "mae", "prior_mae", "bias", "coverage_68", "coverage_95")
    return f"| {' | '.join([f'`{name}`', *(format_interval(found[key]) for key in keys)])} |"


def _line(method: str, what: str, found: dict[str, Any]) -> str:
    keys = ("mae", "bias", "width", "coverage_68", "coverage_95")
    return (
        f"| {' | '.join([TITLES[method], {'mu': 'mean', 'sigma': 'scatter'}[what], *(format_interval(found[k]) for k in keys)])} |"
    )


def verdict(content: dict[str, Any]) -> str:
    """Return what the numbers say: whether intervals hold, whether there is a bias, and how far the methods agree."""
    said = [f"{TITLES[method].capitalize()}: {_holds(found['mu'])}." for method, found in content["methods"].items()]
    wide = content["methods"]["posterior"]["sigma"]["bias"]
    if not wide["low"] <= 0 <= wide["high"]:
        said.append(f"The scatter, by posteriors, is biased by {format_difference(wide)}.")
    agreed = content["agreement"]
    apart, less = format_interval(agreed["apart_in_widths"], 2), format_difference(agreed["difference"])
    said.append(
        f"The two means are {apart} of half a 68% interval apart in the mean, within one in "
        f"{format_interval(agreed['within_width'], 2)} of the populations, with a difference of {less} (ratio less "
        f"posteriors); rank correlation {agreed['rank_correlation']:.3f}."
    )
    worse = agreed["error_ratio_less_posterior"]
    better = "neither is nearer to the truth" if not worse["excludes_zero"] else "the posteriors are nearer to the truth"
    better = "the ratio is nearer to the truth" if worse["excludes_zero"] and worse["value"] < 0 else better
    said.append(f"Of the two, {better} (absolute errors, ratio less posteriors: {format_difference(worse)}).")
    return " ".join(said)


def _holds(found: dict[str, Any]) -> str:
    words = []
    for level, share in (("68%", 0.68), ("95%", 0.95)):
        own = found[f"coverage_{level[:2]}"]
        held = own["low"] <= share <= own["high"]
        how = "" if held else (", too seldom" if own["value"] < share else ", more often than they should")
        words.append(f"{level} intervals of the mean hold it in {100 * own['value']:.0f}%{how}")
    bias = found["bias"]
    free = bias["low"] <= 0 <= bias["high"]
    words.append("no bias is seen" if free else f"the mean is biased by {format_difference(bias)}")
    return "; ".join(words)


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw true against inferred means by both methods, what is left over, and the methods against each other."""
    figure = new_figure(10.4, 3.5)
    axes, sets = figure.subplots(1, 3), content["sets"]
    truth = np.array([one["mu"] for one in sets])
    values = {method: np.array([one[method]["mu"]["value"] for one in sets]) for method in TITLES}
    order = np.argsort(truth)
    for k, (method, title) in enumerate(TITLES.items()):
        found = [one[method]["mu"] for one in sets]
        errors = np.abs([[one["value"] - one["low"] for one in found], [one["high"] - one["value"] for one in found]])
        style = {"fmt": "o", "ms": 2.6, "lw": 0.7, "color": COLOURS[k], "alpha": 0.7}
        axes[k].errorbar(truth[order], (values[method] - truth)[order], yerr=errors[:, order], **style)
        axes[k].axhline(0, color=INK, lw=1, ls=":")
        dress(axes[k], title, f"true mean of {content['parameter']}", "inferred less true" if k == 0 else "")
    reach = max(abs(ax.get_ylim()[i]) for ax in axes[:2] for i in (0, 1))
    for ax in axes[:2]:
        ax.set_ylim(-reach, reach)
    ends = [min(map(np.min, values.values())), max(map(np.max, values.values()))]
    axes[2].plot(ends, ends, color=INK, lw=1, ls=":")
    axes[2].plot(values["posterior"], values["ratio"], "o", ms=3, color=COLOURS[2], alpha=0.7)
    axes[2].xaxis.set_major_locator(MaxNLocator(4))
    dress(axes[2], "the two beside each other", TITLES["posterior"], TITLES["ratio"])
    save_picture(figure, path)
