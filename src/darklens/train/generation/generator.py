"""A trained generator: run folder -> new images in physical units, of the classes and parameters that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.fit import Plan
from darklens.models import build
from darklens.runs import TOLD, Run
from darklens.train.checkpoint import load_weights, save_weights
from darklens.train.config import Preprocess
from darklens.train.config_generation import MOST_GUIDANCE, GenerationConfig
from darklens.train.generation.conditions import CLASS, Conditions
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.generation.intensity import Intensity
from darklens.train.generation.process import Process
from darklens.train.generation.samplers import check_sampler, guided, sample, slerp
from darklens.train.generation.smooth_lenses import Backdrop, SmoothLenses
from darklens.train.predictor import resolve_device
from darklens.train.preprocess import network_shape
from darklens.train.seeds import seed_at

MOST_TOLD = 4096
BATCH = 32
SHARE_OF_NOISE = 0.1
"""Noise at the last evaluation, in units of that of the images: below it a denoiser takes off a hundredth of their noise."""
NEAR = 0.2
"""Distance from what was seen of a class, with the whole range of a column being 2, up to which a value may be asked for."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generated:
    """New images and what they were asked to be.

    Args:
        images: `(n, bands, h, w)` float32 in the unit of the training images.
        told: `(n, c)`, as `Conditions.encode` gives it.
        labels: n class names, None for a network that knows no classes.
        truth: column -> `(n,)`, the numbers that were asked for.
    """

    images: np.ndarray
    told: np.ndarray
    labels: list[str | None]
    truth: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


class Generator:
    """The best weights of a run of the task `generation`.

    Args:
        run: a run folder whose training has written weights.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: the run is of another task, or its weights are missing or do not fit.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        with run.read_whole():
            self._open(run, device)

    def _open(self, run: Run, device: str) -> None:
        described = run.model
        if described.get("task") != "generation":
            raise InputError(f"{run} is a run of another task and makes no images: train one with darklens train lens-diffusion")
        self.run, self.described = run, described
        self.settings = GenerationConfig.model_validate(described["generation"])
        self.process, self.intensity = Process(self.settings.process), Intensity(**described["intensity"])
        self.conditions = Conditions.from_dict(described["conditions"])
        self.shape = generated_shape(described)
        self.device = resolve_device(device)
        self.network = build_generator(described).to(self.device)
        self._load(run)
        kept = load_weights(run.path / TOLD) if (run.path / TOLD).is_file() else {}
        self.known = kept["told"].numpy() if kept else np.zeros((1, 0), np.float32)
        self.backdrop, self.lenses = None, None
        if "backdrop" in described:
            self.backdrop = Backdrop.from_dict(described["backdrop"])
            self.lenses = SmoothLenses.from_tensors(Plan.from_dict(described["fit"]), self.conditions, kept)

    def _load(self, run: Run) -> None:
        state, wanted = load_weights(run.weights), self.network.state_dict()
        wrong = sorted(set(state) ^ set(wanted)) or [k for k in wanted if state[k].shape != wanted[k].shape]
        if wrong:
            raise InputError(
                f"{run.weights} does not fit model {self.described['name']!r}: {len(wrong)} tensors differ, first {wrong[0]}; "
                "restore the file that belongs to this run or train again"
            )
        self.network.load_state_dict(state)
        self.network.eval()

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec a pixel of the generated images; None where nobody said it of the images that were learnt from."""
        scale = self.described["pixel_scale"]
        return scale and scale * Preprocess.model_validate(self.described["preprocess"]).bin

    def generate(
        self,
        count: int,
        asked: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        first: int = 0,
        progress: Progress = lambda done, total: None,
        **how: Any,
    ) -> Generated:
        """Make images `first` to `first + count - 1` of a seed, each a function of the seed and its number.

        Args:
            count: how many.
            asked: "class" or a column -> value, the same for all; the rest is as it is together in training images.
            seed: of noise and conditions.
            first: number of the first.
            progress: called with (done, total) images.
            **how: `sampler`, `steps`, `guidance` in place of the run's.

        Raises:
            InputError: a count below 1, or a wish that the run cannot meet.
        """
        if count < 1:
            raise InputError(f"--n {count} images cannot be made: give at least 1")
        rows = self.rows_for(asked or {})
        told = rows[[seed_at(seed, i, 9) % len(rows) for i in range(first, first + count)]]
        scores = None if self.lenses is None else self.lenses.draw(told, seed, first)
        noise = self.noise(count, seed, first)
        numbers = range(first, first + count)
        images = self.images(told, noise, seed=seed, numbers=numbers, scores=scores, progress=progress, **how)
        return Generated(images, told, *self.named(told))

    def noise(self, count: int, seed: int, first: int = 0) -> Tensor:
        """Return what images begin as, `(count, bands, h, w)`, each its own draw."""
        generators = (torch.Generator().manual_seed(seed_at(seed, i, 7)) for i in range(first, first + count))
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in generators])

    def images(
        self,
        told: np.ndarray,
        noise: Tensor,
        *,
        seed: int = 0,
        numbers: Sequence[int] | None = None,
        scores: np.ndarray | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        progress: Progress = lambda done, total: None,
    ) -> np.ndarray:
        """Return images `(n, bands, h, w)` float32 in physical units that begin as this noise and are told this.

        A run with smooth lenses draws one for each from the seed, or takes those with these normal scores. Noise that a sampler
        adds on the way is a function of the seed and of the image's number, 0, 1, ... if none are given.
        """
        how = self.sampling(sampler, steps, guidance)
        numbers = range(len(noise)) if numbers is None else numbers
        smallest = min(0.02, max(0.001, SHARE_OF_NOISE * self.intensity.noise))
        smooth = self._smooth(told, seed, scores)
        made = []
        for first in range(0, len(noise), BATCH):
            part = noise[first : first + BATCH].to(self.device)
            telling = torch.from_numpy(told[first : first + BATCH]).to(self.device)
            behind = smooth[first : first + BATCH].to(self.device)
            found = sample(
                guided(self._seeing(behind), telling, how["guidance"] if self.conditions.size else 1.0),
                self.process,
                part,
                sampler=how["sampler"],
                steps=how["steps"],
                smallest=smallest,
                generators=[torch.Generator().manual_seed(seed_at(seed, i, 8)) for i in numbers[first : first + BATCH]],
                progress=partial(_advance, progress, first, len(part), len(noise)),
            )
            found = self.intensity.inverse(found)
            made.append((found if self.backdrop is None else self.backdrop.image(found, behind)).cpu().numpy())
        return np.concatenate(made)

    def sampling(self, sampler: str | None = None, steps: int | None = None, guidance: float | None = None) -> dict[str, Any]:
        """Return `sampler`, `steps` and `guidance` of new images: the run's where nothing else is asked for.

        Raises:
            InputError: an unknown sampler, or a number out of range.
        """
        own = self.settings
        weight = own.guidance if guidance is None else guidance
        if not 0 <= weight <= MOST_GUIDANCE:
            what = "negative" if weight < 0 else f"not between 0 and {MOST_GUIDANCE:g}"
            raise InputError(f"guidance {weight:g} is {what}: give 1 for what was asked, and more to ask with emphasis")
        if guidance not in (None, 1) and not self.conditions.size:
            raise InputError(f"guidance {weight:g} has nothing to insist on, this run was trained without conditions: leave it out")
        name, count = sampler or own.sampler, own.steps if steps is None else steps
        check_sampler(name, count)
        return {"sampler": name, "steps": count, "guidance": weight}

    def _smooth(self, told: np.ndarray, seed: int, scores: np.ndarray | None) -> Tensor:
        """Return the smooth lenses `(n, 1, h, w)` that images are made around, without a plane if there are none."""
        if self.lenses is None:
            return torch.zeros(len(told), 0, 1, 1)
        scores = self.lenses.draw(told, seed) if scores is None else scores
        return torch.from_numpy(self.lenses.render(scores, told, self.shape[1:], self.device))

    def _seeing(self, smooth: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return the network with smooth lenses `(B, 1, h, w)` before its eyes."""
        if self.backdrop is None:
            return self.network
        seen = self.backdrop.intensity.forward(smooth)
        return lambda mixed, time, told: self.network(
            torch.cat([mixed, seen.repeat(len(mixed) // len(seen), 1, 1, 1)], dim=1), time, told
        )

    def walk(self, frames: int, start: Mapping[str, Any], end: Mapping[str, Any], seed: int = 0, **how: Any) -> Generated:
        """Return images on the way from one to another.

        Args:
            frames: how many, at least 2.
            start: "class" or a column -> value of the first image; what is not said is as it is in a training image.
            end: column -> value of the last. Where the two differ, only what is told changes; where they do not, the noise goes on
                the great circle from that of image 0 to that of image 1, as published, and the smooth lens straight to the other.
            seed: of noise and conditions; what `ancestral` adds is the same for all images.
            **how: `sampler`, `steps`, `guidance` in place of the run's, and `progress`.

        Raises:
            InputError: fewer than 2 frames, or a wish that the run cannot meet.
        """
        if frames < 2:
            raise InputError(f"a walk of {frames} images leads nowhere: give at least 2")
        end = {**start, **end}
        rows = self.rows_for(start)
        first = rows[seed_at(seed, 0, 9) % len(rows)]
        self.rows_for(end)  # refuses what cannot be
        last = self._with(first, end)
        share = np.linspace(0, 1, frames, dtype=np.float32)
        told = first + share[:, None] * (last - first)
        ends = self.noise(2, seed)
        same = np.array_equal(first, last, equal_nan=True)
        noise = slerp(ends[0], ends[1], torch.from_numpy(share)) if same else ends[:1].repeat(frames, 1, 1, 1)
        scores = None
        if self.lenses is not None:
            a, b = self.lenses.draw(told[[0, 0]], seed)
            scores = a + share[:, None] * (b - a) if same else np.repeat(a[None], frames, axis=0)
        images = self.images(told, noise, seed=seed, numbers=[0] * frames, scores=scores, **how)
        return Generated(images, told, *self.named(told))

    def named(self, told: np.ndarray) -> tuple[list[str | None], dict[str, np.ndarray]]:
        """Return class names and numbers that vectors `(n, c)` tell."""
        k = len(self.conditions.classes)
        labels = [self.conditions.classes[int(row[:k].argmax())] if k and np.isfinite(row[:k]).all() else None for row in told]
        truth = {}
        for i, column in enumerate(self.conditions.columns, start=k):
            truth[column.name] = column.value(told[:, i].astype(np.float64))
        return labels, truth

    def rows_for(self, asked: Mapping[str, Any]) -> np.ndarray:
        """Return what was told of training images, `(m, c)`, with the wishes put in; only of classes that have such values.

        Raises:
            InputError: no class, or not the one that is asked for, has such values.
        """
        asked = {name: self.conditions.checked(name, value) for name, value in asked.items()}
        rows, k = self.known, len(self.conditions.classes)
        if CLASS in asked:
            rows = rows[rows[:, self.conditions.classes.index(asked[CLASS])] == 1]
        for i, column in enumerate(self.conditions.columns, start=k):
            if column.name not in asked:
                continue
            told = column.told(asked[column.name])
            fitting = [part for part in self._by_class(rows) if _has(part[:, i], told)]
            if not fitting:
                raise InputError(
                    f"no image of class {asked.get(CLASS, 'any')} that this run was trained on had {column.name} = "
                    f"{asked[column.name]:g}: ask for another value, or another class"
                )
            rows = np.concatenate(fitting)
        return np.stack([self._with(row, asked) for row in rows]) if asked else rows

    def _with(self, row: np.ndarray, asked: Mapping[str, Any]) -> np.ndarray:
        """Return a row `(c,)` with these values put in."""
        row, k = row.copy(), len(self.conditions.classes)
        if CLASS in asked:
            row[:k] = [float(name == asked[CLASS]) for name in self.conditions.classes]
        for i, column in enumerate(self.conditions.columns, start=k):
            if column.name in asked:
                row[i] = column.told(float(asked[column.name]))
        return row

    def _by_class(self, rows: np.ndarray) -> list[np.ndarray]:
        """Split rows by their class; those of no class go."""
        k = len(self.conditions.classes)
        if not k:
            return [rows]
        return [rows[rows[:, i] == 1] for i in range(k) if (rows[:, i] == 1).any()]


def _advance(progress: Progress, first: int, count: int, whole: int, step: int, steps: int) -> None:
    """Tell how many images are done, when a batch has made a step."""
    progress(first + count * step // steps, whole)


def _has(values: np.ndarray, told: float) -> bool:
    """Whether a class has such a value: near those that were seen of it, or the only one that was."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = NEAR if high > low else 1e-6
    return bool(low - margin <= told <= high + margin)


def generated_shape(described: dict) -> tuple[int, int, int]:
    """Return `(bands, h, w)` of generated images."""
    return network_shape(tuple(described["shape"]), Preprocess.model_validate(described["preprocess"]))


def build_generator(described: dict) -> nn.Module:
    """Build the network that `model.json` describes, with fresh weights."""
    bands, height, width = generated_shape(described)
    conditions = Conditions.from_dict(described["conditions"])
    return build(
        described["name"],
        bands=bands,
        classes=max(1, len(conditions.classes)),
        size=(height, width),
        seed=described["seed"],
        **described["options"]
        | ({"parameters": len(conditions.columns)} if conditions.size else {})
        | ({"context": bands} if "backdrop" in described else {}),
    )


def save_told(run: Run, images: ConditionedImages, lenses: Callable[[np.ndarray, np.ndarray], SmoothLenses] | None) -> None:
    """Keep what was told about training images, of at most `MOST_TOLD` evenly spread ones, and their smooth lenses."""
    some = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST_TOLD)).astype(np.int64))
    told = images.told[some]
    kept = {"told": torch.from_numpy(np.ascontiguousarray(told))}
    if lenses is not None:
        assert images.lenses is not None, "images whose smooth lenses have a density have them"
        kept = lenses(told, images.lenses[some]).tensors()
    save_weights(run.path / TOLD, kept)
