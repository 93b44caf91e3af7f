"""Scenes for other programs, and from them."""

from darklens.simulate.interop.coolest import read_coolest, write_coolest
from darklens.simulate.interop.coolest_setting import read_setting
from darklens.simulate.interop.lenstronomy import from_lenstronomy, to_lenstronomy

__all__ = ["from_lenstronomy", "read_coolest", "read_setting", "to_lenstronomy", "write_coolest"]
