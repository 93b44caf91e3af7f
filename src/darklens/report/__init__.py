"""Reads run folders, renders one self-contained HTML page, computes nothing."""

from darklens.report.page import render_report

__all__ = ["render_report"]
