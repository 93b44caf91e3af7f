"""New images from a trained generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError
from darklens.runs import Run

if TYPE_CHECKING:
    from darklens.data import Table
    from darklens.train.generation import Generator

AT_ONCE = 256
NOTE = "Made by a network out of noise: neither observed nor simulated; labels and truth columns are what it was asked for."


def generate(
    run: str | Path | Run,
    n: int,
    *,
    out: str | Path,
    set: Iterable[str] = (),
    seed: int = 0,
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Table:
    """Generate images into a table like any other, whose manifest says that they are synthetic.

    Args:
        run: a run of the task generation, or its folder.
        n: how many.
        out: folder of the table; one that holds part of this very table is continued.
        set: what is asked for, "theta_E=1.2", "class=cdm"; the rest is as it is together in training images.
        seed: image i is a function of the seed and i.
        sampler: "dpm-solver++", "ddim" or "ancestral"; the run's by default.
        steps: evaluations of the network for an image; the run's by default.
        guidance: how much more than told; the run's by default.
        device: where to compute.
        force: replace whatever is in `out`.
        progress: called with (phase, done, total).

    Returns:
        The table: images in the unit of the training images, labels and columns as they were asked for.

    Raises:
        InputError: the run makes no images, or cannot make these, or `out` holds something else.
    """
    from darklens.data import Table, TableWriter

    if n < 1:
        raise InputError(f"--n {n} images cannot be made: give at least 1")
    generator = _generator(run, device)
    asked = generator.conditions.asked(list(set))
    how = generator.sampling(sampler, steps, guidance)
    generator.rows_for(asked)
    about = _manifest(generator, n, asked, seed, how)
    name, classes = generator.run.name.replace(":", "-"), list(generator.conditions.classes)
    with TableWriter(Path(out), shape=generator.shape, classes=classes, manifest=about, force=force) as writer:
        for first in range(writer.rows_done, n, AT_ONCE):
            count = min(AT_ONCE, n - first)

            def advance(done: int, total: int, first: int = first) -> None:
                progress("generating images", first + done, n)

            made = generator.generate(count, asked, seed=seed, first=first, progress=advance, **how)
            ids = [f"{name}-{seed}-{i:08d}" for i in range(first, first + count)]
            writer.write_columns(ids=ids, images=made.images, labels=made.labels, truth=made.truth)
    return Table.open(out)


def walk(
    run: str | Path | Run,
    *,
    out: str | Path,
    frames: int = 24,
    set: Iterable[str] = (),
    to: Iterable[str] = (),
    seed: int = 0,
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Draw the way from one generated image to another, as an animation and as a strip of pictures.

    Args:
        run: a run of the task generation, or its folder.
        out: GIF file; the strip lies beside it, as PNG.
        frames: images on the way.
        set: what the first image shall be, "theta_E=0.9".
        to: what the last one shall be where it differs, "theta_E=1.5"; the noise is then the same all the way. Without it, the
            noise goes from one image's to another's on a great circle.
        seed: of noise and conditions.
        sampler: "dpm-solver++", "ddim" or "ancestral"; the run's by default.
        steps: evaluations of the network for an image; the run's by default.
        guidance: how much more than told; the run's by default.
        device: where to compute.
        force: replace the files.
        progress: called with (phase, done, total).

    Returns:
        `animation`, `strip` (paths), `frames`, and `captions` of the images.

    Raises:
        InputError: another ending than .gif, files that are there already, or a wish that the run cannot meet.
    """
    import numpy as np

    from darklens.evaluate.generated_figures import save_animation, save_strip
    from darklens.train.generation.evaluation import captions

    path = Path(out)
    strip = path.with_suffix(".png")
    if path.suffix.lower() != ".gif":
        raise InputError(f"{path} does not end in .gif: the walk is an animation, and its strip lies beside it as .png")
    if not force and (there := next((p for p in (path, strip) if p.exists()), None)):
        raise InputError(f"{there} is there already: choose another --out or give --force")
    generator = _generator(run, device)
    conditions = generator.conditions
    start, end = conditions.asked(list(set)), conditions.asked(list(to))
    how = generator.sampling(sampler, steps, guidance)
    made = generator.walk(frames, start, end, seed, progress=partial(progress, "generating images"), **how)
    images, titles = made.images[:, 0], captions(generator, made.told)
    scale = generator.pixel_scale
    path.parent.mkdir(parents=True, exist_ok=True)
    save_animation(path, images, titles, pixel_scale=scale)
    some = np.unique(np.linspace(0, frames - 1, min(frames, 16)).round().astype(int))
    save_strip(strip, images[some], [titles[i] for i in some], pixel_scale=scale)
    return {"animation": str(path), "strip": str(strip), "frames": frames, "captions": titles}


def _generator(run: str | Path | Run, device: str) -> Generator:
    from darklens.train.generation import Generator

    return Generator(run if isinstance(run, Run) else Run.open(run), device)


def _manifest(generator: Generator, n: int, asked: dict[str, Any], seed: int, how: dict[str, Any]) -> dict[str, Any]:
    """Return what the table's manifest says of its making."""
    from darklens.files import sha256_of

    described, card = generator.described, generator.run.data or {}
    taught = described.get("preset") or card.get("source") or "images of unknown origin"
    return {
        "synthetic": True,
        "summary": f"{n} images generated by {described['name']}, taught with {taught}",
        "notes": NOTE,
        "source": f"generated by {generator.run.name}",
        "generator": {"run": generator.run.name, "weights": sha256_of(generator.run.weights), "asked": asked} | how,
        "instrument": card.get("instrument"),
        "cosmology": card.get("cosmology"),
        "seed": seed,
        "pixel_scale": generator.pixel_scale,
        "flux_unit": described["flux_unit"],
        "rows": n,
        "units": {column.name: column.unit for column in generator.conditions.columns},
    }
