"""A trained network as a map from images to vectors: what its encoder, or the layer before its last, makes of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from darklens.data import Record, resize_image
from darklens.errors import InputError
from darklens.fit import Plan
from darklens.models import ENCODERS
from darklens.runs import Run
from darklens.train.answers import BATCH
from darklens.train.checkpoint import load_weights
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor, build_model, resolve_device
from darklens.train.preprocess import check, prepare


class Embedder:
    """Images to vectors.

    Args:
        run: of a classifier (its vectors are what the last layer sees), or of a model with an encoder.
        device: "auto", "cpu", "cuda" or "mps".

    Attributes:
        shape: `(bands, H, W)` of the images it takes.
        preprocess: from image to input.

    Raises:
        InputError: the weights are missing or damaged, or the run's model makes no vectors.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        with run.read_whole():
            self._open(run, device)

    def _open(self, run: Run, device: str) -> None:
        self.run, described = run, run.model
        self.shape: tuple[int, int, int] = tuple(described["shape"])
        self.preprocess = Preprocess.model_validate(described["preprocess"])
        self.device = resolve_device(device)
        self.plan = Plan.from_dict(described["fit"]) if described.get("fit") else None
        self.predictor: Predictor | None = None
        if self.preprocess.columns:
            raise InputError(f"{run} sees columns beside images, and vectors are made of images alone: give a run without them")
        if described["name"] in ENCODERS:
            self.network = loaded(run).to(self.device).eval()
            self.encoder = self.network.get_submodule("encoder")
        elif described.get("classes"):
            self.predictor = Predictor(run, device)
        else:
            known = f"{', '.join(ENCODERS)}, or a classifier"
            raise InputError(f"{run} is a run of {described['name']}, which makes no vectors: give a run of {known}")

    def see(self, images: np.ndarray) -> np.ndarray:
        """Return what the network sees of checked images `(n, bands, H, W)`; smooth lenses are fitted where it asks for that."""
        return network_inputs(images, self.plan, self.preprocess)[0]

    def vectors(self, images: np.ndarray) -> np.ndarray:
        """Return `(n, d)` float32 of checked images `(n, bands, H, W)`."""
        return self.vectors_seen(self.see(images))

    def vectors_seen(self, inputs: np.ndarray) -> np.ndarray:
        """Return the vectors of what `see` returned."""
        if self.predictor is not None:
            return self.predictor.features(inputs)
        return embed(self.encoder, inputs.__getitem__, len(inputs), self.preprocess, self.device)

    def vectors_of(self, images: ImageSet) -> np.ndarray:
        """Return the vectors of a set; fits that it has already are not repeated."""
        if not images.has(self.preprocess):
            return self.vectors(images.images[: len(images)])
        seen = images.seen_as(self.preprocess)
        if self.predictor is not None:
            return self.predictor.features(seen)
        return embed(self.encoder, seen.inputs, len(seen), self.preprocess, self.device)

    def stream(
        self, records: Iterable[Record], *, resize: bool = False, on_skip: Callable[[str, str], None] | None = None
    ) -> Iterator[tuple[list[Record], np.ndarray]]:
        """Yield records and their vectors `(n, d)`, batch by batch.

        Args:
            records: images with names.
            resize: accept other sizes by resampling.
            on_skip: called with (name, reason) of an image that does not fit; None raises the reason instead.
        """
        stream = iter(records)
        while batch := list(islice(stream, BATCH)):
            fitting, images = [], []
            for record in batch:
                try:
                    image = resize_image(record.image, self.shape[1:]) if resize else record.image
                    images.append(check(image, self.shape, record.source or record.id))
                    fitting.append(record)
                except InputError as error:
                    if on_skip is None:
                        raise
                    on_skip(record.id, str(error))
            if fitting:
                yield fitting, self.vectors(np.stack(images))


def embed(
    encoder: nn.Module, inputs: Callable[[slice], np.ndarray], count: int, settings: Preprocess, device: torch.device | str
) -> np.ndarray:
    """Return the vectors `(count, d)` of an encoder, in batches, in float32.

    Args:
        encoder: prepared images `(B, bands, H, W)` to vectors `(B, d)`.
        inputs: slice -> what `prepare` takes, `(B, bands, H, W)`.
        count: number of images.
        settings: from inputs to prepared images.
        device: where the encoder is.
    """
    encoder.eval()
    parts: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(inputs(slice(start, min(start + BATCH, count))))).to(device)
            parts.append(encoder(prepare(batch, settings)).float().cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, cast(int, encoder.dimension)), np.float32)


def loaded(run: Run) -> nn.Module:
    """Return the network of a run with its best weights.

    Raises:
        InputError: the weights are missing, damaged, or those of another network.
    """
    network = build_model(run.model, 1)
    try:
        network.load_state_dict(load_weights(run.weights))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"{run.weights} does not fit model {run.model['name']!r} ({first}): restore it or train again") from error
    return network
