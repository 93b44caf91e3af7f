"""A trained model, ready to answer: run folder -> calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from darklens.data import Record, resize_image
from darklens.errors import InputError
from darklens.fit import Plan
from darklens.models import build
from darklens.runs import Run
from darklens.train.checkpoint import load_weights
from darklens.train.classification import Classification
from darklens.train.config import Preprocess
from darklens.train.image_set import ImageSet
from darklens.train.loop import predict_logits
from darklens.train.preprocess import check, network_shape

BATCH = 256


class Predictor:
    """The best weights of a run, with its preprocessing and its calibration.

    Args:
        run: a run folder whose training has written weights.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: weights are missing, damaged, or do not fit the recipe.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        self.run = run
        described = run.model
        self.classes: tuple[str, ...] = tuple(described["classes"])
        self.shape: tuple[int, int, int] = tuple(described["shape"])
        self.preprocess = Preprocess.model_validate(described["preprocess"])
        self.task = Classification(self.classes, described["group"], single_logit=described["single_logit"])
        self.device = resolve_device(device)
        self.model = build_model(described, self.task.outputs).to(self.device)
        self._load(run)
        fit = described.get("fit")
        self.plan = Plan.from_dict(fit) if fit else None
        self.temperature: float = (run.calibration or {}).get("temperature", 1.0)

    def _load(self, run: Run) -> None:
        state, wanted = load_weights(run.weights), self.model.state_dict()
        wrong = sorted(set(state) ^ set(wanted)) or [k for k in wanted if state[k].shape != wanted[k].shape]
        if wrong:
            raise InputError(
                f"{run.weights} does not fit model {run.model['name']!r} of the recipe: {len(wrong)} tensors differ, "
                f"the first is {wrong[0]}; restore the file that belongs to this run or train again"
            )
        self.model.load_state_dict(state)

    def logits(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Return `(n, k)` logits of images `(n, bands, H, W)`, `(n, H, W)` with one band, or a single image.

        Raises:
            InputError: rank, bands, size or values that do not fit.
        """
        array = np.asarray(images, dtype=np.float32)
        array = array[None] if array.ndim == 2 else array
        array = array[:, None] if array.ndim == 3 and self.shape[0] == 1 else array
        array = array[None] if array.ndim == 3 else array
        checked = [check(image, self.shape, f"image {i}") for i, image in enumerate(array)]
        return predict_logits(self.model, self.task, self.inputs(np.stack(checked)), self.preprocess, self.device)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Return what the network sees of checked images `(n, bands, H, W)`; smooth lenses are fitted where it asks for that."""
        if self.preprocess.input == "image":
            return images
        residuals = self.plan.fit(images[:, :1]).residual[:, None].astype(np.float32)
        return residuals if self.preprocess.input == "residual" else np.concatenate([residuals, images], axis=1)

    def probabilities(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Return `(n, k)` calibrated class probabilities; images as for `logits`."""
        return softmax(self.logits(images) / self.temperature)

    def logits_of(self, images: ImageSet) -> np.ndarray:
        """Return `(n, k)` logits of a set; residuals that it has already are not computed again."""
        if self.preprocess.input != "image" and images.residuals is None:
            return self.logits(images.images)
        return predict_logits(self.model, self.task, images.seen_as(self.preprocess.input), self.preprocess, self.device)

    def predict(
        self, records: Iterable[Record], *, resize: bool = False, on_skip: Callable[[str, str], None] | None = None
    ) -> Iterator[tuple[list[Record], np.ndarray]]:
        """Classify a stream of records, batch by batch; memory stays flat.

        Args:
            records: images with names.
            resize: accept other sizes by resampling.
            on_skip: called with (name, reason) of an image that does not fit; None raises the reason instead.

        Yields:
            Records and their `(n, k)` calibrated probabilities.
        """
        stream = iter(records)
        while batch := list(islice(stream, BATCH)):
            fitting: list[Record] = []
            images = []
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
                logits = predict_logits(self.model, self.task, self.inputs(np.stack(images)), self.preprocess, self.device)
                yield fitting, softmax(logits / self.temperature)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities `(n, k)` float64 of logits."""
    return torch.softmax(torch.from_numpy(np.asarray(logits, dtype=np.float64)), dim=1).numpy()


def build_model(described: dict, outputs: int) -> torch.nn.Module:
    """Build the network that `model.json` describes, with fresh weights."""
    settings = Preprocess.model_validate(described["preprocess"])
    bands, height, width = network_shape(tuple(described["shape"]), settings)
    return build(
        described["name"],
        bands=bands,
        classes=outputs,
        size=(height, width),
        pixel_scale=described["pixel_scale"] * settings.bin,
        seed=described["seed"],
        **described["options"],
    )


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; "auto" takes an accelerator where there is one.

    Raises:
        InputError: the device does not exist here.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(k for k, there in found.items() if there))
    if not found.get(name.split(":")[0], False):
        raise InputError(
            f"device {name!r} is not available here: use {', '.join(k for k, there in found.items() if there)} or auto"
        )
    return torch.device(name)
