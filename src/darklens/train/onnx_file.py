"""A trained network as one ONNX file, which any runtime reads without darklens and without torch.

The graph begins with what the network is given and ends with calibrated probabilities: crop, normalisation, symmetries, temperature
and softmax are in it. Where the network sees recorded images (`preprocess.input: image`), the user needs nothing else. Where smooth
lenses are fitted first, a graph cannot hold the fit: its input is then what the fit leaves, as `Predictor.inputs` returns it, and
bears the name of that.

    input    image               (n, bands, H, W)      as recorded, in the unit `flux_unit`
             residual            (n, 1, H, W)          what the smooth fit leaves, in units of the noise
             residual_and_image  (n, 1 + bands, H, W)  both
             evidence            (n, 5, h, w)          the maps of `darklens.fit.evidence`
    outputs  logits              (n, k)                before the temperature
             probabilities       (n, k)                calibrated, columns in the order of `classes`

The file's metadata say the rest, each value as JSON: `METADATA` names the keys. A file gets its name only once onnxruntime has
answered as the run does, on real images.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import InputError, WorkError
from darklens.files import TEMPORARY, settle, unwritable
from darklens.train.columns import refuse_columns
from darklens.train.logits import predict_logits
from darklens.train.predictor import Predictor
from darklens.train.preprocess import prepare

OPSET = 20
"""Of the file: the newest that current releases of all common runtimes read."""
TOLERANCE = 1e-4
"""Largest difference of a probability, and of a logit relative to the largest one."""
INPUTS = {"image": "image", "residual": "residual", "both": "residual_and_image", "evidence": "evidence"}
"""What the network is given -> name of the graph's input."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
METADATA = (
    *("classes", "temperature", "preprocess", "shape", "input", "model", "options", "pixel_scale", "flux_unit", "fit"),
    *("symmetries", "darklens", "torch"),
)
"""Keys of the file's metadata: `shape` is that of a recorded image, `input` what the graph takes, `fit` how lenses are fitted."""


@dataclass(frozen=True)
class OnnxReport:
    """What was written.

    Args:
        out: the file.
        input: name of its input.
        shape: of its input, `n` for any number.
        opset: of the file.
        bytes: its size.
        checked_on: number of images that onnxruntime was asked about.
        difference: the largest of a probability, between onnxruntime and the run.
    """

    out: str
    input: str
    shape: tuple[str | int, ...]
    opset: int
    bytes: int
    checked_on: int
    difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return vars(self)


class _Answer(nn.Module):
    """From what `Predictor.inputs` returns to logits and probabilities, in one graph."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network, self.task = predictor.network, predictor.task
        self.settings, self.temperature = predictor.preprocess, predictor.temperature

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.task.predict(self.network, prepare(inputs, self.settings))
        return logits, torch.softmax(logits / self.temperature, dim=1)


def export_onnx(predictor: Predictor, images: np.ndarray, out: str | Path, *, force: bool = False) -> OnnxReport:
    """Write a trained network as an ONNX file and check it.

    Args:
        predictor: on the CPU.
        images: `(n, bands, H, W)`, real ones of the kind that the network was trained on; at least 3 to check with.
        out: the file, `NAME.onnx`.
        force: replace a file that is there.

    Returns:
        What was written, and how well it was reproduced.

    Raises:
        InputError: packages are missing, `out` is there already or no `.onnx` name, the network sees columns, or has something that
            ONNX lacks.
        WorkError: onnxruntime answers otherwise than the run, or the file cannot be written; nothing is left behind.
    """
    check_packages()
    refuse_columns(predictor.columns, "an ONNX file")
    out = Path(out)
    if out.suffix != ".onnx":
        raise InputError(f"--out {out} is no .onnx file: name it NAME.onnx")
    if out.exists() and not force:
        raise InputError(f"{out} exists: choose another --out or give --force")
    if len(images) < 3:
        raise InputError(f"{len(images)} images to check the file with: give at least 3")
    inputs = predictor.inputs(predictor.checked(images))
    temporary = out.with_name(out.name + TEMPORARY)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(predictor, inputs, temporary)
        difference = _compare(predictor, inputs, temporary)
        settle(temporary, out)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    name, size = INPUTS[predictor.preprocess.input], out.stat().st_size
    return OnnxReport(str(out), name, ("n", *inputs.shape[1:]), OPSET, size, len(inputs), difference)


def check_packages() -> None:
    """Make sure that what writes and reads ONNX files is installed.

    Raises:
        InputError: it is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f'ONNX files need {", ".join(missing)}, not installed here: pip install "darklens[onnx]"')


def metadata(predictor: Predictor) -> dict[str, str]:
    """Return what the file says of itself, each value as JSON; keys as in `METADATA`."""
    described = predictor.run.model
    values = (
        *(predictor.classes, predictor.temperature, predictor.preprocess.model_dump(), predictor.shape),
        *(INPUTS[predictor.preprocess.input], described["name"], described["options"], described["pixel_scale"]),
        *(
            described.get("flux_unit"),
            described.get("fit"),
            predictor.symmetries,
            importlib.metadata.version("darklens"),
            described.get("torch"),
        ),
    )
    return {key: json.dumps(value) for key, value in zip(METADATA, values, strict=True)}


def _write(predictor: Predictor, inputs: np.ndarray, path: Path) -> None:
    """Trace the network and write the graph."""
    answer = _Answer(predictor).eval()
    example = torch.from_numpy(np.ascontiguousarray(inputs[:3]))  # 0 and 1 images would be taken for special cases
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                answer,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUTS[predictor.preprocess.input]],
                output_names=["logits", "probabilities"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        name = predictor.run.model["name"]
        raise InputError(f"model {name!r} cannot be written as ONNX ({_cause(error)}): use --to hub-folder instead") from error
    assert program is not None, "which only the old exporter returns"
    program.model.metadata_props.update(metadata(predictor))
    program.save(path, external_data=False)


def _compare(predictor: Predictor, inputs: np.ndarray, path: Path) -> float:
    """Ask onnxruntime and the run about the same images, all at once and one alone.

    Returns:
        The largest difference of a probability.

    Raises:
        WorkError: it is too large.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        parts = [session.run(None, {session.get_inputs()[0].name: part}) for part in (inputs, inputs[:1])]
    except Exception as error:  # the classes of onnxruntime's errors have no common base
        raise WorkError(f"onnxruntime cannot run the file ({_cause(error)}): nothing was written; report it") from error
    logits = predict_logits(predictor.network, predictor.task, inputs, predictor.preprocess, predictor.device)
    probabilities = predictor.answers_seen(inputs, None).probabilities
    worst = [0.0, 0.0]
    for part in parts:
        for k, (found, wanted, scale) in enumerate(zip(part, (logits, probabilities), (np.abs(logits).max(), 1), strict=True)):
            worst[k] = max(worst[k], float(np.abs(found - wanted[: len(found)]).max()) / max(float(scale), 1.0))
    if not max(worst) <= TOLERANCE:  # no number fails too
        differing = f"logits differ by {worst[0]:.2g} of the largest and probabilities by {worst[1]:.2g}"
        raise WorkError(f"onnxruntime answers otherwise ({differing}; the limit is {TOLERANCE:g}): nothing was written; report it")
    return worst[1]


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost reason."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the exporter says of packages that are not installed and of its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
