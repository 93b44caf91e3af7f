"""How light is bent: mass profiles, light profiles, the lens equation. Pure torch, batched, differentiable, no input or output."""

from darklens.lensing.base import Light, Mass
from darklens.lensing.convergence_sheet import ConvergenceSheet
from darklens.lensing.core_sersic import CoreSersic
from darklens.lensing.cosmology import Cosmology
from darklens.lensing.critical import caustics, critical_curves
from darklens.lensing.epl import EPL
from darklens.lensing.gaussian import Gaussian, GaussianEllipse
from darklens.lensing.lens_equation import jacobian, magnification, residual, solve_images, trace
from darklens.lensing.multiplane import trace_planes
from darklens.lensing.multipole import Multipole
from darklens.lensing.nfw import NFW, TNFW, CoredTNFW
from darklens.lensing.pixelised import PixelisedLight, PixelisedPotential
from darklens.lensing.point_mass import PointMass, PointMasses
from darklens.lensing.point_source import PointSource
from darklens.lensing.profiles import LIGHTS, MASSES
from darklens.lensing.pseudo_jaffe import PseudoJaffe
from darklens.lensing.sersic import Sersic, SersicEllipse
from darklens.lensing.shear import Shear
from darklens.lensing.sie import SIE
from darklens.lensing.sis import SIS
from darklens.lensing.spiral import Ring, Spiral
from darklens.lensing.tnfw_halos import CoredTNFWHalos, TNFWHalos
from darklens.lensing.vortex import Vortex

__all__ = [
    "EPL",
    "LIGHTS",
    "MASSES",
    "NFW",
    "SIE",
    "SIS",
    "TNFW",
    "ConvergenceSheet",
    "CoreSersic",
    "CoredTNFW",
    "CoredTNFWHalos",
    "Cosmology",
    "Gaussian",
    "GaussianEllipse",
    "Light",
    "Mass",
    "Multipole",
    "PixelisedLight",
    "PixelisedPotential",
    "PointMass",
    "PointMasses",
    "PointSource",
    "PseudoJaffe",
    "Ring",
    "Sersic",
    "SersicEllipse",
    "Shear",
    "Spiral",
    "TNFWHalos",
    "Vortex",
    "caustics",
    "critical_curves",
    "jacobian",
    "magnification",
    "residual",
    "solve_images",
    "trace",
    "trace_planes",
]
