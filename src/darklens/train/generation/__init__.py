"""Images of lenses out of noise: diffusion and flows, what they are told, and what comes out."""

from darklens.train.generation.conditions import CLASS, Conditions
from darklens.train.generation.generator import Generated, Generator
from darklens.train.generation.intensity import Intensity
from darklens.train.generation.process import PROCESSES, Process
from darklens.train.generation.samplers import SAMPLERS, sample, slerp
from darklens.train.generation.task import Generation

__all__ = [
    "CLASS",
    "PROCESSES",
    "SAMPLERS",
    "Conditions",
    "Generated",
    "Generation",
    "Generator",
    "Intensity",
    "Process",
    "sample",
    "slerp",
]
