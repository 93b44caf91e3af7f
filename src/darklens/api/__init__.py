"""The Python interface: as short as the command line, which is a thin layer over it.

import darklens
table = darklens.simulate("model-iii", n=300, seed=1)
run = darklens.train("model-iii-resnet18", out="runs/mine")
run.predict(table.images())
"""

from darklens.api.adapting import adapt
from darklens.api.calibrating import calibrated
from darklens.api.cards import card, export
from darklens.api.comparing import compare, report
from darklens.api.images import load, simulate
from darklens.api.learning import demo, resume, train, tune
from darklens.api.limits import limit
from darklens.api.smooth import calibrate, fit, fit_path
from darklens.api.trained_run import TrainedRun, ensemble, evaluate, open_run

__all__ = [
    "TrainedRun",
    "adapt",
    "calibrate",
    "calibrated",
    "card",
    "compare",
    "demo",
    "ensemble",
    "evaluate",
    "export",
    "fit",
    "fit_path",
    "limit",
    "load",
    "open_run",
    "report",
    "resume",
    "simulate",
    "train",
    "tune",
]
