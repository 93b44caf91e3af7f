"""The run: a folder that holds everything about one training, and the only thing that evaluation, report and serving share.

    RUN/
      recipe.yaml           what was asked for, whole: the run can be repeated from it
      provenance.json       versions, commit, machine, device, precision, seed, checksums of the data
      data.json             the data card: what the images are, how many per class and split
      history.csv           one row an epoch
      model.json            what the weights are: architecture, classes, image shape, normalisation
      weights.safetensors   the best, judged on validation; last.safetensors the last epoch's
      state/                what resuming needs
      calibration.json      temperature, fitted on validation, and what conformal sets of some coverages need
      validation.safetensors  logits and labels of the validation images, for conformal sets of any coverage and for ensembles
      novelty.json          thresholds beyond which an image is unlike the training images; novelty.safetensors what those are like
      metrics.json          on the test split, each with its 95% interval
      predictions.parquet   id, label, and one probability column per class
      figures/              pictures, and figures.json with their titles, captions and alt texts
      evaluations/NAME/     the same four (data, metrics, predictions, figures) on other data

A few runs come with darklens; they go by the name `MODEL:PRESET`, and what is computed with them is written where the user stands.

JSON, CSV, Parquet and safetensors only; files are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from darklens.errors import InputError, unknown
from darklens.files import read_json, read_yaml, write_atomic, write_json

RECIPE, WEIGHTS, LAST, MODEL = "recipe.yaml", "weights.safetensors", "last.safetensors", "model.json"
SEEDS = "seeds.json"
"""What stands beside the runs of one recipe with several seeds."""
VALIDATION, NOVELTY = "validation.safetensors", "novelty.safetensors"
TOLD = "generation.safetensors"
"""What a generator was told about training images: new ones are asked to be like them where nobody asks for anything else."""
HUB_WEIGHTS = "model.safetensors"
"""What `WEIGHTS` are called in a folder for a model hub, which is a run folder otherwise."""
WORDS = ("summary", "expects", "official")
"""What a recipe says of itself: a newer darklens may say it otherwise, and the run is the same."""
OWN = (
    *(RECIPE, WEIGHTS, LAST, MODEL, "provenance.json", "data.json", "history.csv", "calibration.json", "metrics.json"),
    *("predictions.parquet", "report.html", "state", "figures", "evaluations", VALIDATION, NOVELTY, "novelty.json", TOLD),
)
"""Everything that a run folder consists of."""
SHIPPED = Path(__file__).parent / "shipped"
"""Runs that come with darklens, as MODEL/PRESET: without figures, predictions and state, and never written to."""


def shipped(task: str | None = None) -> list[str]:
    """Return the names of the runs that come with darklens, `MODEL:PRESET`.

    Args:
        task: only runs of this task as `model.json` names it; "classification" are those that tell classes apart. All by default.
    """
    found = sorted(recipe.parent for recipe in SHIPPED.glob(f"*/*/{RECIPE}"))
    if task is not None:
        found = [place for place in found if Run(place).model.get("task", "classification") == task]
    return [f"{place.parent.name}:{place.name}" for place in found]


def locate(reference: str | Path) -> Path:
    """Return the folder of a run: the reference itself where there is such a folder, else the shipped run of that name.

    A shipped run is called MODEL:PRESET, in either order; the name of its recipe, alone or instead of the model, means it too.

    Raises:
        InputError: neither.
    """
    path, name = Path(reference), str(reference)
    if path.exists() or name.count(":") > 1 or "/" in name:
        return path
    known = shipped()
    for called in (name, ":".join(name.split(":")[::-1])):  # people write either first
        if called in known:
            return SHIPPED.joinpath(*called.split(":"))
    for place in (SHIPPED.joinpath(*called.split(":")) for called in known):
        recipe = Run(place).recipe["name"]
        if name in (recipe, f"{recipe}:{place.name}", f"{place.name}:{recipe}"):
            return place
    if ":" not in name:
        return path
    if not known:
        raise InputError(f"unknown run {name!r}: no run comes with this copy of darklens; give the folder of a run")
    raise unknown("shipped run", name, known)


def _read_json(path: Path) -> Any:
    """Read a file of a run, None while it is not there."""
    return read_json(path) if path.is_file() else None


class Evaluation:
    """What a model did on one set of images: a folder with data card, metrics, predictions and figures.

    Args:
        path: the folder.
        name: what to call it; the folder's name by default.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.name

    def __str__(self) -> str:
        """Return the folder."""
        return str(self.path)

    @property
    def metrics(self) -> dict | None:
        """`metrics.json`, or None before it is there."""
        return _read_json(self.path / "metrics.json")

    @property
    def data(self) -> dict | None:
        """`data.json`: the data card."""
        return _read_json(self.path / "data.json")

    @property
    def figures(self) -> list[dict]:
        """`figures/figures.json`: file, title, caption and alt text of each picture, in order."""
        return (_read_json(self.path / "figures" / "figures.json") or {}).get("figures", [])

    def predictions(self) -> dict[str, np.ndarray]:
        """Return `predictions.parquet` as arrays: id, label, predicted, one probability per class.

        Raises:
            InputError: there is no readable file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / "predictions.parquet"
        if not path.exists():
            remedy = "run darklens evaluate on it and the others with --data PATH, and take those by --on NAME"
            raise InputError(f"{self.name} has no predictions of single images: {remedy}")
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read ({error}): run darklens evaluate on this run first") from error
        return {name: table[name].to_numpy() for name in table.column_names}

    def write_predictions(self, columns: dict[str, Any]) -> None:
        """Write `predictions.parquet`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        write_atomic(self.path / "predictions.parquet", buffer.getvalue())

    def write(self, name: str, content: object) -> None:
        """Write a JSON file of the folder, for example `metrics`."""
        write_json(self.path / f"{name}.json", content)


class Run(Evaluation):
    """A run folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        path = Path(path)
        self.shipped = path.parent.parent == SHIPPED
        super().__init__(path, f"{path.parent.name}:{path.name}" if self.shipped else None)

    def __str__(self) -> str:
        """Return what a command takes it by: its folder, or the name of a shipped run."""
        return self.name if self.shipped else str(self.path)

    @classmethod
    def create(cls, path: str | Path, recipe: dict, *, force: bool = False) -> Run:
        """Make a run folder and write its recipe; the folder of the same recipe is continued.

        Raises:
            InputError: the folder holds something else, or a run of another recipe, and `force` is not given.
        """
        cls.check_free(path, recipe, force=force)
        run = cls(Path(path))
        if force:
            run._clear()
        write_atomic(run.path / RECIPE, yaml.safe_dump(recipe, sort_keys=False))
        return run

    @classmethod
    def check_free(cls, path: str | Path, recipe: dict, *, force: bool = False) -> None:
        """Make sure that `create` would succeed, and change nothing.

        Raises:
            InputError: as `create`.
        """
        path = Path(path)
        existing = path / RECIPE
        if path.is_file():
            raise InputError(f"{path} is a file: choose a folder for the run")
        if existing.is_file() and not force:
            other = _differing(cls(path).recipe, json.loads(json.dumps(recipe)))
            if other:
                raise InputError(f"{path} holds a run of another recipe ({other}): choose another --out or give --force")
        elif path.is_dir() and any(path.iterdir()) and not force:
            raise InputError(f"{path} holds something that is not a run: choose another --out or give --force")

    def discard_unbegun(self) -> None:
        """Remove a run in which no step was trained yet, so that its folder is free again; any other stays as it is."""
        if not any((self.path / name).exists() for name in ("history.csv", WEIGHTS, LAST)):
            self._clear()
            with contextlib.suppress(OSError):
                self.path.rmdir()  # only if nothing else lies in it

    def _clear(self) -> None:
        """Remove what a run consists of, and nothing else that may lie in the folder."""
        for name in OWN:
            item = self.path / name
            shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Args:
            path: its folder, or the name of a run that comes with darklens, `MODEL:PRESET`.

        Raises:
            InputError: the folder is no run, or no run of that name is shipped.
        """
        path = locate(path)
        if not (path / RECIPE).is_file() and (path / SEEDS).is_file():
            found = ", ".join(str(run) for run in _seed_folders(path)) or "none is begun yet"
            raise InputError(f"{path} holds one training with several seeds ({found}): give one of these runs")
        if not (path / RECIPE).is_file():
            raise InputError(f"{path} is not a run (it has no {RECIPE}): give the folder that darklens train wrote")
        return cls(path)

    @property
    def recipe(self) -> dict:
        """The recipe, as plain data."""
        content = read_yaml(self.path / RECIPE)
        if not isinstance(content, dict):
            raise InputError(f"{self.path / RECIPE} holds no mapping: restore it or make the run again")
        return content

    @property
    def provenance(self) -> dict | None:
        """`provenance.json`."""
        return _read_json(self.path / "provenance.json")

    @property
    def model(self) -> dict:
        """`model.json`: architecture, options, classes, shape, pixel scale, preprocessing.

        Raises:
            InputError: the training has not begun.
        """
        content = _read_json(self.path / MODEL)
        if content is None:
            raise InputError(f"{self.path} has no {MODEL}: the training has not begun; start it with darklens train")
        return content

    @contextmanager
    def read_whole(self) -> Iterator[None]:
        """Turn whatever goes wrong while a run's files are put together into one sentence.

        Raises:
            InputError: a file lacks something, or holds another kind of thing than the others want.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise InputError(f"{self.path} is damaged, its files do not fit ({reason}): restore it or train again") from error

    @property
    def calibration(self) -> dict | None:
        """`calibration.json`: the temperature and what it was fitted on."""
        return _read_json(self.path / "calibration.json")

    @property
    def novelty(self) -> dict | None:
        """`novelty.json`: thresholds, what they were set on, and the false alarms on the test split."""
        return _read_json(self.path / "novelty.json")

    @property
    def weights(self) -> Path:
        """Path of the best weights.

        Raises:
            InputError: the training has not written any yet.
        """
        path = next((p for p in (self.path / WEIGHTS, self.path / HUB_WEIGHTS) if p.is_file()), None)
        if path is None:
            raise InputError(f"{self.path} has no {WEIGHTS}: the training is not finished; continue it with --resume")
        return path

    @property
    def complete(self) -> bool:
        """Whether training and evaluation on the test split are done."""
        return (self.path / "metrics.json").is_file()

    @property
    def history(self) -> list[dict[str, float]]:
        """`history.csv`: one row an epoch."""
        path = self.path / "history.csv"
        if not path.is_file():
            return []
        with path.open(newline="") as file:
            try:
                return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
            except (ValueError, TypeError, AttributeError, csv.Error) as error:
                raise InputError(f"{path} is damaged ({error}): restore it or train again") from error

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write `history.csv`."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.path / "history.csv", buffer.getvalue())

    @property
    def evaluations_folder(self) -> Path:
        """Where evaluations on other data lie: in the run, or where we stand, `evaluations/MODEL-PRESET`, for a shipped one."""
        return Path("evaluations") / self.name.replace(":", "-") if self.shipped else self.path / "evaluations"

    @property
    def evaluations(self) -> list[Evaluation]:
        """Evaluations on other data, by name."""
        folder = self.evaluations_folder
        return [Evaluation(p) for p in sorted(folder.iterdir()) if p.is_dir()] if folder.is_dir() else []

    def evaluation(self, name: str) -> Evaluation:
        """Return the folder of an evaluation on other data, which need not exist yet."""
        return Evaluation(self.evaluations_folder / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "data"))


def _seed_folders(path: Path) -> list[Path]:
    return sorted((p for p in path.glob("seed-*") if p.is_dir()), key=lambda p: (len(p.name), p.name))


def _differing(old: dict, new: dict, prefix: str = "") -> str:
    """Name the keys in which two recipes differ, with both values."""
    found = []
    for key in [*old, *(k for k in new if k not in old)]:
        if not prefix and key in WORDS:
            continue
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            inner = _differing(a, b, f"{prefix}{key}.")
            found += [inner] if inner else []
        elif a != b:
            found.append(f"{prefix}{key} is {a!r} there and {b!r} here")
    return "; ".join(found)
