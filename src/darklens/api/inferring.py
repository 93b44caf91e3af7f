"""Posteriors of the numbers of lenses, and of the population that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError
from darklens.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from darklens.train.inference.estimator import Estimator
    from darklens.train.inference.posterior_file import Found, Weigh

FEWEST_SAMPLES, MOST_SAMPLES = 50, 100_000


def infer(
    run: str | Path | Run,
    path: str | Path,
    out: str | Path,
    *,
    samples: int = 1000,
    parameters: Sequence[str] | None = None,
    reweight: bool | str = False,
    population: str | None = None,
    seed: int = 0,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Draw from the posterior of every image at a path, and write draws, summary and corner plots into a folder.

    Args:
        run: of inference, its folder or the name of a shipped one.
        path: a table, an image, a folder of images.
        out: folder: `posterior.parquet` (id, draw, one column a parameter, unusual, and weight of re-weighted draws),
            `summary.json`, `corner.png`.
        samples: draws an image.
        parameters: those that are wanted; None for all that the run has learnt.
        reweight: weigh the draws with the exact likelihood of the run's preset; or the class of the images, of those that the run
            has learnt.
        population: a parameter whose mean and scatter over all images are inferred as well.
        seed: of the draws.
        resize: accept images of another size, by resampling.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        device: where to compute.
        force: replace the folder.

    Returns:
        The summary: `images`, for each its `id`, `NAME: {"value", "low", "high", "low_95", "high_95", "unit"}` of each parameter
        (median, 68% and 95% interval), `unusual` with the reason; `coverage`, how often the run's intervals held on its own test
        images; `population` with `mu` and `sigma`; `samples`, `skipped`.

    Raises:
        InputError: no run of inference, a parameter that it never learnt, images that do not fit, or a likelihood nobody knows.
    """
    from darklens.train.inference.estimator import Estimator
    from darklens.train.inference.posterior_file import infer_records, prepare, write_posteriors

    if not FEWEST_SAMPLES <= samples <= MOST_SAMPLES:
        raise InputError(f"--samples {samples} is outside {FEWEST_SAMPLES} to {MOST_SAMPLES:,}: an interval needs as many draws")
    out = Path(out)
    prepare(out, force)
    estimator = Estimator(run if isinstance(run, Run) else Run.open(run), device)
    names = tuple(parameters or estimator.names)
    estimator.places([*names, *([population] if population else [])])
    if population and population not in names:
        raise InputError(f"--population {population} is not among --parameters {','.join(names)}: add it there")
    weigh = _weigher(estimator, reweight) if reweight else None
    found = infer_records(
        estimator, Path(path), samples=samples, seed=seed, parameters=names, weigh=weigh, resize=resize, hdu=hdu, bands=bands
    )
    about: dict[str, Any] = {"run": estimator.run.name, "parameters": list(names), "source": str(path)}
    about["coverage"] = estimator.coverage(names)
    found.noticed += estimator.unlearnt(names)
    if population:
        about["population"] = {population: _population(estimator, found, names.index(population), population)}
    units = dict(zip(estimator.names, estimator.space.units, strict=True))
    return write_posteriors(found, names, units, out, about, force) | {"out": str(out), "noticed": found.noticed}


def _weigher(estimator: Estimator, label: bool | str) -> Weigh:
    from darklens.infer.reweighting import Reweighting
    from darklens.simulate import preset

    if estimator.preset is None:
        raise InputError(f"{estimator.run} was trained on files, whose likelihood nobody knows: leave --reweight out")
    kinds = estimator.described["kinds"]
    label = label if isinstance(label, str) else kinds[0]
    if label not in kinds:
        raise InputError(f"--reweight {label!r} is no class of {estimator.run}, which has learnt {', '.join(kinds)}: give one")
    return Reweighting(preset(estimator.preset), label, estimator.names)


def _population(estimator: Estimator, found: Found, place: int, name: str) -> dict[str, Any]:
    """Return mean and scatter of a parameter over the images that are like those of the training."""
    import numpy as np

    from darklens.infer.population import infer_population

    if name not in estimator.described["prior"]:
        raise InputError(
            f"{estimator.run} learnt {name!r} under a prior that is not uniform, which a population cannot be told from: "
            "train on a preset that draws it evenly"
        )
    like = np.array([not why for why in found.unusual])
    samples = found.samples[like][:, :, place]
    if found.log_weights is not None:
        samples = _resampled(samples, np.stack([found.weights(int(i)) for i in np.flatnonzero(like)]))
    if len(samples) < 2:
        raise InputError(f"{len(samples)} of {len(like)} images are like those of the training: a population needs at least 2")
    low, high = estimator.described["prior"][name]
    content = infer_population(samples, (low, high)).summary()
    return content | {"left_out_as_unusual": int((~like).sum()), "prior": [low, high]}


def _resampled(samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return draws `(n, S)` that count alike, of draws with weights."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = [rng.choice(len(w), len(w), p=w / w.sum()) for w in weights]
    return np.stack([draws[row] for draws, row in zip(samples, rows, strict=True)])
