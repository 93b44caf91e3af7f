"""From a trained super-resolution run and pairs of images to numbers with intervals, predictions and pictures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darklens.data import content_hash, read_pairs
from darklens.errors import InputError
from darklens.evaluate.image_quality import psnr
from darklens.evaluate.super_resolution import super_resolution_metrics
from darklens.evaluate.super_resolution_figures import save_super_resolution_figures
from darklens.models import CLASSICAL, sky_and_noise
from darklens.runs import Evaluation
from darklens.train.config_super_resolution import SuperResolutionConfig
from darklens.train.enhancer import Enhancer
from darklens.train.pair_facts import registered
from darklens.train.pair_set import PairSet

SMOOTH = "smooth lens"
"""The fit without a network, among the methods."""
TRUTH = "truth"
"""Among the methods that are judged against images as recorded: the most that any can reach."""
FEWEST = 5
"""Pairs below which an interval would be a guess."""
HEADLINE = ("gain_db", "psnr", "ssim", "ssim_gain", "power_error", "flux_bias", "coverage", "coverage_bright")


def judge_pairs(
    enhancer: Enhancer,
    images: PairSet,
    into: Evaluation,
    *,
    unit: str = "",
    history: Sequence[dict[str, float]] = (),
) -> dict[str, Any]:
    """Sharpen images by every method, and write metrics, predictions (the PSNR of each image) and figures into a folder.

    Args:
        enhancer: the trained model.
        images: pairs; the run's own target is judged, and beside it the other one, where it is known.
        into: the folder.
        unit: of a pixel.
        history: rows of `history.csv`, for the run itself.

    Returns:
        The metrics; they are written last.
    """
    pairs, settings = images.pairs, SuperResolutionConfig.model_validate(enhancer.described["settings"])
    name, target = enhancer.described["name"], "truth" if images.truth else "recorded"
    image, sigma = enhancer(pairs.low)
    answers = {method: enhancer.classical(pairs.low, method) for method in CLASSICAL} | {name: image}
    if (smooth := enhancer.smooth_lens(pairs.low)) is not None:
        answers[SMOOTH] = smooth
    # what nobody can pass: of the noise in a sharp image a perfect answer knows nothing either
    perfect = {} if pairs.truth is None else {TRUTH: pairs.truth}
    judged = {"truth": answers, "recorded": answers | perfect}
    metrics = super_resolution_metrics(judged[target], images.targets, network=name, recorded=pairs.high, sigma=sigma)
    against = {
        kind: super_resolution_metrics(judged[kind], other, network=name, recorded=pairs.high)["methods"]
        for kind, other in (("recorded", pairs.high), ("truth", pairs.truth))
        if other is not None and kind != target
    }
    metrics |= {"task": "super-resolution", "target": target, "against": against, "classes": []}
    metrics["headline"] = [key for key in HEADLINE if key in metrics]
    columns = {f"psnr_{method}": psnr(found, images.targets) for method, found in answers.items()}
    into.write_predictions({"id": [str(i) for i in pairs.ids]} | columns)
    save_super_resolution_figures(
        into.path / "figures",
        pairs.low,
        {method: answers[method] for method in ("bicubic", name)},
        images.targets,
        sky_and_noise(torch.from_numpy(pairs.high))[1][:, :1].numpy(),
        metrics,
        history,
        gain=enhancer.gain,
        target_name="truth" if images.truth else "sharp image",
        unit=unit,
        rows=settings.pictures,
    )
    into.write("metrics", metrics)
    return metrics


def evaluate_pairs(enhancer: Enhancer, path: Path, *, name: str | None = None, out: Path | None = None) -> dict[str, Any]:
    """Evaluate a run on other pairs, into `RUN/evaluations/NAME` or `out`.

    Args:
        enhancer: the trained model.
        path: a folder of pairs; shifts of pairs from files are removed first, as the run's recipe says.
        name: name of the evaluation; the folder's by default.
        out: another folder for the results.

    Raises:
        InputError: no pairs, too few, or pairs of another size, scale factor, range or pixel scale than those of the training.
    """
    pairs, settings = read_pairs(path), SuperResolutionConfig.model_validate(enhancer.described["settings"])
    if len(pairs) < FEWEST:
        raise InputError(f"{path} has {len(pairs)} pairs: an interval needs at least {FEWEST}")
    if pairs.scale != enhancer.scale:
        raise InputError(f"{path} has pairs of scale factor {pairs.scale} and the run makes images {enhancer.scale} times finer")
    for who, image in zip(pairs.ids, pairs.low, strict=True):
        enhancer.checked(image, f"{path / 'LR' / str(who)}", pairs.about.get("pixel_scale"), pairs.about.get("flux_unit"))
    if settings.register_pairs and "gain" not in pairs.about:
        pairs, _ = registered(pairs, path)
    images = PairSet(pairs, settings.target == "truth" and pairs.truth is not None)
    place = enhancer.run.evaluation(name or path.resolve().name) if out is None else Evaluation(out)
    kept = {key: pairs.about.get(key) for key in ("preset", "summary", "notes", "instrument", "pixel_scale", "flux_unit", "seed")}
    card = {"source": str(path), "shape": list(images.shape), "rows": len(pairs), "classes": [], "counts": {}}
    place.write("data", kept | card | {"checksum": pairs.checksum or content_hash(np.ascontiguousarray(pairs.low[:, 0]))})
    return judge_pairs(enhancer, images, place, unit=enhancer.described["flux_unit"] or "")
