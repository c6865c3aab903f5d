"""A font with Japanese letters for the plots, where this machine has one."""

from __future__ import annotations

import functools
from pathlib import Path

from matplotlib import font_manager

# Families in order of preference, as fonts name themselves; all of them have kana and kanji.
FAMILIES = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAPGothic",
    "IPAGothic", "TakaoPGothic", "TakaoGothic", "VL PGothic", "VL Gothic", "BIZ UDPGothic",
    "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Yu Gothic", "Meiryo", "MS PGothic",
    "Noto Serif CJK JP", "IPAexMincho", "IPAPMincho", "IPAMincho",
)  # fmt: skip
# Parts of their files' names: matplotlib's list of fonts is older than a font just installed.
_FILES = ("notosanscjk", "notosansjp", "sourcehansans", "ipaexg", "ipagp", "ipag", "takao")

MISSING = (
    "no font with Japanese letters was found, so the plots have English words; install one, for "
    "example with: sudo apt-get install fonts-ipafont"
)


@functools.cache
def japanese() -> str | None:
    """The family of a font with Japanese letters, or None where there is none."""
    return _known() or _just_installed()


def _known() -> str | None:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return next((family for family in FAMILIES if family in names), None)


def _just_installed() -> str | None:
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in listed and Path(file).name.lower().startswith(_FILES):
            font_manager.fontManager.addfont(file)
    return _known()
