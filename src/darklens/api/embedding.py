"""Images as vectors: what a network makes of them, and which of them are alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.runs import Run


def embed(
    run: str | Path | Run,
    path: str | Path,
    out: str | Path,
    *,
    map: str | Path | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Write what a network makes of every image at a path: one vector each.

    Args:
        run: of a model that learned without labels, or of a classifier, whose vectors are what its last layer sees;
            folder or shipped name.
        path: a table, an image, a folder of images.
        out: Parquet file with columns id, source, label and vector.
        map: a PNG with all images on a plane, neighbours beside each other (t-SNE), coloured by their labels; at most 5,000 images.
        resize: accept images of another size, by resampling.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        device: where the network computes.
        force: replace files that are there.

    Returns:
        `images`, `dimension`, `skipped` (name and reason), `noticed` (sentences), `out`, and `map` where one was drawn.

    Raises:
        InputError: no run, no image that fits it, or files in the way.
    """
    from darklens.evaluate.vector_figures import map_figure, save_picture
    from darklens.evaluate.vectors import flat_map
    from darklens.train.embedder import Embedder
    from darklens.train.vector_file import embed_path, read_vectors

    picture = None if map is None else _free_picture(Path(map), force, "--map")
    embedder = Embedder(run if isinstance(run, Run) else Run.open(run), device)
    found = embed_path(embedder, Path(path), Path(out), resize=resize, hdu=hdu, bands=bands, force=force)
    if picture is None:
        return found
    vectors = read_vectors(Path(out), embedder)
    assert vectors is not None  # written a moment ago
    title = f"{len(vectors):,} images as {embedder.run.name} sees them (t-SNE)"
    save_picture(map_figure(flat_map(vectors.vectors), vectors.labels, title), picture)
    return found | {"map": str(picture)}


def similar(
    run: str | Path | Run,
    image: str | Path,
    among: str | Path,
    *,
    top: int = 11,
    out: str | Path | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Return the images that a network finds most like one image.

    Args:
        run: as of `embed`.
        image: the image; of a file or table with several the first.
        among: a table, a folder of images, or the vectors that `embed` wrote of them, which is faster the second time.
        top: how many.
        out: a PNG with the image and those most like it.
        resize: accept images of another size, by resampling.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        device: where the network computes.
        force: replace a picture that is there.

    Returns:
        `image`, `among` (number of images), `skipped`, `noticed` (sentences), and `neighbours`, nearest first: id, source, label,
        similarity (the cosine of the angle between vectors whose components have mean 0 and deviation 1 over all images; 1 is
        the same).

    Raises:
        InputError: no run, no image that fits it, too few of them for a deviation, or a picture in the way.
    """
    from itertools import islice

    from darklens.data import Noticed, read
    from darklens.evaluate.vectors import FEWEST, nearest
    from darklens.train.embedder import Embedder
    from darklens.train.vector_file import vectors_at

    if top < 1:
        raise InputError(f"--top {top} asks for no image: give at least 1")
    picture = None if out is None else _free_picture(Path(out), force, "--out")
    embedder = Embedder(run if isinstance(run, Run) else Run.open(run), device)
    options: dict[str, Any] = {"hdu": hdu, "bands": bands}
    size = embedder.shape[1:] if resize else None
    noticed = Noticed()
    ((records, own),) = embedder.stream(noticed.watch(islice(read(image, **options, size=size), 1)), resize=resize)
    all_of, skipped = vectors_at(embedder, Path(among), noticed, resize=resize, **options)
    if len(all_of) < FEWEST:
        raise InputError(
            f"{among} holds {len(all_of)} images that can be used, and likeness is measured in their spread: give at least {FEWEST}"
        )
    order, likeness = nearest(own[0], all_of.vectors, top)
    neighbours = [
        {"id": all_of.ids[i], "source": all_of.sources[i], "label": all_of.labels[i], "similarity": round(float(value), 4)}
        for i, value in zip(order, likeness, strict=True)
    ]
    if picture is not None:
        _draw(picture, records[0], neighbours, embedder, Path(among), resize)
    found = {"image": records[0].source or records[0].id, "among": len(all_of), "skipped": skipped, "noticed": noticed.lines()}
    return found | {"neighbours": neighbours} | ({} if picture is None else {"out": str(picture)})


def _draw(picture: Path, query: Any, neighbours: list[dict[str, Any]], embedder: Any, among: Path, resized: bool) -> None:
    from darklens.data.finding import find_images
    from darklens.evaluate.vector_figures import neighbours_figure, save_picture

    ids = [row["id"] for row in neighbours]
    there = None if among.suffix == ".parquet" else among
    found = find_images(ids, [row["source"] for row in neighbours], there)
    shown = [row for row in neighbours if row["id"] in found]
    if not shown:
        raise InputError(
            f"none of the images in {among} is where it was read from: give the table or folder instead of the vectors"
        )
    titles = [f"{_called(row['label'], row['id'])}\n{row['similarity']:.3f}" for row in shown]
    images = [found[row["id"]].image[0] for row in shown]
    unit, scale = embedder.run.model.get("flux_unit") or "", None if resized else embedder.run.model.get("pixel_scale")
    name = f"{_called(query.label, query.id)}\nthe image"
    save_picture(neighbours_figure(query.image[0], name, images, titles, unit=unit, pixel_scale=scale), picture)


def _called(label: str | None, name: str, most: int = 20) -> str:
    """Return what stands above a picture: a label, or the end of a name, since names of simulations differ there."""
    text = label or name
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _free_picture(path: Path, force: bool, option: str) -> Path:
    if path.suffix != ".png":
        raise InputError(f"{option} {path} ends in {path.suffix or 'nothing'!r}: the picture is a .png")
    if path.exists() and not force:
        raise InputError(f"{path} exists: choose another file or give --force")
    return path
