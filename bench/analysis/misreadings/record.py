"""An analysis as plain JSON values, nothing rounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.analysis.misreadings.analysis import Analysis
from bench.analysis.misreadings.classes import VIEWS, Class
from bench.analysis.misreadings.profile import Change, Profile
from bench.core.hashing import plain


def record(analysis: Analysis) -> dict[str, Any]:
    """All counts of a condition.

    Rates are fractions. A view whose classes do not apply (nothing was hidden) has no counts.
    """
    row = analysis.profiles[0].reading.row
    against = analysis.against
    return {
        "encoder": row.encoder,
        "condition": plain(vars(row.condition)),
        "dataset_sha256": row.dataset_sha256,
        "vocabulary": analysis.known.source,
        "hidden_unknown": analysis.seen.absent,
        "against": against.reading.row.key if against else None,
        "systems": [_system(each, analysis) for each in analysis.profiles],
    }


def _system(profile: Profile, analysis: Analysis) -> dict[str, Any]:
    row = profile.reading.row
    changes = analysis.changes.get(row.key)
    return {
        "key": row.key,
        "signature": row.signature,
        "decoder": row.decoder,
        "cer": row.cer,
        "characters": int(profile.reading.characters.sum()),
        "words": int(profile.reading.words.sum()),
        "word_edits": int(profile.reading.word_edits.sum()),
        "kinds": dict(profile.kinds),
        "truncated_lines": profile.truncated,
        "looping_lines": profile.looping,
        "classes": _by_view(profile.classes),
        "changes": None if changes is None else _by_view({c: _change(changes[c]) for c in changes}),
        "confusions": [[*pair, count] for pair, count in profile.pairs("character").most_common()],
        "words_confused": [[*pair, count] for pair, count in profile.pairs("word").most_common()],
    }


def _by_view(values: Mapping[Class, Any]) -> dict[str, dict[str, Any]]:
    return {
        view.name: {name: values[view[name]] for name in view.classes if view[name] in values}
        for view in VIEWS
    }


def _change(change: Change) -> dict[str, Any]:
    interval = change.interval
    return {
        "removed": change.removed,
        "added": change.added,
        "net": change.net,
        "interval": [interval.low, interval.high] if interval else None,
        "p_holm": change.p,
    }
