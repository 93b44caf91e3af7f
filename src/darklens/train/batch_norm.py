"""Batch normalisation over the batch of all processes, for processors.

PyTorch's own (`torch.nn.SyncBatchNorm`) needs graphics cards. This one takes mean and variance over all processes with two sums,
the second about the mean, and lets gradients flow through both.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over processes. What depends on it depends on every process, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        value = value.clone()
        distributed.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        distributed.all_reduce(gradient)
        return gradient


class SynchronisedBatchNorm(_BatchNorm):
    """Batch normalisation (arXiv:1502.03167) whose batch is spread over processes; alone, and in evaluation, the ordinary one."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, ...); B may differ between processes."""
        if not (self.training and distributed.is_initialized()):
            return super().forward(maps)
        values = maps.float() if maps.element_size() < 4 else maps
        axes = [0, *range(2, maps.ndim)]
        shape = (1, -1, *[1] * (maps.ndim - 2))
        own = values.new_full((1,), values.numel() / values.shape[1])
        *sums, count = _Sum.apply(torch.cat([values.sum(axes), own])).split([values.shape[1], 1])
        mean = sums[0] / count
        centred = values - mean.view(shape)
        variance = _Sum.apply((centred**2).sum(axes)) / count
        self._remember(mean.detach(), (variance * count / (count - 1).clamp_min(1)).detach())
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(maps.dtype)

    def _check_input_dim(self, maps: Tensor) -> None:
        """Take maps of any rank."""

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        count, means, variances = self.num_batches_tracked, self.running_mean, self.running_var
        if not self.track_running_stats or count is None or means is None or variances is None:
            return
        count.add_(1)
        factor = 1 / float(count) if self.momentum is None else self.momentum
        means.lerp_(mean, factor)
        variances.lerp_(variance, factor)


def synchronised(model: nn.Module) -> nn.Module:
    """Return the model with its batch normalisations replaced by synchronised ones, on the same parameters and statistics."""
    if isinstance(model, _BatchNorm):
        options = {"affine": model.affine, "track_running_stats": model.track_running_stats}
        replaced = SynchronisedBatchNorm(model.num_features, model.eps, model.momentum, **options)
        replaced._parameters, replaced._buffers = dict(model._parameters), dict(model._buffers)
        return replaced.train(model.training)
    for name, child in model.named_children():
        setattr(model, name, synchronised(child))
    return model


def normalises(model: nn.Module) -> bool:
    """Whether a model depends on the statistics of its batch."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())
