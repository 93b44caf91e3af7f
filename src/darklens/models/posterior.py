r"""Networks that answer with a distribution: any architecture makes numbers of an image, and these say p(parameters | image).

The parameters come as z, without bounds and of about unit scatter; `darklens.train.inference.space` maps them there and back.

- `GaussianPosterior`: independent Gaussians with a mean and a sigma for each image (heteroscedastic regression, Nix & Weigend
  1994): `-ln p = sum_k 1/2 ((z_k - mu_k)/sigma_k)^2 + ln sigma_k + const`.
- `FlowPosterior`: a normalising flow conditioned on the image (neural posterior estimation, Papamakarios & Murray 2016,
  arXiv:1605.06376): trained on draws of prior and simulator, the mean of `-ln q(z | image)` is least for the true posterior.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from darklens.errors import InputError

LOG_SIGMA = (-9.0, 3.0)
"""Limits of ln sigma."""


class Posterior(nn.Module):
    """Images to what their posterior is told from, and the posterior itself.

    Args:
        trunk: prepared images `(B, bands, H, W)` to `(B, context)`.
        parameters: number of parameters P.
    """

    def __init__(self, trunk: nn.Module, parameters: int) -> None:
        super().__init__()
        self.trunk, self.parameters_count = trunk, parameters

    def forward(self, images: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the summary of images, `(B, K)`; of given parameters `(B, P)` the log density instead, `(B,)`."""
        summary = self.summary(self.trunk(images))
        return summary if z is None else self.log_prob(summary, z)

    @abstractmethod
    def summary(self, context: Tensor) -> Tensor:
        """Return what the posterior is told from, `(B, K)`, of what the trunk made of images."""

    @abstractmethod
    def log_prob(self, summary: Tensor, z: Tensor) -> Tensor:
        """Return ln q(z | image) `(...)` of summaries `(..., K)` and parameters `(..., P)`."""

    @abstractmethod
    def draw(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws of each posterior, `(B, n, P)`, by torch's own random numbers."""

    def sample(self, summary: Tensor, n: int, seed: int) -> Tensor:
        """Return n draws of each posterior, `(B, n, P)`, a pure function of the arguments."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            return self.draw(summary, n)


class GaussianPosterior(Posterior):
    """Independent Gaussians; arguments as of `Posterior`, and the width of what the trunk gives."""

    def __init__(self, trunk: nn.Module, parameters: int, context: int) -> None:
        super().__init__(trunk, parameters)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(context, 2 * parameters))

    def summary(self, context: Tensor) -> Tensor:
        """Return means and ln sigma, `(B, 2 P)`."""
        return self.head(context)

    def _moments(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sigma = summary.float().chunk(2, dim=-1)
        return mean, log_sigma.clamp(*LOG_SIGMA)

    def log_prob(self, summary: Tensor, z: Tensor) -> Tensor:
        """Return ln q(z | image)."""
        mean, log_sigma = self._moments(summary)
        unit = (z - mean) * torch.exp(-log_sigma)
        return (-0.5 * unit**2 - log_sigma - 0.5 * math.log(2 * math.pi)).sum(-1)

    def draw(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws `(B, n, P)`."""
        mean, log_sigma = (part[:, None] for part in self._moments(summary))
        return mean + log_sigma.exp() * torch.randn(len(summary), n, self.parameters_count, device=summary.device)


class FlowPosterior(Posterior):
    """A conditional flow.

    Args:
        trunk: prepared images to `(B, context)`.
        parameters: number of parameters.
        context: numbers that the trunk gives.
        flow: nsf or maf.
        transforms: one after the other.
        hidden: width of the two hidden layers of each.

    Raises:
        InputError: zuko is not installed.
    """

    def __init__(
        self, trunk: nn.Module, parameters: int, context: int, *, flow: str = "nsf", transforms: int = 3, hidden: int = 64
    ):
        super().__init__(trunk, parameters)
        try:
            import zuko.flows
        except ImportError as error:
            raise InputError(
                'normalising flows need zuko: pip install "darklens[infer]", or set inference.posterior=gaussian'
            ) from error
        kind = {"nsf": zuko.flows.NSF, "maf": zuko.flows.MAF}[flow]
        self.norm = nn.LayerNorm(context)
        self.flow = kind(parameters, context, transforms=transforms, hidden_features=(hidden, hidden))

    def summary(self, context: Tensor) -> Tensor:
        """Return what the flow is conditioned on, `(B, context)`."""
        return self.norm(context.float())

    def log_prob(self, summary: Tensor, z: Tensor) -> Tensor:
        """Return ln q(z | image)."""
        with torch.autocast(summary.device.type, enabled=False):  # splines in bfloat16 have steps
            return self.flow(summary.float()).log_prob(z.float())

    def draw(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws `(B, n, P)`."""
        with torch.autocast(summary.device.type, enabled=False):
            return self.flow(summary.float()).sample((n,)).transpose(0, 1)


def posterior_over(trunk: nn.Module, settings: dict[str, Any], seed: int) -> Posterior:
    """Build the posterior above a trunk, on the CPU, with weights that are a pure function of the arguments.

    Args:
        trunk: prepared images to `(B, context)`.
        settings: the section `inference` of a recipe.
        seed: where the initial weights are drawn from.

    Raises:
        InputError: a package is missing.
    """
    count, context = len(settings["parameters"]), settings["context"]
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if settings["posterior"] == "gaussian":
            return GaussianPosterior(trunk, count, context)
        return FlowPosterior(trunk, count, context, **{name: settings[name] for name in ("flow", "transforms", "hidden")})
