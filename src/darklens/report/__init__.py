"""Reads run folders, renders one self-contained HTML page, computes nothing."""

from darklens.report.page import render_report
from darklens.report.plain import render_plain, tells_classes

__all__ = ["render_plain", "render_report", "tells_classes"]
