"""A campaign: a network asks, people label, the network learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.api.trained_run import TrainedRun
from darklens.runs import Run

if TYPE_CHECKING:
    from darklens.recipes.campaign import Campaign as Folder

Skip = Callable[[str, str], None]
Progress = Callable[[str, int, int], None]


def _silent(phase: str, done: int, total: int) -> None:
    """Show no progress."""


class Campaign:
    """A campaign of active learning in a folder: `Campaign.start(...)` or `Campaign(path)`, then `next` and `learn` in turns.

    Args:
        path: its folder.

    Raises:
        InputError: the folder is no campaign.
    """

    def __init__(self, path: str | Path) -> None:
        from darklens.recipes.campaign import Campaign as Folder

        self._folder: Folder = Folder.open(path)
        self.path = self._folder.path

    @classmethod
    def start(
        cls,
        pool: str | Path,
        out: str | Path,
        *,
        run: str | Path | Run | None = None,
        recipe: str | Path | dict | None = None,
        set: Iterable[str] = (),
        validation: str | Path | None = None,
        replay: int = 4000,
        seed: int = 0,
        group: dict[str, str] | None = None,
        resize: bool = False,
        hdu: int | str | None = None,
        budget: str | float | None = None,
        device: str = "auto",
        force: bool = False,
        on_skip: Skip | None = None,
        log: Callable[[str], None] = print,
        progress: Progress = _silent,
    ) -> Campaign | None:
        """Begin a campaign; what was killed is continued by the same call.

        Args:
            pool: images without labels: a table, a folder, anything that darklens reads. Labels in it are not looked at.
            out: folder of the campaign.
            run: the first network: a run, its folder, or the name of a shipped one.
            recipe: or how to train it: a recipe's name, a YAML file, or plain data.
            set: overrides of the recipe, `"train.epochs=5"`.
            validation: labelled images to measure with, which are never asked for; one in three sets epoch and temperature. By
                default the run's own validation images set those, and its own test images measure.
            replay: images of the first training that are learned from again in every round; 0 for none.
            seed: of what is drawn by lot.
            group: label in the validation data -> class of the run.
            resize: accept images of another size.
            hdu: extension of FITS files.
            budget: time that the first training may take.
            device: where to compute.
            force: replace a campaign.
            on_skip: receives (name, reason) of what cannot be used; by default it is passed over.
            log: receives sentences.
            progress: receives (phase, done, total).

        Returns:
            The campaign, measured once; None if the first training was interrupted.

        Raises:
            InputError: no usable pool, no first network, or validation images without one of the classes.
        """
        from darklens.recipes import load
        from darklens.recipes.campaign import begin
        from darklens.train.budget import duration

        opened = run if isinstance(run, Run) or run is None else Run.open(run)
        chosen = None if recipe is None else load(recipe, list(set))
        begun = begin(
            Path(pool), Path(out), run=opened, recipe=chosen, validation=None if validation is None else Path(validation),
            replay=replay, seed=seed, group=group, resize=resize, hdu=hdu, budget_s=None if budget is None else duration(budget),
            device=device, force=force, on_skip=on_skip or (lambda name, why: None), log=log, progress=progress,
        )  # fmt: skip
        return cls(out) if begun.about.get("complete") else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the last one is what is searched for."""
        return self._folder.classes

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row a finished round: number, run, labels so far, strategies, average precision and AUC with intervals."""
        return self._folder.history

    @property
    def run(self) -> TrainedRun:
        """The run of the last finished round."""
        return TrainedRun(self._folder.current.path)

    def next(self, n: int = 50, strategy: str = "uncertainty", *, device: str = "auto", log: Callable[[str], None] = print) -> Path:
        """Choose images to be labelled, none of which was asked for before.

        Args:
            n: how many.
            strategy: "uncertainty", "diversity", "expected-gain", "badge", "likely", "random" or "mixed".
            device: where to compute.
            log: receives sentences.

        Returns:
            A folder with `queue.csv` (id, source, why, score), `label.html` and `sheet.png` to label from, and `decisions.csv` to
            fill in (id, decision, who, when).

        Raises:
            InputError: an unknown strategy, or nothing is left to ask for.
        """
        from darklens.recipes.campaign import ask
        from darklens.report.label_page import write_label_page

        def page(queue: Any, classes: tuple[str, ...]) -> None:
            names = [asked.id for asked in queue.images]
            write_label_page(
                queue.path / "label.html", names, queue.pictures, classes, f"{self.path.name}: {len(names)} images to label"
            )

        return ask(self._folder, n, strategy, device=device, page=page, log=log).path

    def learn(
        self,
        decisions: str | Path | None = None,
        *,
        one_class: bool = False,
        budget: str | float | None = None,
        device: str = "auto",
        log: Callable[[str], None] = print,
        progress: Progress = _silent,
        **settings: Any,
    ) -> dict[str, Any] | None:
        """Learn from decisions in a new round; a round that was killed is continued by the same call, or by one without a file.

        Args:
            decisions: CSV file with the columns id, decision (a class, `maybe` or `skip`), who, when.
            one_class: go on without a decision for every class, where images of the first training stand for the others.
            budget: time that the training may take, "5m" or seconds.
            device: where to compute.
            log: receives sentences.
            progress: receives (phase, done, total).
            settings: epochs, lr, share, repeats, start; see `darklens.train.active.FineTuneConfig`.

        Returns:
            The round's row of the history; None if the training was interrupted.

        Raises:
            InputError: the decisions cannot be read, hold nothing new, or leave a class without an image.
            WorkError: the training failed.
        """
        from darklens.recipes.campaign import learn
        from darklens.train.active import FineTuneConfig
        from darklens.train.budget import duration

        before = len(self.history)
        learn(
            self._folder, None if decisions is None else Path(decisions), config=FineTuneConfig(**settings), one_class=one_class,
            budget_s=None if budget is None else duration(budget), device=device, log=log, progress=progress,
        )  # fmt: skip
        return self.history[-1] if len(self.history) > before else None
