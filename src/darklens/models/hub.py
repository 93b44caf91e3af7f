"""Any image classifier of a model hub: `hf:<repository>` or `hf:<folder>`.

Configuration and weights are looked for in a local folder, in the hub's cache (`HF_HOME`), on the hub where there is a
network, and the configuration at last in the table of well-known repositories. Weights are read from safetensors files
alone, and no code comes with them.

`settle` turns a recipe's options into ones that need none of these places again; a run keeps them, so that it can be
opened anywhere.
"""

from __future__ import annotations

import os
import socket
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from safetensors import SafetensorError
from torch import Tensor, nn

from darklens.errors import InputError, unknown
from darklens.models.backbone import Backbone, as_dict, classifier_class, quietly, transformers_library
from darklens.models.stock import stock_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

PREFIX = "hf:"
WEIGHTS = ("auto", "pretrained", "random")
_FILES = ("model.safetensors", "model.safetensors.index.json")
_REMEDY = "give a local folder with config.json and model.safetensors, fill the cache that HF_HOME names, or connect to a network"


class HubModel(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes), by a network of `transformers`.

    Args:
        bands: number of bands; the colours of published weights are summed over.
        classes: number of logits; the head starts fresh.
        size: image height and width, at least 32 pixels; `Backbone` says when images are resized.
        repo: "owner/name" on the hub, or a folder.
        weights: "pretrained", "random", or "auto": pretrained where they can be had, otherwise random and a warning.
        config: the architecture, as `settle` stored it; by default it is looked for.
        image_size: side to which images are resized before the network, for example the published one.

    Raises:
        InputError: unknown repository, weights that cannot be had, or images that the network cannot take.
    """

    summary = "any image classifier of a model hub or a local folder, pretrained or not (needs darklens[zoo])"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        repo: str,
        weights: str = "auto",
        config: dict[str, Any] | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        settled, note = settle(repo, {"weights": weights, "config": config})
        if note:
            warnings.warn(note, stacklevel=3)
        self.trunk = Backbone(bands, classes, size, settled["config"], image_size)
        if settled["weights"] == "pretrained":
            self.trunk.adopt(_pretrained(repo))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.trunk(images)


def settle(repo: str, options: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Find out where a network starts: what `config` it has and whether its `weights` are "pretrained" or "random".

    Args:
        repo: "owner/name" on the hub, or a folder.
        options: of `HubModel`.

    Returns:
        The options with both entered, and a sentence for the user where "auto" came to random weights.

    Raises:
        InputError: unknown repository, or "pretrained" weights that cannot be had.
    """
    weights, config = options.get("weights", "auto"), options.get("config")
    if weights not in WEIGHTS:
        raise unknown("weights", weights, WEIGHTS)
    if config is not None and weights != "auto":
        return options, None
    transformers_library()
    found = _find(repo, wanted=weights)
    if config is None and found.config is None:
        raise InputError(f"no configuration of {PREFIX}{repo} was found here, and it is none of the well-known ones: {_REMEDY}")
    settled = options | {"config": config or found.config, "weights": "pretrained" if found.weights else "random"}
    if weights == "random":
        return settled | {"weights": "random"}, None
    if not found.weights:
        missing = f"no published weights of {PREFIX}{repo} could be had here"
        if weights == "pretrained":
            raise InputError(f"{missing}: {_REMEDY}")
        return settled, f"{missing}, so the network starts from random ones; {_REMEDY}"
    return settled, None


def fetch(repo: str, names: tuple[str, ...]) -> Path | None:
    """Return the first of some files of a repository that can be had: from a folder, the cache, or the network.

    Raises:
        InputError: a folder that is not there.
    """
    folder = local_folder(repo)
    if folder is not None:
        return next((folder / name for name in names if (folder / name).is_file()), None)
    transformers_library()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for offline in (True, False) if _reachable() else (True,):
        for name in names:
            try:
                return Path(hf_hub_download(repo, name, local_files_only=offline))
            except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
                continue
    return None


def local_folder(repo: str) -> Path | None:
    """Return the folder that a name stands for, None for a repository on the hub.

    Raises:
        InputError: the name is a path and there is no such folder.
    """
    folder = Path(repo).expanduser()
    if folder.is_dir():
        return folder
    if repo.startswith((".", "~")) or folder.is_absolute() or repo.count("/") != 1:
        raise InputError(f"{PREFIX}{repo} names no folder that exists and no repository owner/name: check the spelling")
    return None


class _Found(NamedTuple):
    config: dict[str, Any] | None
    weights: bool


def _find(repo: str, wanted: str) -> _Found:
    known = stock_config(repo)
    if wanted == "random" and known is not None:
        return _Found(known, False)
    described = fetch(repo, ("config.json",))
    if described is None:
        return _Found(known, False)
    config = _read_config(described.parent)
    classifier_class(config.model_type)
    return _Found(as_dict(config), wanted != "random" and fetch(repo, _FILES) is not None)


def _read_config(folder: Path) -> PretrainedConfig:
    with quietly():
        try:
            return transformers_library().AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{folder / 'config.json'} is none that transformers knows ({reason}): take another model") from error


def _pretrained(repo: str) -> PreTrainedModel:
    """Return the published network itself, with all its weights.

    Raises:
        InputError: its files are damaged, or lack part of the network.
    """
    described, weights = fetch(repo, ("config.json",)), fetch(repo, _FILES)
    if weights is None or described is None:
        raise InputError(f"no published weights of {PREFIX}{repo} could be had here: {_REMEDY}")
    whole = weights.name == _FILES[0] or local_folder(repo) is not None  # of a divided file only the index has been fetched
    config = _read_config(described.parent)
    kind: Any = classifier_class(config.model_type)  # its types do not know that `output_loading_info` makes the answer a pair
    with quietly():
        try:
            network, report = kind.from_pretrained(
                weights.parent if whole else repo,
                config=config,
                local_files_only=whole or not _reachable(),
                use_safetensors=True,
                trust_remote_code=False,
                dtype="float32",
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise InputError(f"the weights of {PREFIX}{repo} cannot be read: {str(error).splitlines()[0]}") from error
    inside = [key for key in report["missing_keys"] if key.startswith(network.base_model_prefix + ".")]
    if inside:
        raise InputError(
            f"the weights of {PREFIX}{repo} lack {len(inside)} tensors of its {config.model_type}, first {sorted(inside)[0]}: "
            "give the weights that belong to its config.json"
        )
    return network


def _reachable() -> bool:
    """Whether the hub can be reached, found out in a moment: its own client tries for half a minute a file."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((host.hostname or "", host.port or (80 if host.scheme == "http" else 443)), timeout=3):
            return True
    except OSError:
        return False
