"""The masked autoencoder (He et al. 2022, arXiv:2111.06377) as it was used on strong lenses, by the code of `transformers`.

128x128 pixels in patches of 16, 192 dimensions, 12 blocks of 4 heads; a decoder of 4 blocks, 128 wide; three quarters of the
patches hidden; the squared error of the hidden pixels. Images of another size are resampled to 128x128.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from darklens.models.backbone import quietly, transformers_library
from darklens.models.shapes import check_images, check_size
from darklens.models.token_encoder import MINIMUM, hidden_pixels, random_order, visible_count

SIDE, PATCH, DIM, DEPTH, HEADS = 128, 16, 192, 12, 4
DECODER_DIM, DECODER_DEPTH = 128, 4
MLP = 4
"""Width of the hidden layer of an MLP, in widths of a token."""


class ViTMAEEncoder(nn.Module):
    """Images (B, bands, H, W) to vectors (B, 2 dim), the mean and the maximum of the patches' tokens.

    Args:
        network: a `ViTMAEModel` of `transformers`.
        bands: number of bands.
        size: height and width of the images, which are resampled to those of the network.

    Attributes:
        dimension: length of a vector.
        grid: rows and columns of patches.
    """

    def __init__(self, network: Any, bands: int, size: tuple[int, int]) -> None:
        super().__init__()
        config = network.config
        self.network, self.bands, self.size = network, bands, size
        self.side, self.patch, self.dim = int(config.image_size), int(config.patch_size), int(config.hidden_size)
        self.dimension = 2 * self.dim
        self.grid = (self.side // self.patch, self.side // self.patch)

    def resampled(self, images: Tensor) -> Tensor:
        """Return the images at the size of the network, bilinearly."""
        check_images(images, self.bands, self.size)
        return self._at_its_size(images)

    def _at_its_size(self, images: Tensor) -> Tensor:
        wanted = (self.side, self.side)
        return images if images.shape[-2:] == wanted else interpolate(images, wanted, mode="bilinear", antialias=True)

    def tokens(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return the class token and one a patch that is seen, (B, 1 + K, dim); `seen` (B, K) are their positions, None for all."""
        return self._encoded(self.resampled(images), seen)

    def _encoded(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        embed = self.network.embeddings
        patches = embed.patch_embeddings(images) + embed.position_embeddings[:, 1:]
        if seen is not None:
            patches = patches.gather(1, seen[..., None].expand(-1, -1, self.dim))
        first = (embed.cls_token + embed.position_embeddings[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat([first.to(patches.dtype), patches], 1)
        layers = self.network.layers if hasattr(self.network, "layers") else self.network.encoder.layer  # renamed in transformers 5
        for layer in layers:
            found = layer(tokens)
            tokens = found[0] if isinstance(found, tuple) else found
        return self.network.layernorm(tokens)

    def maps_of(self, images: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
        """Return the tokens of images of any size in their places, whose pixels all are theirs, resampled."""
        return self._encoded(self._at_its_size(images))[:, 1:].mT.unflatten(2, self.grid), (slice(None), slice(None))

    def forward(self, images: Tensor) -> Tensor:
        """Return the vectors (B, 2 dim)."""
        tokens = self.tokens(images)[:, 1:]
        return torch.cat([tokens.mean(1), tokens.amax(1)], 1)


class MAE(nn.Module):
    """Images (B, bands, H, W) to what they look like, at 128x128 pixels, where three quarters of them were hidden.

    Args:
        bands: number of bands.
        size: image height and width, at least 32 pixels.
        mask: fraction of the patches that are hidden.

    Raises:
        InputError: `transformers` is missing, images too small, or a mask that hides all or nothing.
    """

    task = "masked-autoencoder"
    summary = "masked autoencoder as published, 128x128, patches of 16, 6.2 M parameters (needs darklens[zoo])"

    def __init__(self, bands: int = 1, size: int | tuple[int, int] = 64, *, mask: float = 0.75) -> None:
        super().__init__()
        library = transformers_library()
        config = library.ViTMAEConfig(
            hidden_size=DIM,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            intermediate_size=MLP * DIM,
            image_size=SIDE,
            patch_size=PATCH,
            num_channels=bands,
            decoder_hidden_size=DECODER_DIM,
            decoder_num_hidden_layers=DECODER_DEPTH,
            decoder_num_attention_heads=HEADS,
            decoder_intermediate_size=MLP * DECODER_DIM,
            mask_ratio=mask,
        )
        with quietly():
            network = library.ViTMAEForPreTraining(config)
        self.encoder = ViTMAEEncoder(network.vit, bands, check_size(size, minimum=MINIMUM))
        self.decoder = network.decoder
        self.patches = (SIDE // PATCH) ** 2
        self.seen = visible_count(self.patches, mask)

    def forward(self, images: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Predict what is hidden from what is seen; arguments and result as of `MAEArc.forward`, at 128x128 pixels."""
        order = random_order(images, self.patches) if order is None else order
        tokens = self.encoder.tokens(images, order[:, : self.seen])
        pixels = self.decoder(tokens, order.argsort(1)).logits
        pixels = pixels.unflatten(2, (PATCH**2, self.encoder.bands)).permute(0, 3, 2, 1).flatten(1, 2)  # bands first, as images are
        predicted = nn.functional.pixel_shuffle(pixels.unflatten(2, self.encoder.grid), PATCH)
        return predicted, self.encoder.resampled(images), hidden_pixels(order, self.seen, self.encoder.grid, PATCH)
