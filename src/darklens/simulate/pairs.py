"""Pairs for super-resolution: one scene, seen by a sharp and by a blunt camera, each with a noise of its own.

    PAIRS/
      HR/      table: what the sharp camera recorded
      LR/      table: what the blunt one recorded; row i of both is the same scene, with the same id
      TRUTH/   table: what the sharp camera would have recorded without noise

The blunt image is made on the pixels of the sharp one, convolved with the wider PSF there, and summed over the pixels that a
coarse one covers: no light is lost. Both images are in the sharp camera's e-/s a pixel, so that a coarse pixel holds what
`scale^2` fine ones hold. Scenes are those that the preset's population draws for the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darklens.data import TableWriter
from darklens.errors import InputError
from darklens.lensing import SersicEllipse
from darklens.simulate.instruments import INSTRUMENTS, Instrument, gaussian_camera
from darklens.simulate.noise import Exposure
from darklens.simulate.populations import CommonTest, DeepLenseSim, Population
from darklens.simulate.preset_type import SOURCE_MAG
from darklens.simulate.presets import DEFLECTION_SCALE
from darklens.simulate.psf import fwhm
from darklens.simulate.rendering import render
from darklens.simulate.scene import Scene
from darklens.simulate.write import ROWS_AT_ONCE, check_rows, rows_per_shard
from darklens.units import FWHM_PER_SIGMA, UNITS

SIDES = ("HR", "LR", "TRUTH")


@dataclass(frozen=True)
class PairPreset:
    """A recipe for pairs.

    Args:
        name: what the user types.
        summary: one line.
        population: what is in the sky, in e-/s of the sharp camera.
        high: the sharp camera.
        low: the blunt one; its pixel is a whole number of the sharp one's.
        shape: rows and columns of the sharp image.
        notes: known limits, for the data card.

    Raises:
        InputError: pixel scales or sides whose ratio is no whole number of at least 2.
    """

    name: str
    summary: str
    population: Population
    high: Instrument
    low: Instrument
    shape: tuple[int, int]
    notes: str = ""

    def __post_init__(self) -> None:
        ratio = self.low.pixel_scale / self.high.pixel_scale
        if self.scale < 2 or abs(ratio - self.scale) > 1e-6 * ratio or any(side % self.scale for side in self.shape):
            raise InputError(
                f'pixels of {self.low.pixel_scale}" and {self.high.pixel_scale}" and a side of {max(self.shape)}: the first '
                "must be a whole multiple, at least 2, of the second, and divide the side; change one of them"
            )

    @property
    def scale(self) -> int:
        """How many sharp pixels lie along the side of a blunt one."""
        return round(self.low.pixel_scale / self.high.pixel_scale)

    def shape_of(self, side: str) -> tuple[int, int, int]:
        """Return `(bands, rows, columns)` of the images of a side."""
        along = self.scale if side == "LR" else 1
        return 1, self.shape[0] // along, self.shape[1] // along

    def draw(self, n: int, seed: int, start: int = 0) -> Scene:
        """Draw the scenes of rows `start` to `start + n - 1`; classes take turns."""
        classes = self.population.classes
        labels = tuple(classes[row % len(classes)] for row in range(start, start + n))
        return self.population.draw(n, seed, start, labels=labels)

    def images(self, scene: Scene, side: str, device: str = "cpu") -> np.ndarray:
        """Return `(B, 1, rows, columns)` float32 of a side, in e-/s a pixel of the sharp camera."""
        camera = self.low if side == "LR" else self.high
        fine = replace(camera, pixel_scale=self.high.pixel_scale)
        flux = render(scene, fine, self.shape, device=device).float().cpu().numpy()
        if side == "TRUTH":
            return flux[:, None]
        if side == "HR":
            return Exposure().record(flux, camera, scene.seed, scene.rows)[0][:, None].astype(np.float32)
        rows, columns = self.shape_of(side)[1:]
        flux = flux.reshape(len(flux), rows, self.scale, columns, self.scale).sum((2, 4))
        ratio = self.low.flux(0.0) / self.high.flux(0.0)  # electrons of the blunt camera for one of the sharp one
        counts = Exposure().record((ratio * flux).astype(np.float32), camera, scene.seed, scene.rows, "noise low")[0]
        return (counts / ratio)[:, None].astype(np.float32)

    def manifest(self, side: str, n: int, seed: int) -> dict:
        """Return what the table of a side says of its making."""
        camera = self.low if side == "LR" else self.high
        return {
            "preset": self.name,
            "summary": self.summary,
            "notes": self.notes,
            "instrument": camera.as_dict(),
            "side": side,
            "scale": self.scale,
            "gain": 1 / self.scale**2,
            "psf_fwhm": {name: fwhm(one.psf, one.pixel_scale) for name, one in (("HR", self.high), ("LR", self.low))},
            "seed": seed,
            "pixel_scale": camera.pixel_scale,
            "flux_unit": "e-/s",
            "rows": n,
            "units": {k: UNITS[k] for k in self.population.truth_columns()},
        }


def simulate_pairs(
    preset: str | PairPreset,
    n: int,
    *,
    out: str | Path,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Simulate n pairs into a folder of three tables; a killed simulation continues where it stopped.

    Args:
        preset: name of a pair preset, or one of your own.
        n: pairs over all classes, which take turns.
        out: the folder.
        seed: every row is a pure function of `(seed, row)`.
        device: where to render.
        force: replace whatever is there.
        progress: called with the number of new images done, of `3 n`.

    Returns:
        The folder.

    Raises:
        InputError: n out of range, or `out` holds something else.
    """
    check_rows(n)
    chosen, out = PAIRS[preset] if isinstance(preset, str) else preset, Path(out)
    report = progress or (lambda rows: None)
    for side in SIDES:
        about = chosen.manifest(side, n, seed)
        classes = list(chosen.population.classes)
        shape = chosen.shape_of(side)
        with TableWriter(
            out / side, shape=shape, classes=classes, manifest=about, rows_per_shard=rows_per_shard(n), force=force
        ) as writer:
            report(writer.rows_done)
            for batch in _batches(chosen, side, n, seed, writer.rows_done, device):
                writer.write_columns(**batch)
                report(len(batch["ids"]))
    return out


def _batches(preset: PairPreset, side: str, n: int, seed: int, start: int, device: str) -> Iterator[dict]:
    for first in range(start, n, ROWS_AT_ONCE):
        scene = preset.draw(min(ROWS_AT_ONCE, n - first), seed, first)
        ids = [f"{preset.name}-{seed}-{row:08d}" for row in scene.rows]
        yield {"ids": ids, "images": preset.images(scene, side, device), "labels": list(scene.labels), "truth": scene.truth}


_COUNTS = 25.0  # zero point of cameras that only count: any number does
_SKY = _COUNTS - 10.0  # mag/arcsec^2 of 10^4 counts/arcsec^2; the images have 10 counts in a pixel of 0.05", 4,000 in an arcsec^2
_COMMON_SKY = _SKY + 2.5 * np.log10(1e4 / 4000.0).item()
_MEASURED = "PSF and sky as measured on official common-test images; the blunt camera has pixels twice and a PSF 1.18 times as wide"


def _deeplense(camera: Instrument) -> DeepLenseSim:
    amplitude = float(SersicEllipse.amp_for_flux(camera.flux(SOURCE_MAG), R_sersic=0.25, n_sersic=1.0))
    return DeepLenseSim(amplitude, DEFLECTION_SCALE)


_FINE = gaussian_camera("f160w-drizzled", 0.04, 0.08, 25.96, 22.3, 4.0, 5400.0, 1, 2.5, 'hst-wfc3-f160w on pixels of 0.04"')
_COARSE = gaussian_camera("f160w-native", 0.08, 0.15, 25.96, 22.3, 4.0, 5400.0, 1, 2.5, "hst-wfc3-f160w with its real FWHM")
_ACS, _HSC = INSTRUMENTS["hst-acs-f814w"], INSTRUMENTS["hsc-i"]
_HST_LIKE = replace(_ACS, name="hst-like", pixel_scale=_HSC.pixel_scale / 2, origin='hst-acs-f814w on pixels of 0.084"')

PAIRS: dict[str, PairPreset] = {
    p.name: p
    for p in [
        PairPreset(
            "sr-pairs",
            'pairs 75x75 at 0.1" and 150x150 at 0.05" of no / sphere / vort lenses, counts over sky, noise of their own',
            CommonTest(),
            gaussian_camera("sr-sharp", 0.05, 0.085 * FWHM_PER_SIGMA, _COUNTS, _COMMON_SKY, 0.0, 1.0, 1, 1.0, _MEASURED),
            gaussian_camera("sr-blunt", 0.1, 0.1 * FWHM_PER_SIGMA, _COUNTS, _COMMON_SKY, 0.0, 1.0, 1, 1.0, _MEASURED),
            (150, 150),
            "Never min-max scaled: both images are in counts above the sky.",
        ),
        PairPreset(
            "sr-pairs-64",
            'pairs 64x64 at 0.08" and 128x128 at 0.04" of no_sub / cdm / axion lenses, HST WFC3 F160W noise',
            _deeplense(_FINE),
            _FINE,
            _COARSE,
            (128, 128),
            "The scenes of DeepLenseSim's Model III.",
        ),
        PairPreset(
            "sr-hsc-hst",
            'pairs 64x64 at 0.168" from the ground and 128x128 at 0.084" from space of no_sub / cdm / axion lenses',
            _deeplense(_HST_LIKE),
            _HST_LIKE,
            _HSC,
            (128, 128),
            "The scenes of DeepLenseSim's Model III; both in the e-/s of the camera in space.",
        ),
    ]
}
