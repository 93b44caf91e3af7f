"""From a network that learned without labels and images to numbers with intervals, and pictures of what it learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from darklens.evaluate import classification_metrics
from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import number, resamples
from darklens.evaluate.style import FigureSet
from darklens.evaluate.vector_figures import denoised_figure, history_figure, map_figure, reconstructions_figure
from darklens.evaluate.vectors import FEWEST, MOST, effective_rank, flat_map, linear_probe, neighbour_vote
from darklens.train.denoising import Denoising
from darklens.train.embedder import Embedder, embed
from darklens.train.image_set import ImageSet
from darklens.train.joint_embedding import JointEmbedding
from darklens.train.logits import predict_logits
from darklens.train.masked_autoencoder import MaskedAutoencoding, fixed_orders
from darklens.train.preprocess import prepare

if TYPE_CHECKING:
    from darklens.models.mae import MAE
    from darklens.models.mae_arc import MAEArc

Task = MaskedAutoencoding | JointEmbedding | Denoising
RESAMPLES, LEVEL = 1000, 0.95
SHOWN = 3
"""Images whose reconstruction is drawn, one a class where there are classes."""
LOT = 256
"""Training images that are read at once."""


def evaluate_unlabelled(
    embedder: Embedder,
    task: Task,
    train: Any,
    test: ImageSet,
    *,
    probe: int,
    unlabelled: str,
) -> dict[str, Any]:
    """Look at the test images, once: metrics; pictures and predictions are written into the run.

    Args:
        embedder: the trained run.
        task: what it was taught by.
        train: training images, of which at most `probe` are used with their labels, to judge the vectors by.
        test: test images.
        probe: most labels.
        unlabelled: the class of images without a label, which no probe is asked about.

    Returns:
        `loss` (and, but for a joint embedding, `unexplained_BAND`), `rank` of the vectors, and what `probe_metrics` gives.
    """
    run, folder = embedder.run, FigureSet(embedder.run.path / "figures")
    metrics, answers = _measured(embedder, task, test)
    vectors = embedder.vectors_of(test)
    metrics["rank"] = number(effective_rank(vectors), np.zeros(0), len(test), LEVEL)
    names = [None if test.classes[k] == unlabelled else test.classes[k] for k in test.labels]
    known = np.array([name is not None for name in names])
    some, labels = _labelled(embedder, train, probe, unlabelled)
    if len(np.unique(labels)) > 1 and len(np.unique(test.labels[known])) > 1:
        classes = tuple(name for name in test.classes if name != unlabelled)
        metrics |= probe_metrics(some, labels, vectors[known], test.labels[known], classes)
    run.write_predictions({"id": [str(i) for i in test.ids], "label": names} | _columns(task, answers))
    _history(folder, run.history)
    if isinstance(task, MaskedAutoencoding):
        _reconstructions(folder, embedder, task, test)
    if isinstance(task, Denoising):
        _denoised(folder, embedder, test)
    _map(folder, vectors, names)
    headline = [key for key, value in metrics.items() if isinstance(value, dict)]
    return metrics | {"headline": headline, "n": len(test)}


def probe_metrics(
    vectors: np.ndarray, labels: np.ndarray, test_vectors: np.ndarray, test_labels: np.ndarray, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return how well a linear layer, and the nearest neighbours, tell classes apart on frozen vectors.

    Args:
        vectors: `(n, d)` of labelled training images.
        labels: `(n,)` their class indices.
        test_vectors: `(m, d)`.
        test_labels: `(m,)`.
        classes: names in index order.

    Returns:
        `probe_accuracy` and `probe_auc_macro` with bootstrap intervals, `neighbours_accuracy` with an exact one, and
        `probe_labels`, how many labels both had.
    """
    probe = classification_metrics(linear_probe(vectors, labels, test_vectors, len(classes)), test_labels, classes)
    vote = neighbour_vote(vectors, labels, test_vectors, len(classes)).argmax(1) == test_labels
    return {
        "probe_accuracy": probe["accuracy"],
        "probe_auc_macro": probe["auc_macro"],
        "neighbours_accuracy": proportion(int(vote.sum()), len(vote)),
        "probe_labels": len(labels),
    }


def _measured(embedder: Embedder, task: Any, test: ImageSet) -> tuple[dict[str, Any], np.ndarray]:
    """Return what the task measures of test images, with intervals where it is a mean over images, and what it answered."""
    answers = predict_logits(embedder.network, task, test.seen_as(embedder.preprocess), embedder.preprocess, embedder.device)
    n = len(test)
    if isinstance(task, JointEmbedding):
        return {"loss": number(task.loss_of(answers), np.zeros(0), n, LEVEL)}, answers
    losses, unexplained = task.summary(answers)
    draws = [counts / n for counts in resamples(np.zeros(n), RESAMPLES, 0)]
    found = {"loss": number(losses.mean(), np.concatenate([draw @ losses.mean(1) for draw in draws]), n, LEVEL)}
    errors, means = np.split(np.concatenate([draw @ answers.astype(np.float64) for draw in draws]), 2, axis=1)
    for k, name in enumerate(_bands(task, losses.shape[1])):
        found[f"unexplained_{name}"] = number(unexplained[k], errors[:, k] / means[:, k], n, LEVEL)
    return found, answers


def _bands(task: MaskedAutoencoding | Denoising, count: int) -> list[str]:
    """Name the bands that a network sees."""
    images = count - int(task.residual)
    names = ["image"] if images == 1 else [f"band{k + 1}" for k in range(images)]
    return [*(["residual"] if task.residual else []), *names]


def _columns(task: Any, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of the predictions: the error of each band."""
    if isinstance(task, JointEmbedding):
        return {}
    return {f"error_{name}": answers[:, k] for k, name in enumerate(_bands(task, answers.shape[1] // 2))}


def _labelled(embedder: Embedder, train: Any, most: int, unlabelled: str) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors and class indices of at most so many labelled training images, which may be drawn as they are needed."""
    n = min(len(train), most)
    batches = train.seen_as(embedder.preprocess).epoch(0, np.linspace(0, len(train) - 1, n).round().astype(int), min(n, LOT))
    vectors, labels = [], []
    for inputs, classes in batches:
        array = inputs.numpy()
        vectors.append(embed(embedder.encoder, array.__getitem__, len(array), embedder.preprocess, embedder.device))
        labels.append(classes.numpy())
    found = np.concatenate(labels)
    known = found != list(train.classes).index(unlabelled)
    return np.concatenate(vectors)[known], found[known]


def _history(folder: FigureSet, history: list[dict[str, float]]) -> None:
    best = min(history, key=lambda row: row["val_loss"])
    folder.add(
        history_figure(history),
        "history.png",
        "Training history",
        f"The weights that are kept are those of epoch {best['epoch']:.0f} of {len(history)} (dotted), which has the smallest loss "
        "on validation.",
        f"Losses and learning rate over {len(history)} epochs",
    )


def _map(folder: FigureSet, vectors: np.ndarray, labels: list[str | None]) -> None:
    few = min(len(vectors), MOST // 2)
    if few < FEWEST:
        return
    folder.add(
        map_figure(flat_map(vectors[:few]), labels[:few], "Test images as the encoder sees them (t-SNE)"),
        "map.png",
        "A map of the vectors",
        f"The first {few:,} test images on a plane (t-SNE; van der Maaten & Hinton 2008): images whose vectors are neighbours are "
        "neighbours here, and distances between groups mean little. No label was used to make the vectors or the map.",
        f"A map of {few} test images, coloured by class",
    )


def _shown(embedder: Embedder, test: ImageSet) -> tuple[torch.Tensor, list[str]]:
    """Return what the network sees of the first test image of each class, and their names."""
    chosen = np.array([np.flatnonzero(test.labels == k)[0] for k in np.unique(test.labels)][:SHOWN])
    inputs = prepare(test.seen_as(embedder.preprocess).batch(chosen, embedder.device)[0], embedder.preprocess)
    return inputs, [test.classes[k] for k in test.labels[chosen]]


def _denoised(folder: FigureSet, embedder: Embedder, test: ImageSet) -> None:
    inputs, names = _shown(embedder, test)
    with torch.inference_mode():
        structure = embedder.network(inputs).float().cpu().numpy()
    folder.add(
        denoised_figure(inputs.cpu().numpy()[:, 0], structure[:, 0], names),
        "denoised.png",
        "What is structure and what is noise",
        "The first test image of each class: what the smooth fit leaves over, in units of the noise, what the network takes for "
        "structure in it, and the rest, which should look like noise. It has never seen a residual without noise.",
        "Residuals of test images, the structure found in them, and what is left",
    )


def _reconstructions(folder: FigureSet, embedder: Embedder, task: MaskedAutoencoding, test: ImageSet) -> None:
    (inputs, names), network = _shown(embedder, test), cast("MAE | MAEArc", embedder.network)
    with torch.inference_mode():
        order = fixed_orders(inputs, network.patches, network.seen)[0]
        predicted, target, hidden = (part.float().cpu().numpy() for part in network(inputs, order))
    share = f"{1 - network.seen / network.patches:.0%}"
    folder.add(
        reconstructions_figure(target, predicted, hidden[:, 0] > 0.5, names, _bands(task, target.shape[1])),
        "reconstructions.png",
        "What is guessed under the mask",
        f"The first test image of each class as the network is given it: {share} of the patches are hidden (grey) and guessed from "
        "the others. Residuals of the smooth fit are in units of the noise. What was not guessed should look like noise.",
        f"Test images with {share} of their patches hidden, the guesses, the truth and the differences",
    )
