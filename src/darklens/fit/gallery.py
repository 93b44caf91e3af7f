"""A picture of fits: image, model, and residual in units of the noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darklens.fit.smooth import SmoothFit

ROWS = 6
RESIDUAL_LIMIT = 5.0
"""Standard deviations at the ends of the residual's colours."""


def save_fit_gallery(path: Path, images: np.ndarray, fit: SmoothFit, titles: list[str], *, pixel_scale: float) -> None:
    """Draw image, model and residual of up to `2 ROWS` fits, side by side.

    Args:
        path: PNG file.
        images: `(N, H, W)`.
        fit: their fit.
        titles: N names.
        pixel_scale: arcsec.
    """
    from darklens.evaluate.style import INK, SKY_MAP, new_figure, save_png

    count = min(len(fit), 2 * ROWS)
    rows, halves = min(count, ROWS), -(-count // ROWS)
    figure = new_figure(6.6 * halves, 2.15 * rows + 0.5)
    axes = figure.subplots(rows, 3 * halves, squeeze=False)
    height, width = images.shape[1:]
    extent = (-0.5 * width * pixel_scale, 0.5 * width * pixel_scale, -0.5 * height * pixel_scale, 0.5 * height * pixel_scale)
    for ax in axes.flat:
        ax.set_axis_off()
    for i in range(count):
        row = axes[i % ROWS, 3 * (i // ROWS) : 3 * (i // ROWS) + 3]
        low, high = np.percentile(images[i], 1), np.percentile(images[i], 99.8)
        for ax, picture in zip(row[:2], (images[i], fit.model[i]), strict=True):
            ax.imshow(picture, cmap=SKY_MAP, origin="lower", extent=extent, vmin=low, vmax=high)
        shown = row[2].imshow(
            fit.residual[i], cmap="RdBu_r", origin="lower", extent=extent, vmin=-RESIDUAL_LIMIT, vmax=RESIDUAL_LIMIT
        )
        flag = "" if fit.converged[i] else ", not converged"
        row[0].set_title(titles[i], fontsize=9, color=INK, loc="left")
        row[1].set_title(f'model: $\\theta_E$ = {fit["theta_E"][i]:.3f}"', fontsize=9, color=INK, loc="left")
        row[2].set_title(f"residual: $\\chi^2_\\nu$ = {fit.chi2[i]:.3f}{flag}", fontsize=9, color=INK, loc="left")
    bar = figure.colorbar(shown, ax=axes[:, -1], shrink=0.8 if rows > 1 else 1.0, label="(image - model) / sigma")
    bar.ax.tick_params(labelsize=8)
    save_png(figure, Path(path))
