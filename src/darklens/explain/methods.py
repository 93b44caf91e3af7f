"""The methods by name. To add one, write a function from a `Question` to maps `(B, h, w)` and enter it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from darklens.errors import InputError, unknown
from darklens.explain.attention import attention_rollout
from darklens.explain.attribution import Question
from darklens.explain.cam import grad_cam, grad_cam_plus_plus
from darklens.explain.gradients import integrated_gradients, occlusion, smooth_grad


@dataclass(frozen=True)
class Method:
    """A way of explaining.

    Args:
        summary: what it does, in a line.
        maps: a question to maps `(B, h, w)`, larger where a pixel matters more.
        for_some: some networks do not allow it; it is left out there unless it was asked for by name.
    """

    summary: str
    maps: Callable[[Question], Tensor]
    for_some: bool = False


METHODS: dict[str, Method] = {
    "grad-cam": Method("maps of a late layer, weighted by their mean gradient", grad_cam, for_some=True),
    "grad-cam++": Method("the same, weighted pixel by pixel", grad_cam_plus_plus, for_some=True),
    "integrated-gradients": Method("gradients along the way from a baseline", integrated_gradients),
    "smoothgrad": Method("the mean gradient under noise", smooth_grad),
    "occlusion": Method("how the answer falls without a square", occlusion),
    "attention-rollout": Method("where a transformer's answer comes from, block by block", attention_rollout, for_some=True),
}


def chosen_methods(names: Sequence[str] | None) -> dict[str, Method]:
    """Return methods by name, in the order asked for; all of them for None.

    Raises:
        InputError: unknown method, or none.
    """
    if names is None:
        return dict(METHODS)
    for name in names:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    if not names:
        raise InputError(f"no method is asked for: give some of {', '.join(METHODS)}")
    return {name: METHODS[name] for name in names}
