r"""Networks that answer with a distribution: any architecture makes numbers of an image, and these say p(parameters | image).

The parameters come as z, without bounds and of about unit scatter; `darklens.train.inference.space` maps them there and back.

- `GaussianPosterior`: independent Gaussians with a mean and a sigma for each image (heteroscedastic regression, Nix & Weigend
  1994): `-ln p = sum_k 1/2 ((z_k - mu_k)/sigma_k)^2 + ln sigma_k + const`.
- `FlowPosterior`: a normalising flow conditioned on the image (neural posterior estimation, Papamakarios & Murray 2016,
  arXiv:1605.06376): trained on draws of prior and simulator, the mean of `-ln q(z | image)` is least for the true posterior.

Either can tell the posterior as a departure from a fit (`Anchors`): what a fit of the smooth lens has found already need not be
learnt, and a network of some minutes is then at least as good as the fit.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from darklens.errors import InputError

LOG_SIGMA = (-9.0, 3.0)
"""Limits of ln sigma."""
TRUST = 4.0
"""Logit of the trust in a fit before anything is learnt: 0.98."""
FARTHEST = 3.0
"""At which z of a fit is held: one that has failed lies anywhere."""


class Anchors(nn.Module):
    r"""What a fit says of A of the parameters, and a posterior told as a departure from it: `w = (z - t z_fit)/s` for each of them.

    The trust `0 < t < 1` and the scale s are learnt, and depend on the image: where a fit has failed, t goes to zero and s to the
    scatter of the prior. They begin at nearly 1 and at the scatter of `z - z_fit` over the training images.

    Args:
        places: of these parameters among the P, `(A,)`.
        planes: of the fit's numbers among the planes of an image, counted from the last one (negative), `(A,)`.
        kind: of their space, probit or standard (`darklens.train.inference.space`).
        ends: low and high of each for probit, mean and deviation for standard, `(A, 2)`.
        scale: scatter of `z - z_fit` over the training images, `(A,)`.
        context: width of what is known of an image beside.
    """

    ends: Tensor

    def __init__(
        self,
        places: Sequence[int],
        planes: Sequence[int],
        kind: str,
        ends: Sequence[Sequence[float]],
        scale: Sequence[float],
        context: int,
    ) -> None:
        super().__init__()
        self.places, self.planes, self.kind = list(places), list(planes), kind
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.float32), persistent=False)  # they come with the description
        self.head = nn.Linear(context + len(self.places), 2 * len(self.places))
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([TRUST] * len(self.places) + [math.log(one) for one in scale]))

    def of(self, images: Tensor) -> Tensor:
        """Return z of the fits of prepared images, `(B, A)`."""
        return fit_to_z(images[:, self.planes, 0, 0].float(), self.kind, self.ends)

    def frame(self, context: Tensor, anchor: Tensor, parameters: int) -> tuple[Tensor, Tensor]:
        """Return the middle and ln of the scale of each of the P parameters, `(..., P)`; 0 and 0 of those without a fit."""
        trust, log_scale = self.head(torch.cat([context, anchor], -1)).chunk(2, -1)
        middle = context.new_zeros(*context.shape[:-1], parameters)
        wide = middle.clone()
        middle[..., self.places] = trust.sigmoid() * anchor
        wide[..., self.places] = log_scale.clamp(*LOG_SIGMA)
        return middle, wide


def fit_to_z(numbers: Tensor, kind: str, ends: Tensor) -> Tensor:
    """Return z `(n, A)` of a fit's numbers, as `darklens.train.inference.space` maps parameters, held within `FARTHEST`."""
    first, second = ends.unbind(-1)
    if kind == "standard":
        return ((numbers - first) / second).clamp(-FARTHEST, FARTHEST)
    share = (numbers - first) / (second - first)
    outermost = 0.5 * math.erfc(FARTHEST / math.sqrt(2))
    return torch.special.ndtri(share.clamp(outermost, 1 - outermost))


class Posterior(nn.Module):
    """Images to what their posterior is told from, and the posterior itself.

    Args:
        trunk: prepared images `(B, bands, H, W)` to `(B, context)`.
        parameters: number of parameters P.
        anchors: what a fit says of some of them; None tells all of them as they are.
    """

    def __init__(self, trunk: nn.Module, parameters: int, anchors: Anchors | None = None) -> None:
        super().__init__()
        self.trunk, self.parameters_count, self.anchors = trunk, parameters, anchors

    def forward(self, images: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the summary of images, `(B, K)`; of given parameters `(B, P)` the log density instead, `(B,)`."""
        summary = self.summary(self.trunk(images))
        if self.anchors is not None:
            summary = torch.cat([summary, self.anchors.of(images)], 1)
        return summary if z is None else self.log_prob(summary, z)

    def log_prob(self, summary: Tensor, z: Tensor) -> Tensor:
        """Return ln q(z | image) `(...)` of summaries `(..., K)` and parameters `(..., P)`."""
        with torch.autocast(summary.device.type, enabled=False):  # splines in bfloat16 have steps
            summary, z = summary.float(), z.float()
            if self.anchors is None:
                return self.density(summary, z)
            middle, log_scale = self._frame(self.anchors, summary)
            return self.density(summary, (z - middle) * torch.exp(-log_scale)) - log_scale.sum(-1)

    def draw(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws of each posterior, `(B, n, P)`, by torch's own random numbers."""
        with torch.autocast(summary.device.type, enabled=False):
            summary = summary.float()
            drawn = self.departures(summary, n)
            if self.anchors is None:
                return drawn
            middle, log_scale = self._frame(self.anchors, summary)
            return middle[:, None] + log_scale.exp()[:, None] * drawn

    def _frame(self, anchors: Anchors, summary: Tensor) -> tuple[Tensor, Tensor]:
        count = len(anchors.places)
        return anchors.frame(summary[..., :-count], summary[..., -count:], self.parameters_count)

    @abstractmethod
    def summary(self, context: Tensor) -> Tensor:
        """Return what the posterior is told from, of what the trunk made of images; z of a fit, if there is one, comes behind."""

    @abstractmethod
    def density(self, summary: Tensor, w: Tensor) -> Tensor:
        """Return the log density `(...)` of departures `(..., P)`, which are z itself where there is no fit."""

    @abstractmethod
    def departures(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws of departures, `(B, n, P)`, by torch's own random numbers."""

    def sample(self, summary: Tensor, n: int, seed: int) -> Tensor:
        """Return n draws of each posterior, `(B, n, P)`, a pure function of the arguments."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            return self.draw(summary, n)


class GaussianPosterior(Posterior):
    """Independent Gaussians; arguments as of `Posterior`, and the width of what the trunk gives."""

    def __init__(self, trunk: nn.Module, parameters: int, context: int, anchors: Anchors | None = None) -> None:
        super().__init__(trunk, parameters, anchors)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(context, 2 * parameters))

    def summary(self, context: Tensor) -> Tensor:
        """Return means and ln sigma, `(B, 2 P)`."""
        return self.head(context)

    def _moments(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sigma = summary[..., : 2 * self.parameters_count].chunk(2, dim=-1)
        return mean, log_sigma.clamp(*LOG_SIGMA)

    def density(self, summary: Tensor, w: Tensor) -> Tensor:
        """Return the log density of departures."""
        mean, log_sigma = self._moments(summary)
        unit = (w - mean) * torch.exp(-log_sigma)
        return (-0.5 * unit**2 - log_sigma - 0.5 * math.log(2 * math.pi)).sum(-1)

    def departures(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws `(B, n, P)`."""
        mean, log_sigma = (part[:, None] for part in self._moments(summary))
        return mean + log_sigma.exp() * torch.randn(len(summary), n, self.parameters_count, device=summary.device)


class FlowPosterior(Posterior):
    """A conditional flow.

    Args:
        trunk: prepared images to `(B, context)`.
        parameters: number of parameters.
        context: numbers that the trunk gives.
        anchors: what a fit says of some of them.
        flow: nsf or maf.
        transforms: one after the other.
        hidden: width of the two hidden layers of each.

    Raises:
        InputError: zuko is not installed.
    """

    def __init__(
        self,
        trunk: nn.Module,
        parameters: int,
        context: int,
        anchors: Anchors | None = None,
        *,
        flow: str = "nsf",
        transforms: int = 3,
        hidden: int = 64,
    ) -> None:
        super().__init__(trunk, parameters, anchors)
        try:
            import zuko.flows
        except ImportError as error:
            raise InputError(
                'normalising flows need zuko: pip install "darklens[infer]", or set inference.posterior=gaussian'
            ) from error
        kind = {"nsf": zuko.flows.NSF, "maf": zuko.flows.MAF}[flow]
        self.norm = nn.LayerNorm(context)
        known = context + (len(anchors.places) if anchors else 0)
        self.flow = kind(parameters, known, transforms=transforms, hidden_features=(hidden, hidden))

    def summary(self, context: Tensor) -> Tensor:
        """Return what the flow is conditioned on, `(B, context)`."""
        return self.norm(context.float())

    def density(self, summary: Tensor, w: Tensor) -> Tensor:
        """Return the log density of departures."""
        return self.flow(summary).log_prob(w)

    def departures(self, summary: Tensor, n: int) -> Tensor:
        """Return n draws `(B, n, P)`."""
        return self.flow(summary).sample((n,)).transpose(0, 1)


def posterior_over(trunk: nn.Module, settings: dict[str, Any], seed: int, anchors: dict[str, Any] | None = None) -> Posterior:
    """Build the posterior above a trunk, on the CPU, with weights that are a pure function of the arguments.

    Args:
        trunk: prepared images to `(B, context)`.
        settings: the section `inference` of a recipe.
        seed: where the initial weights are drawn from.
        anchors: arguments of `Anchors` without the width of the context; None where no fit says anything.

    Raises:
        InputError: a package is missing.
    """
    count, context = len(settings["parameters"]), settings["context"]
    gaussian = settings["posterior"] == "gaussian"
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        known = Anchors(**anchors, context=2 * count if gaussian else context) if anchors else None
        if gaussian:
            return GaussianPosterior(trunk, count, context, known)
        return FlowPosterior(trunk, count, context, known, **{name: settings[name] for name in ("flow", "transforms", "hidden")})
