"""Attributions from gradients and from occlusion, by captum: integrated gradients, SmoothGrad, occlusion.

- integrated gradients: `(x - x0)` times the mean of dm/dx from x0 to x (Sundararajan et al. 2017, arXiv:1703.01365, eq. 1);
- SmoothGrad: the mean of dm/dx under noise (Smilkov et al. 2017, arXiv:1706.03825);
- occlusion: `m(x) - m(x with a square of x0)`, the mean over the squares (Zeiler & Fergus 2014, arXiv:1311.2901).
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.explain.attribution import Margins, Question, strength

STEPS = 12
"""Of the integral."""
SAMPLES, NOISE = 8, 0.1
"""Of SmoothGrad: draws, and their scatter in units of the inputs' own."""
SQUARES = 5
"""Occluding squares fit so often into the side of what the network sees."""
AT_ONCE = 128
"""Inputs that go through the network together."""


def integrated_gradients(question: Question) -> Tensor:
    """Return `(B, h, w)`."""
    method = _captum().IntegratedGradients(Margins(question))
    found = method.attribute(
        question.inputs,
        question.baseline,
        target=question.targets,
        n_steps=STEPS,
        internal_batch_size=max(AT_ONCE, len(question.inputs)),
    )
    return strength(found.detach())


def smooth_grad(question: Question) -> Tensor:
    """Return `(B, h, w)`; the global random state is left as it was."""
    captum, inputs = _captum(), question.inputs
    method = captum.NoiseTunnel(captum.Saliency(Margins(question)))
    with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        torch.manual_seed(question.seed)
        found = method.attribute(
            inputs,
            nt_type="smoothgrad",
            nt_samples=SAMPLES,
            nt_samples_batch_size=max(1, AT_ONCE // len(inputs)),
            stdevs=NOISE * float(inputs.std()),
            target=question.targets,
            abs=False,
        )
    return strength(found.detach())


def occlusion(question: Question) -> Tensor:
    """Return `(B, h, w)`: how much the margin falls without the squares around a pixel; where it rises, zero."""
    inputs = question.inputs
    side = max(2, min(inputs.shape[-2:]) // SQUARES)
    with torch.no_grad():
        found = _captum().Occlusion(Margins(question)).attribute(
            inputs,
            sliding_window_shapes=(inputs.shape[1], side, side),
            strides=(inputs.shape[1], max(1, side // 2), max(1, side // 2)),
            baselines=question.baseline,
            target=question.targets,
            perturbations_per_eval=max(1, AT_ONCE // len(inputs)),
        )  # fmt: skip
    return found.mean(1).relu()


def _captum() -> ModuleType:
    try:
        import captum.attr
    except ImportError as error:
        raise InputError(
            'integrated-gradients, smoothgrad and occlusion need captum, which is not installed: pip install "darklens[explain]"'
        ) from error
    return captum.attr
