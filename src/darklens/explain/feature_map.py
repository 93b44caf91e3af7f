"""Features of images on a plane: principal components, t-SNE, UMAP; like beside like, as far as two dimensions allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darklens.errors import InputError, unknown
from darklens.evaluate.vectors import FEWEST, MOST, Scale, flat_map

PROJECTIONS = ("pca", "tsne", "umap")
NEIGHBOURS = 15
"""That UMAP keeps together."""


def check_projections(names: Sequence[str]) -> None:
    """Refuse what is no projection.

    Raises:
        InputError: unknown projection, or UMAP where it is not installed.
    """
    for name in names:
        if name not in PROJECTIONS:
            raise unknown("projection", name, PROJECTIONS)
    if "umap" in names:
        from importlib.util import find_spec

        if find_spec("umap") is None:
            raise InputError('the projection umap needs umap-learn, which is not installed: pip install "darklens[explain]"')


def project(vectors: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """Return places `(n, 2)` of vectors `(n, d)`.

    Args:
        vectors: the features.
        name: `pca` (the directions in which they differ most), `tsne` (van der Maaten & Hinton 2008), or `umap` (McInnes et al.
            2018, arXiv:1802.03426).
        seed: of the two that draw.

    Raises:
        InputError: unknown projection, fewer than 5 vectors, or more than 5,000.
    """
    check_projections([name])
    if not FEWEST <= len(vectors) <= MOST:
        raise InputError(f"a map of {len(vectors)} vectors cannot be drawn: give {FEWEST} to {MOST:,} images")
    if name == "tsne":
        return flat_map(vectors, seed)
    scaled = Scale(vectors)(vectors)
    if name == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=seed).fit_transform(scaled)
    import warnings

    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed costs it its threads
        near = min(NEIGHBOURS, len(vectors) - 1)
        return umap.UMAP(n_neighbors=near, init="pca", random_state=seed).fit_transform(scaled)
