"""The words of the web report, in the language in force of `bench.report.captions`.

As there, the English words are the keys of the catalogue; the scripts of the page look theirs up in
the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.captions import in_force


def say(english: str, /, **values: object) -> str:
    """Words in the language in force, `{name}` replaced by the value of that name.

    Words that the catalogue lacks stay English; a test finds them.
    """
    words = _japanese() if in_force() == "ja" else {}
    return words.get(english, english).format(**values)


def for_scripts() -> Mapping[str, str]:
    """What the scripts say in place of the English words; nothing in English."""
    from bench.report.web.japanese import JAPANESE

    return JAPANESE if in_force() == "ja" else {}


def _japanese() -> Mapping[str, str]:
    from bench.report import japanese
    from bench.report.web.japanese import JAPANESE

    return {**japanese.JAPANESE, **JAPANESE}
