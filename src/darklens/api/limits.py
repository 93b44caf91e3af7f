"""How well anybody could do on the images of a preset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.runs import Run


def limit(
    preset: str,
    *,
    n: int = 600,
    seed: int = 0,
    out: str | Path | None = None,
    reference: str | Path | Run | None = None,
    steps: int | None = None,
    chains: int | None = None,
    budget: float | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Bound the score that any classifier could reach; see `darklens.infer.bayes_limit`.

    Args:
        preset: name.
        n: images, equally many of each class.
        seed: of images and chains.
        out: JSON file; beside it, in FILE.partial.json, is kept what is done, and a further call continues there.
        reference: a trained run, its folder, or the name of a shipped one, to score on the same images.
        steps: of a chain between prior and posterior.
        chains: of each image and class.
        budget: seconds after which no new images are begun.
        device: of the reference.
        force: forget what was done before.
        progress: called with (phase, done, total).

    Returns:
        The bound with intervals, with the command, commit, machine and date.

    Raises:
        InputError: unknown preset, a recording without a likelihood, or a run of other classes.
    """
    from darklens.files import write_json
    from darklens.infer import Effort, bayes_limit
    from darklens.simulate import preset as find_preset
    from darklens.train.provenance import provenance

    chosen = find_preset(preset)
    partial = None if out is None else Path(out).with_suffix(".partial.json")
    if force and partial is not None:
        partial.unlink(missing_ok=True)
    default = Effort()
    effort = Effort(default.steps if steps is None else steps, default.chains if chains is None else chains)
    answers = None if reference is None else _answers(reference, chosen.classes, device)
    content = bayes_limit(
        chosen, n=n, seed=seed, effort=effort, budget=budget, partial=partial, reference=answers, progress=progress
    )
    about = provenance()
    content |= {name: about[name] for name in ("command", "commit", "machine", "date")}
    if reference is not None:
        content["reference_run"] = str(reference.path if isinstance(reference, Run) else reference)
    if out is not None:
        write_json(Path(out), content)
    return content


def _answers(run: str | Path | Run, classes: tuple[str, ...], device: str) -> Callable[[Any], Any]:
    """Return a function from images to probabilities in the order of these classes."""
    from darklens.api.trained_run import ensemble

    judge = ensemble([run], device=device)
    known = tuple(judge.classes)
    if set(known) != set(classes):
        raise InputError(
            f"the reference tells {', '.join(known)} apart and the preset has {', '.join(classes)}: give a run for this preset"
        )
    order = [known.index(name) for name in classes]
    return lambda images: judge.probabilities(images)[:, order]
