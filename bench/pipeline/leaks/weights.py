"""Search of the shipped weights' training data for lines of the main job.

`models/weights/learned.json` has the hands and documents that were learned, by training file; texts
and images are compared where the training lines are on this machine.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from safetensors import safe_open

from bench.core.errors import Unavailable
from bench.core.types import LineSet
from bench.pipeline.leaks.check import LEARNED, TESTED, TextLeak, check_text, leak_with_train
from bench.pipeline.leaks.leak import Kind, Leak, Shared, compare, seen_too_often
from bench.pipeline.opening import Track
from bench.pipeline.plan import Part
from datasets import DATASETS
from datasets.sources import SOURCES, PublicSource
from datasets.splits import hand_of
from decoders.ctc.gap import WIDTHS
from decoders.language.lm import EMBEDDED_TEXT, train_text
from models.shipped import WEIGHTS

RECORD = WEIGHTS / "learned.json"
_WHOLE = {"unipen": "unipen-all"}  # the sets with all train lines of a source
_OF_LINES: tuple[Kind, ...] = ("text", "image", "near image")


@dataclass(frozen=True)
class Learned:
    """The training data of shipped weights, and the lines of the main job found in it.

    weights: names of the weights that share it. what: training files, a text, or the makers' words.
    known: whether it can be compared.
    absent: reasons why texts and images of lines were not.
    """

    weights: tuple[str, ...]
    what: tuple[str, ...]
    known: bool = True
    leaks: tuple[Leak, ...] = ()
    texts: tuple[TextLeak, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def spoilt(self) -> bool:
        """Whether a hand, document, image or test text was learned.

        A network may have seen the text of a test line in another hand.
        """
        shared = (found for leak in self.leaks for found in leak.shared if found.kind != "text")
        return any(s.lines for s in shared) or any(seen_too_often(t.overlap) for t in self.texts)


def check_weights(parts: Sequence[Part], track: Track) -> list[Learned]:
    """Look for val and test lines of data sets in the training data of all shipped weights."""
    record: Mapping[str, list[str]] = json.loads(RECORD.read_text(encoding="utf-8"))
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, note in _notes().items():
        groups[tuple(file for file in record if file in note) or (note,)].append(name)
    loaded = [
        part.thing.load(split)
        for part in track(parts, "looking for test lines among train lines")
        for split in ("val", TESTED)
    ]
    found = []
    for what, names in track(sorted(groups.items()), "comparing"):
        learned = Learned(tuple(sorted(names)), what)
        if what == (EMBEDDED_TEXT,):
            texts = check_text(train_text(), parts, lambda items, _: items)
            found.append(replace(learned, texts=tuple(texts)))
        elif (name := what[0].partition("-val@")[0]) in DATASETS:
            lines = DATASETS.create(name).load("val")
            leaks = (compare(lines, tested) for tested in loaded if tested.split == TESTED)
            found.append(replace(learned, leaks=tuple(leaks)))
        else:
            found.append(_beside(learned, loaded, record))
    return found


def _notes() -> dict[str, str]:
    """Read from the files of the shipped weights what they were trained on, by name."""
    widths = json.loads(WIDTHS.read_text(encoding="utf-8"))["learned_from"]
    notes = {"n-grams": EMBEDDED_TEXT, "ctc-gap": widths}
    for path in WEIGHTS.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            notes[path.stem] = str((file.metadata() or {}).get("trained_on", ""))
    return notes


def _beside(
    learned: Learned, loaded: Sequence[LineSet], record: Mapping[str, list[str]]
) -> Learned:
    """Compare lines with the hands and documents of training files, and with their lines."""
    train = functools.cache(lambda name: DATASETS.create(name).load(LEARNED))
    leaks: list[Leak] = []
    absent: dict[str, None] = {}
    for lines in loaded:
        source = next(s for s in SOURCES.values() if lines.source.startswith(s.url))
        files = (*source.files, *(pieces.file for pieces in source.pieces))
        names = [name for file in files if file in learned.what for name in record[file]]
        if not names:
            continue
        shared = [_hands(lines, source, {hand_of(name): name for name in names})]
        name = _WHOLE.get(source.name, source.name)
        try:
            part = Part(name, DATASETS.create(name), {})
            leak = leak_with_train(part, lines, functools.partial(train, name))
            shared += [leak.of(kind) for kind in _OF_LINES]
        except Unavailable as reason:
            absent[str(reason)] = None
        leaks.append(Leak(", ".join(learned.weights), f"{lines.name} {lines.split}", tuple(shared)))
    return replace(learned, known=bool(leaks), leaks=tuple(leaks), absent=tuple(absent))


def _hands(lines: LineSet, source: PublicSource, learned: Mapping[str, str]) -> Shared:
    """The lines whose hand, or document where one hand wrote all, was learned."""
    hands = [(line.id, hand_of(line.block)) for line in lines.lines]
    found = [(line, learned[hand]) for line, hand in hands if hand in learned]
    kind: Kind = "writer" if source.kind == "strokes" else "block"
    return Shared(kind, len(found), len(hands), found[0] if found else None)
