"""Class activation maps: what the last maps of a network say, weighted by what they mean for a class.

With activations A^k of a layer and the margin m,

    Grad-CAM    relu(sum_k a_k A^k),   a_k = mean over pixels of dm/dA^k                    (Selvaraju et al. 2017, eqs. 1-2)
    Grad-CAM++  a_k = sum over pixels of alpha_k relu(dm/dA^k),
                alpha_k = g^2 / (2 g^2 + sum over pixels of A^k g^3),   g = dm/dA^k         (Chattopadhay et al. 2018, eqs. 10, 19)

(the closed form of the second holds for exp(m), whose positive factor drops out of a map that is normalised). The layer is the last
one whose maps have at least `FEWEST` pixels a side, the resolution at which Grad-CAM was published: the very last layers of these
networks have two, which point nowhere. A network without such maps is asked for its finest ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from darklens.errors import InputError
from darklens.explain.attribution import Question, margin_of
from darklens.models.arcnet import ArcNet, frames, upright

FEWEST, CHANNELS = 7, 8
"""Pixels a side, and channels, that maps must have to be worth looking at."""


def grad_cam(question: Question) -> Tensor:
    """Return `(B, h, w)`."""
    return _framed(question, lambda one: _cam(one, _mean_weights))


def grad_cam_plus_plus(question: Question) -> Tensor:
    """Return `(B, h, w)`."""
    return _framed(question, lambda one: _cam(one, _plus_plus_weights))


def cam_layer(network: nn.Module, inputs: Tensor) -> str:
    """Return the name of the layer whose maps are used.

    Raises:
        InputError: the network has no maps.
    """
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if _is_maps(output, len(probe)):
                found.pop(name, None)
                found[name] = tuple(output.shape[-2:])

        return hook

    probe = inputs[:1].expand(2, -1, -1, -1)
    watched = [(name, m) for name, m in network.named_modules() if name and not isinstance(m, nn.Dropout)]  # that of attention
    handles = [module.register_forward_hook(note(name)) for name, module in watched]
    try:
        with torch.no_grad():
            network(probe)
    finally:
        for handle in handles:
            handle.remove()
    if not found or max(map(min, found.values())) < 2:
        raise InputError(
            f"{type(network).__name__} has no maps of its own that Grad-CAM could weigh: use integrated-gradients or occlusion"
        )
    ends = [name for name in found if not _inside_of_coarser(network, name, found)]
    fine = [name for name in ends if min(found[name]) >= FEWEST]
    largest = max(min(found[name]) for name in ends)
    return fine[-1] if fine else [name for name in ends if min(found[name]) == largest][-1]


def _is_maps(output: object, images: int) -> TypeGuard[Tensor]:
    """Whether a layer returned maps of each image; lenspinn sees images and sources at once."""
    if not isinstance(output, Tensor) or output.ndim < 4 or output.shape[0] not in (images, 2 * images):
        return False
    return output[0].numel() // max(output.shape[-1] * output.shape[-2], 1) >= CHANNELS


def _inside_of_coarser(network: nn.Module, name: str, sizes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a layer stands inside of a block that goes on to halve its maps: half-way through it, they are not finished."""
    parts = name.split(".")
    above = [".".join(parts[:k]) for k in range(len(parts) - 1, 0, -1)]
    block = next((b for b in above if not isinstance(network.get_submodule(b), nn.Sequential | nn.ModuleList)), None)
    return block in sizes and sizes[block] < sizes[name]


def _cam(question: Question, weigh: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    inputs, kept = question.inputs, []
    layer = question.network.get_submodule(cam_layer(question.network, inputs))
    handle = layer.register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        with torch.enable_grad():
            seen = inputs.detach().requires_grad_()  # a network whose weights are frozen has gradients all the same
            margin = margin_of(question.logits(question.network(seen)), question.targets)
            (gradient,) = torch.autograd.grad(margin.sum(), kept[0])
    finally:
        handle.remove()
    n = len(inputs)  # lenspinn sees images and sources at once, the images first
    maps, gradient = (t.detach()[:n].reshape(n, -1, *t.shape[-2:]) for t in (kept[0], gradient))
    cam = (weigh(maps, gradient)[..., None, None] * maps).sum(1).relu()
    return functional.interpolate(cam[:, None], inputs.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _mean_weights(maps: Tensor, gradient: Tensor) -> Tensor:
    return gradient.mean((-2, -1))


def _plus_plus_weights(maps: Tensor, gradient: Tensor) -> Tensor:
    squares = gradient.square()
    below = 2 * squares + (maps * gradient**3).sum((-2, -1), keepdim=True)
    alpha = torch.where(below != 0, squares / below, torch.zeros_like(below))
    return (alpha * gradient.relu()).sum((-2, -1))


def _framed(question: Question, one: Callable[[Question], Tensor]) -> Tensor:
    """Return the mean of the maps of all frames that a symmetric network looks at, each turned back."""
    network = question.network
    if not (isinstance(network, ArcNet) and network.symmetric):
        return one(question)
    inputs, baseline = question.inputs, question.baseline
    count, height, width = len(inputs), *inputs.shape[-2:]
    places = torch.arange(height * width, device=inputs.device).view(1, 1, height, width).expand(count, -1, -1, -1)
    if network.frames == "one":
        views = [(upright(inputs), upright(baseline.expand_as(inputs), of=inputs), upright(places, of=inputs))]
    else:
        views = list(zip(frames(inputs), frames(baseline), frames(places), strict=True))
    total = torch.zeros(count, height * width, dtype=inputs.dtype, device=inputs.device)
    network.symmetric = False
    try:
        for turned, dark, place in views:
            found = one(Question(network, question.logits, turned, dark, question.targets, question.seed))
            total.scatter_add_(1, place.flatten(1), found.flatten(1) / len(views))
    finally:
        network.symmetric = True
    return total.view(-1, height, width)
