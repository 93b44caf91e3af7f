"""The Python interface: as short as the command line, which is a thin layer over it.

import darklens
table = darklens.simulate("model-iii", n=300, seed=1)
run = darklens.train("model-iii-resnet18", out="runs/mine")
run.predict(table.images())
"""

from darklens.api.comparing import compare, report
from darklens.api.images import load, simulate
from darklens.api.learning import demo, train
from darklens.api.smooth import calibrate, fit, fit_path
from darklens.api.trained_run import TrainedRun, evaluate, open_run

__all__ = [
    "TrainedRun",
    "calibrate",
    "compare",
    "demo",
    "evaluate",
    "fit",
    "fit_path",
    "load",
    "open_run",
    "report",
    "simulate",
    "train",
]
