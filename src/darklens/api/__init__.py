"""The Python interface: as short as the command line, which is a thin layer over it.

import darklens
table = darklens.simulate("model-iii", n=300, seed=1)
run = darklens.train("model-iii-resnet18", out="runs/mine")
run.predict(table.images())
"""

from darklens.api.adapting import adapt
from darklens.api.calibrating import calibrated
from darklens.api.campaigning import Campaign
from darklens.api.cards import card, export
from darklens.api.comparing import compare, report
from darklens.api.drifting import drift
from darklens.api.embedding import embed, similar
from darklens.api.enhancing import enhance
from darklens.api.generating import generate, walk
from darklens.api.images import load, simulate, simulate_pairs
from darklens.api.injecting import inject, injected
from darklens.api.learning import demo, resume, train, tune
from darklens.api.limits import limit
from darklens.api.scoring import score
from darklens.api.smooth import calibrate, fit, fit_path
from darklens.api.trained_run import TrainedRun, ensemble, evaluate, open_run
from darklens.api.vetting import candidates

__all__ = [
    "Campaign",
    "TrainedRun",
    "adapt",
    "calibrate",
    "calibrated",
    "candidates",
    "card",
    "compare",
    "demo",
    "drift",
    "embed",
    "enhance",
    "ensemble",
    "evaluate",
    "export",
    "fit",
    "fit_path",
    "generate",
    "inject",
    "injected",
    "limit",
    "load",
    "open_run",
    "report",
    "resume",
    "score",
    "similar",
    "simulate",
    "simulate_pairs",
    "train",
    "tune",
    "walk",
]
