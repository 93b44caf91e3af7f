"""Every profile by name. Adding one is its file, and its line here; the tests over all profiles then include it."""

from __future__ import annotations

from darklens.lensing.base import Light, Mass
from darklens.lensing.convergence_sheet import ConvergenceSheet
from darklens.lensing.core_sersic import CoreSersic
from darklens.lensing.epl import EPL
from darklens.lensing.gaussian import Gaussian, GaussianEllipse
from darklens.lensing.multipole import Multipole
from darklens.lensing.nfw import NFW, TNFW, CoredTNFW
from darklens.lensing.pixelised import PixelisedLight, PixelisedPotential
from darklens.lensing.point_mass import PointMass, PointMasses
from darklens.lensing.pseudo_jaffe import PseudoJaffe
from darklens.lensing.sersic import Sersic, SersicEllipse
from darklens.lensing.shear import Shear
from darklens.lensing.sie import SIE
from darklens.lensing.sis import SIS
from darklens.lensing.spiral import Ring, Spiral
from darklens.lensing.vortex import Vortex

_MASSES = (SIS, SIE, EPL, NFW, TNFW, CoredTNFW, PseudoJaffe, Shear, ConvergenceSheet, Multipole, PointMass, PointMasses, Vortex)
_LIGHTS = (Sersic, SersicEllipse, CoreSersic, Gaussian, GaussianEllipse, Spiral, Ring)
MASSES: dict[str, type[Mass]] = {c.__name__: c for c in (*_MASSES, PixelisedPotential)}
LIGHTS: dict[str, type[Light]] = {c.__name__: c for c in (*_LIGHTS, PixelisedLight)}
