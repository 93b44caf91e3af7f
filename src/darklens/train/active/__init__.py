"""Which unlabelled images a person should look at next, and how a network learns from what they say."""

from darklens.train.active.candidates import Candidates
from darklens.train.active.fine_tuning import FineTuneConfig, fine_tune, mixture
from darklens.train.active.strategies import STRATEGIES, Pick, pick

__all__ = ["STRATEGIES", "Candidates", "FineTuneConfig", "Pick", "fine_tune", "mixture", "pick"]
