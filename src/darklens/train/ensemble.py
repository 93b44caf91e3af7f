"""Several networks that answer as one: the mean of their probabilities, and how far they disagree.

Deep ensembles (Lakshminarayanan et al. 2017, arXiv:1612.01474): networks trained alike from other seeds, or unlike ones. Their
disagreement is the mutual information between the class and the member, `H(mean p) - mean H(p)` in nats: zero where all say the
same, however uncertain. The mean of calibrated probabilities is less confident than it might be; where all members have kept their
answers on one and the same validation split, a temperature of the mean's own is fitted there, and conformal sets likewise.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate import fit_temperature
from darklens.evaluate.conformal import conformal_scores, conformal_threshold, prediction_sets
from darklens.runs import Evaluation
from darklens.train.answers import Answers, Judge, softmax
from darklens.train.image_set import ImageSet
from darklens.train.novelty import Unusual
from darklens.train.predictor import Predictor


class Ensemble(Judge):
    """Predictors that answer as one.

    Args:
        members: two or more, with the same classes, in the same order, the same image shape and the same columns.

    Raises:
        InputError: fewer than two, or members that do not fit together.
    """

    held_out: tuple[np.ndarray, np.ndarray] | None = None
    prior: dict[str, float] | None = None
    threshold: float | None = None

    def __init__(self, members: Sequence[Predictor]) -> None:
        if len(members) < 2:
            raise InputError(f"{len(members)} run given: an ensemble needs at least 2")
        self.members = list(members)
        first = self.members[0]
        for what in ("classes", "shape", "columns"):
            for other in self.members[1:]:
                a, b = getattr(first, what), getattr(other, what)
                if a != b:
                    remedy = f"give runs that share {what}"
                    raise InputError(f"{first.run} has {what} {_said(a)} and {other.run} {_said(b)}: {remedy}")
        self.classes, self.shape, self.task = first.classes, first.shape, first.task
        self.coverage, self.temperature = first.coverage, 1.0
        self.prior = first.prior if all(m.prior == first.prior for m in self.members) else None
        self._calibrate()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, as the first member knows them."""
        return self.members[0].bands

    @property
    def columns(self) -> tuple[str, ...]:
        """Numbers that all members see beside an image, by name."""
        return self.members[0].columns

    def _calibrate(self) -> None:
        """Fit temperature and threshold of the mean on the validation images that all members share, if they do."""
        checksums = {(((m.run.data or {}).get("splits") or {}).get("validation") or {}).get("checksum") for m in self.members}
        kept = [m.validation for m in self.members if m.validation is not None]
        if None in checksums or len(checksums) > 1 or len(kept) < len(self.members):
            return
        labels = kept[0][1]
        if any(not np.array_equal(k[1], labels) for k in kept):
            return
        mean = np.mean([softmax(k[0] / m.temperature) for k, m in zip(kept, self.members, strict=True)], axis=0)
        self.temperature = fit_temperature(_log(mean), labels)
        self.held_out = softmax(_log(mean) / self.temperature), labels
        self.threshold = conformal_threshold(conformal_scores(*self.held_out), self.coverage)

    def answers(self, images: np.ndarray) -> Answers:
        """Return what the members say together of checked images `(n, bands, H, W)`; members that see the same share its fit."""
        seen: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        parts = []
        for member in self.members:
            key = _sight(member)
            if key not in seen:
                seen[key] = member.see(images)
            parts.append(member.answers_seen(*seen[key]))
        return self._together(parts)

    def answers_of(self, images: ImageSet) -> Answers:
        """Return what the members say together of a set."""
        if images.fitted or self.columns:
            return self._together([member.answers_of(images) for member in self.members])
        return self.answers(self.checked(images.pixels))

    def _together(self, parts: list[Answers]) -> Answers:
        each = np.stack([part.probabilities for part in parts])
        mean = each.mean(0)
        probabilities = softmax(_log(mean) / self.temperature)
        sets = None if self.threshold is None else prediction_sets(probabilities, self.threshold)
        disagreement = np.maximum(_entropy(mean) - _entropy(each).mean(0), 0.0)
        unusual = [part.unusual for part in parts if part.unusual is not None]
        return Answers(probabilities, sets, _majority(unusual) if len(unusual) == len(parts) else None, disagreement)

    def calibrated_on(self, images: np.ndarray, *, log: Callable[[str], None] = lambda sentence: None) -> Ensemble:
        """Return the same with every member that fits lenses calibrated on images `(n, bands, H, W)`.

        Raises:
            InputError: no member fits lenses, or the images do not allow it.
        """
        none = all(m.plan is None for m in self.members)
        return Ensemble([m.calibrated_on(images, log=log) if none or m.plan else m for m in self.members])

    def doubts(self, images: np.ndarray) -> list[str]:
        """Return what its members doubt."""
        return [said for member in self.members for said in member.doubts(images)]

    def on(self, device: str) -> Ensemble:
        """Return the same with the members' networks on a device."""
        found = copy.copy(self)
        found.members = [member.on(device) for member in self.members]
        return found

    def evaluation(self, name: str) -> Evaluation:
        """Return the folder of an evaluation on other data: where we stand, `evaluations/MEMBER+MEMBER/NAME`."""
        name = f"{name}-calibrated" if any(m.calibrated for m in self.members) else name
        names = "+".join(m.run.name.replace(":", "-") for m in self.members)
        return Evaluation(Path("evaluations") / names / name)


def _majority(parts: list[Unusual]) -> Unusual:
    """Call an image unusual where more than half of the members do, with the reasons of the first of them."""
    flags = np.mean([part.flags for part in parts], axis=0) > 0.5
    names = list(dict.fromkeys(name for part in parts for name in part.beyond))
    none = np.zeros(len(flags), bool)
    beyond = {name: flags & (np.mean([part.beyond.get(name, none) for part in parts], axis=0) > 0.5) for name in names}
    because = tuple(next(part.because[i] for part in parts if part.flags[i]) if flags[i] else "" for i in range(len(flags)))
    return Unusual(flags, because, beyond)


def _sight(member: Predictor) -> str:
    """Return what a member needs of an image, by name: members of one name share it."""
    if member.preprocess.input == "image":
        return "image"
    assert member.plan is not None, "a network that sees what was fitted comes with its plan"
    return json.dumps([member.preprocess.view, member.plan.key()])


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-300))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * _log(probabilities)).sum(-1)


def _said(value: tuple[Any, ...]) -> str:
    if not value:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value[0], str) else "x".join(map(str, value))
