"""A trained network and unlabelled images from elsewhere: the network, adapted to them."""

from darklens.train.adaptation.adapted_run import adapt_run
from darklens.train.adaptation.adversarial import adversarial
from darklens.train.adaptation.methods import METHODS, adapt_network
from darklens.train.adaptation.moments import match_moments
from darklens.train.adaptation.self_training import self_train
from darklens.train.adaptation.settings import AdaptConfig

__all__ = ["METHODS", "AdaptConfig", "adapt_network", "adapt_run", "adversarial", "match_moments", "self_train"]
