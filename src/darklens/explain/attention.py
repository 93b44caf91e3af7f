"""Attention rollout: how far what a transformer answers goes back to each patch (Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1).

    R = A_L ... A_2 A_1,   A_l = (mean over heads of the attention of block l + 1) / 2, with the shortcut as half of it,

read at the class token, or, where the answer is a mean over tokens, at their mean. Attention is caught where it is computed, in
`scaled_dot_product_attention`, whatever network it is in. It has to be between the same tokens in every block: windows (Swin), keys
at half the resolution (CvT), and tokens that were merged have no rollout.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from darklens.errors import InputError
from darklens.explain.attribution import Question


class Attention(TorchFunctionMode):
    """Collects the attention of all blocks, means over heads `(B, N, M)`, while it is used as a context."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the attention of a call, and let the call do what it does."""
        if func is functional.scaled_dot_product_attention:
            query, key = args[:2]
            scores = query @ key.transpose(-2, -1) * ((kwargs or {}).get("scale") or 1 / math.sqrt(query.shape[-1]))
            self.maps.append(scores.softmax(-1).mean(1))
        return func(*args, **(kwargs or {}))


def attention_rollout(question: Question) -> Tensor:
    """Return `(B, h, w)`.

    Raises:
        InputError: the network has no attention, or not between the same tokens everywhere.
    """
    with torch.no_grad(), Attention() as seen:
        question.network(question.inputs)
    name, (height, width) = type(question.network).__name__, question.inputs.shape[-2:]
    size = height, width
    if not seen.maps:
        raise refusal(name, "has no attention that could be followed")
    shapes = {tuple(maps.shape) for maps in seen.maps}
    tokens = seen.maps[0].shape[-1]
    if shapes != {(len(question.inputs), tokens, tokens)}:
        raise refusal(name, "has attention in windows or between different tokens")
    grid, first = _grid(tokens, size)
    if grid is None:
        raise refusal(name, f"has {tokens} tokens, which are no grid over {size[0]}x{size[1]} pixels")
    together = torch.eye(tokens, device=seen.maps[0].device, dtype=seen.maps[0].dtype)
    for maps in seen.maps:
        together = (0.5 * maps + 0.5 * torch.eye(tokens, device=maps.device, dtype=maps.dtype)) @ together
    rows = together[:, 0, first:] if first else together.mean(1)
    return _on_pixels(rows.view(len(rows), 1, *grid), size)


def refusal(name: str, why: str) -> InputError:
    """Return the error for a network that has no rollout."""
    return InputError(
        f"{name} {why}, so there is no attention rollout for it: vit and encoder have one; use another method, grad-cam for example"
    )


def _grid(tokens: int, size: tuple[int, int]) -> tuple[tuple[int, int] | None, int]:
    """Return rows and columns of the tokens and the number of tokens before them; None where they are no grid."""
    for first in (1, 0):
        rows = round(math.sqrt((tokens - first) * size[0] / size[1]))
        if rows and (tokens - first) % rows == 0 and tokens > first:
            columns = (tokens - first) // rows
            if abs(math.ceil(size[0] / rows) - math.ceil(size[1] / columns)) <= 1:  # patches are squares
                return (rows, columns), first
    return None, 0


def _on_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps of patches `(B, 1, rows, columns)` on pixels `(B, h, w)`; patches reach equally far beyond all edges."""
    patch = max(math.ceil(side / n) for side, n in zip(size, maps.shape[-2:], strict=True))
    whole = [n * patch for n in maps.shape[-2:]]
    fine = functional.interpolate(maps, whole, mode="bilinear", align_corners=False)[:, 0]
    top, left = ((full - side) // 2 for full, side in zip(whole, size, strict=True))
    return fine[:, top : top + size[0], left : left + size[1]]
