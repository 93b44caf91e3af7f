"""The Python interface: as short as the command line, which is a thin layer over it.

import darklens
table = darklens.simulate("model-iii", n=300, seed=1)
run = darklens.train("model-iii-resnet18", out="runs/mine")
run.predict(table.images())
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError
from darklens.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from darklens.data import Table
    from darklens.fit import SmoothFit
    from darklens.simulate import Instrument
    from darklens.train.predictor import Predictor

Progress = Callable[[str, int, int], None]


def _silent(phase: str, done: int, total: int) -> None:
    """Show no progress."""


class TrainedRun(Run):
    """A run folder that answers: what `train` and `open_run` return.

    Attributes of the folder (`metrics`, `history`, `recipe`, `provenance`, ...) are those of `darklens.runs.Run`.
    """

    @cached_property
    def predictor(self) -> Predictor:
        """The best weights, with preprocessing and calibration."""
        from darklens.train.predictor import Predictor

        return Predictor(self)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return tuple(self.model["classes"])

    def predict(self, images: Any) -> np.ndarray:
        """Return calibrated class probabilities.

        Args:
            images: `(n, bands, H, W)`, `(n, H, W)` or one image; array or tensor, in the units of the training images.

        Returns:
            `(n, k)` float64, columns as in `classes`.

        Raises:
            InputError: rank, bands, size or values that do not fit.
        """
        return self.predictor.probabilities(images)

    def evaluate(self, path: str | Path, **options: Any) -> dict:
        """Return metrics with intervals on other data; see `darklens.evaluate`."""
        return evaluate(self, path, **options)


def simulate(
    preset: str,
    n: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    instrument: str | None = None,
    device: str = "cpu",
    ray: str | None = None,
    force: bool = False,
) -> Table:
    """Simulate n images of a preset, in memory or (with `out`) on disk.

    Args:
        preset: its name.
        n: images over all classes.
        seed: every row is a function of (seed, row).
        out: folder of the table.
        instrument: see the scenes through another instrument.
        device: where to render.
        ray: share the work on a Ray cluster: "local", "auto" or HOST:PORT of its head; `out` is a folder that all nodes see.
        force: replace what is in `out`.

    Raises:
        InputError: unknown preset or instrument, `out` holds something else, or no cluster.
    """
    from darklens.simulate import simulate as write

    if ray is not None:
        from darklens.cluster import simulate_on_cluster
        from darklens.data import Table
        from darklens.simulate import configured

        if out is None:
            raise InputError("ray shares the work on a table on disk: give out=FOLDER")
        if "://" in str(out):
            raise InputError(f"{out} is a URL, which Table.open does not read: use darklens simulate --ray, or give a folder")
        if device != "cpu":
            raise InputError(f"ray renders on the nodes' CPUs, not on device={device!r}: leave one of the two out")
        simulate_on_cluster(configured(preset, instrument=instrument), n, seed=seed, out=str(out), address=ray, force=force)
        return Table.open(out)
    return write(preset, n, seed=seed, out=out, instrument=instrument, device=device, force=force)


def load(path: str | Path, **options: Any) -> Table:
    """Open a table, or read anything that darklens reads (`.npy` trees, FITS, ...) into one in memory.

    Raises:
        InputError: nothing readable at the path.
    """
    from darklens.data import load as read

    return read(path, **options)


def train(
    recipe: str | Path | dict,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    set: Iterable[str] = (),
    device: str = "auto",
    force: bool = False,
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> TrainedRun | list[TrainedRun]:
    """Carry out a recipe: images, training, calibration, one evaluation on the test split.

    Args:
        recipe: name, YAML file or plain data.
        data: train on this instead of the recipe's data.
        out: run folder; `runs/NAME` by default. What is there is continued.
        set: overrides, `"train.epochs=5"`.
        device: "auto", "cpu", "cuda" or "mps".
        force: begin anew.
        log: receives sentences.
        progress: receives (phase, done, total).

    Returns:
        The run; a list of runs if the recipe has several networks.

    Raises:
        InputError: recipe, data or folder do not fit.
    """
    from darklens.recipes import execute
    from darklens.recipes import load as read

    overrides = list(set)
    if data is not None:
        overrides += ["data.preset=null", f"data.path={data}"]
    chosen = read(recipe, overrides)
    runs = execute(chosen, out or Path("runs") / chosen.name, device=device, force=force, log=log, progress=progress)
    opened = [TrainedRun(run.path) for run in runs]
    return opened[0] if len(opened) == 1 else opened


def open_run(path: str | Path) -> TrainedRun:
    """Open the folder of a training.

    Raises:
        InputError: the folder is no run.
    """
    return TrainedRun(Run.open(path).path)


def evaluate(
    run: str | Path | Run,
    path: str | Path,
    *,
    name: str | None = None,
    split: str | None = None,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    device: str = "auto",
    on_skip: Callable[[str, str], None] | None = None,
) -> dict:
    """Evaluate a run on other labelled data; results go to `RUN/evaluations/NAME`.

    Args:
        run: the run or its folder.
        path: a table, a tree, anything that darklens reads.
        name: name of the evaluation; the data's by default.
        split: only this split of the data.
        group: label in the data -> class of the run.
        resize: accept images of another size.
        hdu: extension of FITS files.
        device: where to compute.
        on_skip: receives (name, reason) of what could not be used; by default that is an error.

    Returns:
        The metrics, each headline number with its 95% interval.

    Raises:
        InputError: nothing readable, or a class that the run does not know.
    """
    from darklens.train.evaluation import evaluate_path
    from darklens.train.predictor import Predictor

    folder = run if isinstance(run, Run) else Run.open(run)
    return evaluate_path(
        Predictor(folder, device),
        Path(path),
        name=name,
        split=split,
        group=group or {},
        resize=resize,
        hdu=hdu,
        on_skip=on_skip,
    )


def fit(
    images: Any,
    instrument: str | Instrument | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    noise: Any = None,
    mask: Any = None,
    progress: Callable[[int], None] = lambda done: None,
) -> SmoothFit:
    """Fit smooth lenses to images, in a batch.

    Args:
        images: `(n, H, W)`, `(n, 1, H, W)` or one image; a table; or a path.
        instrument: they are sky-subtracted images of this instrument, in e-/s.
        model: "sis+shear+sersic", "sie+shear+sersic" or "epl+shear+sersic", with "+lens_light" where the lens shines.
        preset: they are like those of this preset, instead of `instrument`. Simulated tables, and min-max scaled counts of 150x150
            pixels, need neither.
        fixed: parameter -> value for what is known.
        pixel_scale: arcsec, with `psf_fwhm`, instead of `instrument`; the noise then comes from the corners of the image.
        psf_fwhm: arcsec.
        noise: standard deviation of each pixel, `(H, W)` or `(n, H, W)`.
        mask: the same, true where a pixel counts.
        progress: called with the number of images done.

    Returns:
        Parameters with covariance, model, residual in units of the noise, reduced chi^2, whether it converged.

    Raises:
        InputError: nothing readable, several bands, or nothing known about the images.
    """
    import numpy as np

    from darklens.data import Table
    from darklens.fit.request import Request

    if isinstance(images, str | Path):
        images = load(images)
    manifest = images.manifest if isinstance(images, Table) else None
    array = images.image_array() if isinstance(images, Table) else np.asarray(images)
    array = array[None] if array.ndim == 2 else array
    request = Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm, None if noise is None else np.asarray(noise))
    return request.plan(array[:5], manifest).fit(array, mask=None if mask is None else np.asarray(mask), progress=progress)


def fit_path(
    path: str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    instrument: str | None = None,
    model: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    **options: Any,
) -> dict:
    """Fit everything at a path into a folder: a table of residuals, `parameters.csv`, `gallery.png`; arguments as for `fit`.

    Raises:
        InputError: nothing readable, or nothing known about the images.
    """
    from darklens.fit.request import Request
    from darklens.fit.request import fit_path as write

    return write(Path(path), Path(out), Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm), **options)


def calibrate(
    path: str | Path,
    *,
    preset: str | None = None,
    instrument: str | None = None,
    model: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    **options: Any,
) -> dict:
    """Measure PSF width and noise on images of smooth lenses; arguments as for `fit`, the PSF being a first guess.

    Raises:
        InputError: no image of a smooth lens, or nothing known about the images.
    """
    from darklens.fit.request import Request, calibrate_path

    return calibrate_path(Path(path), Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm), **options)


def compare(runs: Iterable[str | Path | Run], *, on: str | None = None) -> dict:
    """Compare runs on the same images.

    Args:
        runs: two or more runs.
        on: name of an evaluation on other data; the test split by default.

    Returns:
        `{"runs": {name: metrics}, "pairs": [paired differences]}`.

    Raises:
        InputError: fewer than two runs, or their images differ.
    """
    from darklens.evaluate import compare_predictions

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    if len(opened) < 2:
        raise InputError(f"{len(opened)} run given: a comparison needs at least 2")
    places = {run.path.resolve().name: (run.evaluation(on) if on else run) for run in opened}
    if len(places) < len(opened):
        places = {str(run.path): (run.evaluation(on) if on else run) for run in opened}
    named = {}
    for name, place in places.items():
        if place.metrics is None:
            raise InputError(f"{place.path} has no metrics yet: run darklens evaluate on it first")
        named[name] = (place.predictions(), place.metrics["classes"])
    pairs = compare_predictions(named)
    return {"runs": {name: place.metrics for name, place in places.items()}, "pairs": pairs}


def report(runs: Iterable[str | Path | Run], out: str | Path, *, title: str | None = None) -> Path:
    """Write one self-contained HTML page about runs, with paired comparisons of those that share a test set.

    Raises:
        InputError: a folder is no run, or has no results yet.
    """
    from darklens.report import render_report

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    pairs = []
    for group in _by_test_set(opened):
        try:
            pairs += compare(group)["pairs"] if len(group) > 1 else []
        except InputError:
            continue  # other rows of the same table: such runs stand side by side without a paired comparison
    render_report(opened, Path(out), comparison=pairs or None, **({"title": title} if title else {}))
    return Path(out)


def _by_test_set(runs: list[Run]) -> list[list[Run]]:
    """Group runs that were tested on the same images."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        test = ((run.data or {}).get("splits") or {}).get("test") or {}
        groups.setdefault(str(test.get("checksum") or run.path), []).append(run)
    return list(groups.values())


DEMO = {"demo": ".", "demo-residual": "common-test"}
"""Recipes of the demo, and the folders below its own that they fill."""


def demo(
    out: str | Path = "runs/demo",
    *,
    tiny: bool = False,
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> tuple[list[TrainedRun], Path | None]:
    """Do the main job from start to finish, twice: simulate, train two networks, evaluate them on the same images; then report.

    Returns:
        The runs and the page; the page is None if the user interrupted.
    """
    runs: list[TrainedRun] = []
    for recipe, folder in DEMO.items():
        runs += train(recipe, out=Path(out) / folder, set=["tiny=true"] if tiny else [], log=log, progress=progress)
        if not all(run.complete for run in runs):
            return runs, None
    return runs, report(runs, Path(out) / "report.html", title="darklens demo: dark-matter substructure in simulated lenses")
