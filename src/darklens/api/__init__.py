"""The Python interface: as short as the command line, which is a thin layer over it.

```python
import darklens
table = darklens.simulate("model-iii", n=300, seed=1)
run = darklens.train("model-iii-resnet18", out="runs/mine")
run.predict(table.images())
```
"""

from darklens.api.adapting import adapt
from darklens.api.calibrating import calibrated
from darklens.api.campaigning import Campaign
from darklens.api.cards import card, export
from darklens.api.comparing import compare, comparison_page, report
from darklens.api.drifting import drift
from darklens.api.embedding import embed, similar
from darklens.api.enhancing import enhance
from darklens.api.explaining import explain
from darklens.api.generating import generate, walk
from darklens.api.images import load, simulate, simulate_pairs
from darklens.api.inferring import infer
from darklens.api.injecting import inject, injected
from darklens.api.learning import demo, resume, train, tune
from darklens.api.limits import limit
from darklens.api.localising import localise
from darklens.api.one_lens import fit_lens_path
from darklens.api.scoring import score
from darklens.api.serving import serve
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
    "comparison_page",
    "demo",
    "drift",
    "embed",
    "enhance",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "fit",
    "fit_lens_path",
    "fit_path",
    "generate",
    "infer",
    "inject",
    "injected",
    "limit",
    "load",
    "localise",
    "open_run",
    "report",
    "resume",
    "score",
    "serve",
    "similar",
    "simulate",
    "simulate_pairs",
    "train",
    "tune",
    "walk",
]
