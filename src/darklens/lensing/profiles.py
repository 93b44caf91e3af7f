"""Every profile by name. Adding one is its file, and its line here; the tests over all profiles then include it."""

from __future__ import annotations

from darklens.lensing.base import Light, Mass
from darklens.lensing.epl import EPL
from darklens.lensing.point_mass import PointMass, PointMasses
from darklens.lensing.sersic import Sersic, SersicEllipse
from darklens.lensing.shear import Shear
from darklens.lensing.sie import SIE
from darklens.lensing.sis import SIS
from darklens.lensing.vortex import Vortex

MASSES: dict[str, type[Mass]] = {c.__name__: c for c in (SIS, SIE, EPL, Shear, PointMass, PointMasses, Vortex)}
LIGHTS: dict[str, type[Light]] = {c.__name__: c for c in (Sersic, SersicEllipse)}
