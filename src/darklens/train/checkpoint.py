"""Everything that a training needs to continue, in one safetensors file: never a pickle.

Tensors go by name (`model/...`, `ema/...`, `optimizer/INDEX/KEY`); the rest (counters, schedule, history) is JSON in the header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from darklens.errors import InputError
from darklens.files import write_atomic


def save_weights(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors, whole or not at all."""
    write_atomic(path, save_tensors({k: v.detach().cpu().contiguous() for k, v in state.items()}, metadata=metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors.

    Raises:
        InputError: the file is not safetensors, or truncated.
    """
    try:
        return load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): restore it or train again") from error


def save(path: Path, model: dict[str, Tensor], ema: dict[str, Tensor] | None, optimizer: dict, state: dict[str, Any]) -> None:
    """Write a checkpoint; `optimizer` is the optimiser's `state_dict()`, `state` anything JSON can say."""
    tensors = {f"model/{k}": v for k, v in model.items()}
    tensors |= {f"ema/{k}": v for k, v in (ema or {}).items()}
    scalars: dict[str, dict] = {}
    for index, entries in optimizer["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    header = {"state": state, "groups": optimizer["param_groups"], "scalars": scalars}
    save_weights(path, tensors, {"darklens": json.dumps(header)})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict, dict[str, Any]]:
    """Read a checkpoint: model, average, optimiser, state.

    Raises:
        InputError: the file is not a checkpoint of darklens.
    """
    tensors = load_weights(path)
    try:
        return _sorted(tensors, _header(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is a damaged checkpoint ({type(error).__name__}: {error}): restore it or train again") from error


def _sorted(tensors: dict[str, Tensor], header: dict) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict, dict[str, Any]]:
    model = {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
    ema = {k.removeprefix("ema/"): v for k, v in tensors.items() if k.startswith("ema/")} or None
    state: dict[int, dict] = {int(i): dict(v) for i, v in header["scalars"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
    return model, ema, {"state": state, "param_groups": header["groups"]}, header["state"]


def _header(path: Path) -> dict:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(size)).get("__metadata__", {})
    if "darklens" not in metadata:
        raise InputError(f"{path} is not a checkpoint of darklens: give --resume the folder of a run")
    return json.loads(metadata["darklens"])
