"""A classifier on the encoder of a masked autoencoder or a joint embedding: as it was learned without labels, or tuned with them.

The encoder comes from a run of one of `ENCODERS`. Frozen, with a linear layer behind it, it shows what was
learned without labels; free, it starts there. Without a run it starts from random weights, which is what both are compared with.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from darklens.errors import InputError, unknown
from darklens.models.denoise_arc import ArcEncoder, DenoiseArc
from darklens.models.joint_embedding import JointEmbedding
from darklens.models.mae import MAE, ViTMAEEncoder
from darklens.models.mae_arc import MAEArc
from darklens.models.shapes import check_images
from darklens.models.token_encoder import TokenEncoder
from darklens.runs import Run

Encoder: TypeAlias = ViTMAEEncoder | TokenEncoder | ArcEncoder
ENCODERS: dict[str, type[MAE | MAEArc | JointEmbedding | DenoiseArc]] = {
    "mae": MAE,
    "mae-arc": MAEArc,
    "joint-embedding": JointEmbedding,
    "denoise-arc": DenoiseArc,
}
"""Models that have an encoder, by name."""
PART = "encoder."
"""What the names of an encoder's tensors begin with."""


class EncoderClassifier(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        run: folder of the run whose encoder this is; None starts from random weights.
        encoder: which model the encoder is of; with a run, that of the run.
        encoder_options: of that model.
        frozen: teach the last layer alone.
        probe: begin with the last layer that tells the training images apart best with the encoder as it is (`begin_with`); tuning
            from a random last layer tears the encoder first (Kumar et al. 2022, arXiv:2202.10054).
        weights: "pretrained" with a run, "random" for weights that are loaded later.

    Raises:
        InputError: unknown encoder, a run that has none, or one that sees other images.
    """

    summary = "classifier on an encoder that learned without labels, frozen or tuned (option run)"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        run: str | None = None,
        encoder: str = "mae-arc",
        encoder_options: dict[str, Any] | None = None,
        frozen: bool = False,
        probe: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder_of(bands, size, run=run, encoder=encoder, encoder_options=encoder_options, weights=weights)
        dimension, self.probe = self.encoder.dimension, probe
        self.head = nn.Sequential(Standard(dimension) if probe else nn.LayerNorm(dimension), nn.Linear(dimension, classes))
        self.encoder.requires_grad_(not frozen)
        self.frozen = frozen

    @torch.no_grad()
    def begin_with(self, mean: Tensor, deviation: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take over a linear layer on vectors in units of their own scatter; for networks that `probe`.

        Args:
            mean: of the vectors, (dimension,).
            deviation: of the vectors, (dimension,).
            weight: (classes, dimension).
            bias: (classes,).
        """
        for own, given in zip((*self.head[0].buffers(), *self.head[1].parameters()), (mean, deviation, weight, bias), strict=True):
            own.copy_(given)

    def train(self, mode: bool = True) -> EncoderClassifier:
        """Learn, or answer; a frozen encoder always answers, so that its batch norms stay as they were, too."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.encoder.bands, self.encoder.size)
        return self.head(self.encoder(images))


class Standard(nn.Module):
    """Vectors (B, d) in units of the scatter that others had.

    Args:
        dimension: d.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("deviation", torch.ones(dimension))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the vectors, less the mean, over the deviation."""
        return (vectors - self.mean) / self.deviation


def encoder_of(
    bands: int,
    size: int | tuple[int, int] | None,
    *,
    run: str | None,
    encoder: str,
    encoder_options: dict[str, Any] | None,
    weights: str | None,
) -> Encoder:
    """Return the encoder that options name, with the weights of its run where it has one.

    Args:
        bands: of the images.
        size: of the images; None takes that of the run, or 64, for an encoder that is asked for `maps_of` any size.
        run: folder of a run, or None.
        encoder: which model it is of; with a run, that of the run.
        encoder_options: of that model.
        weights: "pretrained", "random", or None: pretrained with a run.

    Raises:
        InputError: unknown encoder, a run that has none, or one that sees other images.
    """
    asked: dict[str, Any] = {"run": run, "encoder": encoder, "encoder_options": encoder_options or {}, "weights": weights}
    options = asked if weights else settle_encoder(asked)
    if options["encoder"] not in ENCODERS:
        raise unknown("encoder", options["encoder"], list(ENCODERS))
    found = ENCODERS[options["encoder"]](bands, size or 64, **options["encoder_options"]).encoder
    if options["weights"] == "pretrained":
        load_encoder(found, Run.open(options["run"]))
    return found


def settle_encoder(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of an `EncoderClassifier` with what its run says of the encoder.

    Raises:
        InputError: the run has no encoder.
    """
    if options.get("run") is None:
        return options | {"weights": "random"}
    described = Run.open(options["run"]).model
    if described["name"] not in ENCODERS:
        raise InputError(
            f"{options['run']} is a run of {described['name']}, which has no encoder: give one of {', '.join(ENCODERS)} as run"
        )
    return options | {"encoder": described["name"], "encoder_options": described["options"], "weights": "pretrained"}


def load_encoder(encoder: nn.Module, run: Run) -> None:
    """Take over the encoder of a run.

    Raises:
        InputError: the weights are damaged, or those of an encoder for other images.
    """
    try:
        state = load_file(run.weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{run.weights} is not a whole safetensors file ({error}): restore it or train again") from error
    own = {key.removeprefix(PART): value for key, value in state.items() if key.startswith(PART)}
    wanted = encoder.state_dict()
    wrong = sorted(
        key for key in set(own) | set(wanted) if key not in own or key not in wanted or own[key].shape != wanted[key].shape
    )
    if wrong:
        shape, settings = run.model["shape"], run.model["preprocess"]
        raise InputError(
            f"the encoder of {run} does not fit ({wrong[0]} differs): it sees images of {shape} with preprocess.input="
            f"{settings['input']}, crop {settings['crop']} and bin {settings['bin']}; give the recipe the same preprocess"
        )
    with torch.no_grad():
        encoder.load_state_dict(own)
