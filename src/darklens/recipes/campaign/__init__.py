"""A campaign: a network and people who label what it asks for, round by round, in one folder."""

from darklens.data.decisions import Decision, read_decisions, settle
from darklens.recipes.campaign.asking import ask
from darklens.recipes.campaign.beginning import begin
from darklens.recipes.campaign.folder import Campaign
from darklens.recipes.campaign.learning import learn

__all__ = ["Campaign", "Decision", "ask", "begin", "learn", "read_decisions", "settle"]
