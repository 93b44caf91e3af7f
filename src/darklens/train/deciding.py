"""From probabilities to decisions: another class ratio than that of the training images, and a threshold chosen on validation.

A search is trained on images of which one in seventeen is a lens, and used where it is one in a thousand. Bayes' rule says what the
probabilities are there (Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21, eq. 4), if only the ratio differs.
Conformal sets are left as they are: their promise holds for images like those of validation, class ratio included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from darklens.errors import InputError, unknown
from darklens.evaluate.thresholds import RULES, choose_thresholds
from darklens.runs import Evaluation
from darklens.train.answers import Answers, Judge, softmax
from darklens.train.image_set import ImageSet
from darklens.train.imbalance import prevalence_offsets


class Deciding(Judge):
    """A model whose probabilities hold for another class ratio, and that calls images by a threshold.

    Args:
        judge: a trained model of two classes, or several as one.
        prevalence: fraction of the second class where its probabilities shall hold; None leaves the ratio of the training images.
        threshold: "f1" or "cost", chosen on validation images, for this prevalence; a probability; or None, which calls each
            image by its more probable class.
        cost_fp: of a false positive, for "cost"; None takes that of the run.
        cost_fn: of a positive that is missed; None takes that of the run.

    Raises:
        InputError: more than two classes, a value out of its range, or a run that has not kept what the wish needs.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        prevalence: float | None = None,
        threshold: str | float | None = None,
        cost_fp: float | None = None,
        cost_fn: float | None = None,
    ) -> None:
        if len(judge.classes) != 2:
            classes = ", ".join(judge.classes)
            raise InputError(f"a prevalence or threshold is that of one of two classes, and this run has {classes}: leave it out")
        self.judge, self.members = judge, getattr(judge, "members", [judge])
        self.classes, self.shape, self.coverage, self.task = judge.classes, judge.shape, judge.coverage, judge.task
        self.prevalence, self.wish, self.costs = prevalence, threshold, (cost_fp, cost_fn)
        self.offsets = (0.0, 0.0) if prevalence is None else tuple(prevalence_offsets(_prior(judge), prevalence))
        self.cut = self._cut(threshold)

    def _cut(self, threshold: str | float | None) -> float | None:
        if threshold is None:
            return None
        if isinstance(threshold, str) and threshold in RULES:
            return thresholds_of(self, *self.costs)[threshold]
        try:
            value = float(threshold)
        except ValueError:
            raise unknown("threshold", str(threshold), [*RULES, "a probability"]) from None
        if not 0 <= value <= 1:
            raise InputError(f"threshold {value:g} is outside 0 to 1: give a probability, f1 or cost")
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        """Numbers that it sees beside an image, by name."""
        return self.judge.columns

    @property
    def held_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Probabilities of the validation images for this class ratio, and their class indices."""
        kept = self.judge.held_out
        return None if kept is None else (self._shifted(kept[0]), kept[1])

    @property
    def prior(self) -> dict[str, float] | None:
        """Class -> fraction that the probabilities hold for."""
        if self.prevalence is None:
            return self.judge.prior
        return dict(zip(self.classes, (1 - self.prevalence, self.prevalence), strict=True))

    def answers(self, images: np.ndarray) -> Answers:
        """Return what it says of checked images `(n, bands, H, W)`."""
        return self._decided(self.judge.answers(images))

    def answers_of(self, images: ImageSet) -> Answers:
        """Return what it says of a set."""
        return self._decided(self.judge.answers_of(images))

    def calibrated_on(self, images: np.ndarray, *, log: Callable[[str], None] = lambda sentence: None) -> Deciding:
        """Return the same with the PSF and the noise of its fits measured on images."""
        return self._of(self.judge.calibrated_on(images, log=log))

    def doubts(self, images: np.ndarray) -> list[str]:
        """Return what the model doubts that it decides for."""
        return self.judge.doubts(images)

    def on(self, device: str) -> Deciding:
        """Return the same with its networks on a device."""
        return self._of(self.judge.on(device))

    def evaluation(self, name: str) -> Evaluation:
        """Return the folder of an evaluation on other data."""
        name = f"{name}-threshold-{self.wish}" if self.wish is not None else name
        return self.judge.evaluation(name if self.prevalence is None else f"{name}-prevalence-{self.prevalence:g}")

    def _of(self, judge: Judge) -> Deciding:
        cost_fp, cost_fn = self.costs
        return Deciding(judge, prevalence=self.prevalence, threshold=self.wish, cost_fp=cost_fp, cost_fn=cost_fn)

    def _shifted(self, probabilities: np.ndarray) -> np.ndarray:
        return softmax(np.log(np.maximum(probabilities, 1e-300)) + self.offsets) if self.prevalence is not None else probabilities

    def _decided(self, answers: Answers) -> Answers:
        probabilities = self._shifted(answers.probabilities)
        chosen = None if self.cut is None else (probabilities[:, 1] >= self.cut).astype(np.int64)
        return replace(answers, probabilities=probabilities, chosen=chosen)


def thresholds_of(judge: Judge, cost_fp: float | None = None, cost_fn: float | None = None) -> dict[str, float]:
    """Return the thresholds of a model of two classes, by the rule that chose them.

    `f1` and `cost`, from its validation images, for the class ratio that its probabilities hold for if that was asked for; and
    `equal-odds`, where an image speaks as much for one class as for the other: the default threshold of a network that was trained
    with equal weights of both, which is 0.5 in its own probabilities.

    Args:
        judge: the model.
        cost_fp: of a false positive; None takes that of its recipe.
        cost_fn: of a positive that is missed; None takes that of its recipe.

    Raises:
        InputError: it has kept no validation images, or none of one class.
    """
    if judge.held_out is None:
        raise InputError(
            "this run has kept no answers on validation images, which a threshold needs: train it again, or give a number"
        )
    probabilities, labels = judge.held_out
    usual = costs_of(judge)
    chosen = choose_thresholds(
        probabilities[:, 1],
        labels == 1,
        name=judge.classes[1],
        cost_fp=usual[0] if cost_fp is None else cost_fp,
        cost_fn=usual[1] if cost_fn is None else cost_fn,
        prevalence=getattr(judge, "prevalence", None),
    )
    found = {rule: chosen[rule]["threshold"] for rule in RULES}
    return found | ({"equal-odds": judge.prior[judge.classes[1]]} if judge.prior else {})


def costs_of(judge: Judge) -> tuple[float, float]:
    """Return the costs that the recipe of a model, or of the first of several, names."""
    first = getattr(judge, "members", [judge])[0]
    settings = first.run.recipe.get("train", {})
    return settings.get("cost_fp", 1.0), settings.get("cost_fn", 1.0)


def _prior(judge: Judge) -> dict[str, float]:
    if judge.prior is None:
        raise InputError(
            "this run does not say how many training images of each class it had, which --prevalence needs: train it again"
        )
    return judge.prior
