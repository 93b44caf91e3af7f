"""What localisation is told beyond its training: the `localisation` section of a recipe."""

from __future__ import annotations

from pydantic import Field

from darklens.train.config import Strict


class LocalisationConfig(Strict):
    """What counts as a clump, and as having found it."""

    least: float = Field(8.0, ge=5, le=12)
    """log10 M_sun of the lightest clump that is to be learned; lighter ones are taken for a part of the background."""
    most: int = Field(12, ge=1, le=200)
    """Clumps of an image that are learned at most, the heaviest."""
    width: float = Field(1.0, gt=0, le=8)
    """Deviation in pixels of the network's map of the spot that a clump is to leave on it."""
    weight: float = Field(0.2, ge=0, le=10)
    """Weight of place and mass beside the map."""
    tolerance: float = Field(0.3, gt=0, le=5)
    """Arcsec within which a detection counts as that of a clump."""
    false_positives: float = Field(0.03, gt=0, le=1)
    """Detections an image without clump may have; the threshold is set to it on validation images. 0.03 is the published figure."""

    def tiny(self) -> LocalisationConfig:
        """Return the settings of a trial of some seconds: a rate that few images can show."""
        return self.model_copy(update={"false_positives": max(self.false_positives, 0.3)})
