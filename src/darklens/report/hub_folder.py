"""A run in the layout that model hubs expect, which is still a run: `darklens predict FOLDER PATH` answers as the run does.

    FOLDER/
      README.md             the model card, with the YAML that hubs read
      config.json           architecture, options, classes, image shape, preprocessing, temperature
      model.safetensors     the weights
      recipe.yaml, model.json, calibration.json, ...    what darklens itself reads, as in the run

Predictions, figures and the state to resume from stay behind.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.files import TEMPORARY, unwritable, write_atomic, write_json
from darklens.models import architecture
from darklens.report.model_card import model_card
from darklens.runs import HUB_WEIGHTS, MODEL, NOVELTY, RECIPE, VALIDATION, Run
from darklens.train.checkpoint import load_weights, save_weights

CONFIG, CARD = "config.json", "README.md"
KEPT = (
    *(RECIPE, MODEL, VALIDATION, NOVELTY, "novelty.json", "calibration.json", "metrics.json", "history.csv", "data.json"),
    "provenance.json",
)
"""Files of the run that go along, where it has them."""


def write_hub_folder(run: Run, out: str | Path, *, force: bool = False) -> dict[str, Any]:
    """Write a run as a folder for a model hub, whole or not at all.

    Args:
        run: with weights.
        out: a folder that is not there or is empty.
        force: replace another such folder.

    Returns:
        `out`, `files` and `bytes`.

    Raises:
        InputError: the run has no weights yet, or `out` holds something else.
        WorkError: the disk is full.
    """
    weights, out = load_weights(run.weights), Path(out)
    _check(run, out, force)
    temporary = out.with_name(out.name + TEMPORARY)
    version = importlib.metadata.version("darklens")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_weights(temporary / HUB_WEIGHTS, weights, {"format": "pt", "darklens": version})
        for name in KEPT:
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, temporary / name)
        write_json(temporary / CONFIG, config(run))
        write_atomic(temporary / CARD, model_card(run, called=out.resolve().name).markdown())
        if out.is_dir():
            shutil.rmtree(out)
        os.replace(temporary, out)
    except OSError as error:
        raise unwritable(out, error) from error
    files = sorted(path for path in out.iterdir())
    return {"out": str(out), "files": [path.name for path in files], "bytes": sum(path.stat().st_size for path in files)}


def config(run: Run) -> dict[str, Any]:
    """Return `config.json`: keys as hubs know them, then those of darklens."""
    model, classes = run.model, run.model["classes"]
    bands, height, width = model["shape"]
    own = ("options", "single_logit", "group", "pixel_scale", "flux_unit", "preprocess", "fit", "symmetries")
    return {
        "model_type": "darklens",
        "architectures": [architecture(model["name"]).__name__],
        "num_labels": len(classes),
        "id2label": {str(k): name for k, name in enumerate(classes)},
        "label2id": {name: k for k, name in enumerate(classes)},
        "num_channels": bands,
        "image_size": [height, width],
        "dtype": "float32",
        "architecture": model["name"],
        **{key: model.get(key) for key in own},
        "shape": model["shape"],
        "temperature": (run.calibration or {}).get("temperature", 1.0),
        "parameters": (run.provenance or {}).get("parameters"),
        "darklens_version": importlib.metadata.version("darklens"),
    }


def _check(run: Run, out: Path, force: bool) -> None:
    """Refuse to write over anything but another such folder, and that only if asked to."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: choose a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if out.resolve() == run.path.resolve():
        raise InputError(f"--out {out} is the run itself: choose another folder")
    if not all((out / name).is_file() for name in (CONFIG, HUB_WEIGHTS, RECIPE)):
        raise InputError(f"--out {out} holds something that is no folder for a hub: choose another folder")
    if not force:
        raise InputError(f"--out {out} exists: choose another folder or give --force")
