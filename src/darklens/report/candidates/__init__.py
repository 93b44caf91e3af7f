"""The most probable images of a survey as tables, pictures and one page, for people to decide on."""

from darklens.report.candidates.selection import RADIUS, Selection, select
from darklens.report.candidates.writing import free_folder, write_candidates

__all__ = ["RADIUS", "Selection", "free_folder", "select", "write_candidates"]
