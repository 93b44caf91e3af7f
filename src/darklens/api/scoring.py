"""Scores of a survey: as many images as there are, on as many machines as there are, once each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.runs import Run
    from darklens.train.answers import Judge


def score(
    run: str | Path | Run | Judge | Iterable[str | Path | Run],
    path: str | Path,
    out: str | Path,
    *,
    ray: str | None = None,
    workers: int | None = None,
    keep: Sequence[str] = (),
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    images_per_part: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score every image at a path into a folder of Parquet partitions; what is killed is continued by the same call.

    Args:
        run: a run, its folder, the name of a shipped one, several of them as an ensemble, or what `ensemble` returned.
        path: a table, an image, or a folder of images; also as a URL.
        out: folder of the scores, or URL of an object store; read it with `darklens.data.scores.read_scores`.
        ray: share the work on a Ray cluster: "local", "auto", or HOST:PORT of its head.
        workers: processes that score; by default this one on one machine, and all cores (or GPUs) of a cluster.
        keep: columns of the input that are carried along; `ra` and `dec` are where it has them, and those that the run sees.
        resize: accept images of another size, by resampling.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        device: where the networks compute; "auto" takes an accelerator where there is one.
        images_per_part: rows, or files, of a part; 4,096 by default, and more in a survey of over 80 million.
        force: replace scores of another run or input.
        progress: called with rows (or files) done, those of earlier calls too, and their total.

    Returns:
        The manifest: what was scored, by which weights, `rows`, `bad` (that could not be), and `noticed` (what the model doubts).

    Raises:
        InputError: no run, nothing to score, an unknown column to keep, no cluster, or `out` holds something else.
        WorkError: a disk is full, or the cluster went away; what is done is kept, and the same call continues.
    """
    from darklens.api.trained_run import ensemble
    from darklens.data.filesystem import Folder
    from darklens.data.options import Options
    from darklens.data.parts import check_kept, open_parts
    from darklens.runs import Run
    from darklens.train.answers import Judge
    from darklens.train.columns import listed_at
    from darklens.train.measured import ASKED
    from darklens.train.survey import Scorer, Survey, score_in

    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is impossible: give at least 1")
    if not isinstance(run, Judge):
        run = ensemble([run] if isinstance(run, str | Path | Run) else run, device="cpu" if ray else device)
    options = Options(hdu=hdu, bands=bands, size=run.shape[1:] if resize else None)
    images = open_parts(path, size_of_part=images_per_part, keep=[*keep, *run.columns], options=options)
    check_kept(images, keep)
    listed = run.columns if images.unit == "rows" else listed_at(path, run.columns)
    scorer = Scorer(run, images, Folder(str(out)), resize, tuple(listed))
    survey = Survey(scorer, {"options": options.given()}, force=force)
    done = survey.done

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, images.size)

    advance(0)
    noticed = run.doubts(scorer.sample(survey.missing[0], ASKED)) if survey.missing else []
    if survey.missing and ray is None:
        score_in(scorer, survey.missing, workers or 1, advance)
    elif survey.missing and ray is not None:
        from darklens.cluster.score import score_on_cluster

        score_on_cluster(scorer, survey.missing, address=ray, workers=workers, device=device, progress=advance)
    return survey.finish() | {"noticed": noticed}
