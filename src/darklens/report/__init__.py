"""Reads run folders, renders one self-contained HTML page, computes nothing."""

from darklens.report.comparison import render_comparison
from darklens.report.page import names_of, render_report
from darklens.report.plain import render_plain, tells_classes

__all__ = ["names_of", "render_comparison", "render_plain", "render_report", "tells_classes"]
