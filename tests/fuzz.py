"""Coverage-guided fuzzing of everything that reads what others wrote.

    pip install atheris
    python -m tests.fuzz alto --minutes 10

A reader may answer any bytes with a value or with the error that its callers expect; another one
ends the program, with the bytes that caused it. Figures stand in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import atheris
import numpy as np
from PIL import Image

with atheris.instrument_imports(include=["bench", "datasets", "decoders", "models"]):
    from bench import ROOT
    from bench.core import project
    from bench.core.errors import Unavailable, UserError
    from bench.core.options import parse_options, typed_options
    from bench.core.records import load_row
    from bench.core.types import Runtime
    from datasets.cvl import page_texts
    from datasets.files import decode
    from datasets.iam_text import parse_form, parse_forms, parse_lines
    from datasets.page_xml import parse_alto, parse_page
    from datasets.parquet import ParquetLines
    from datasets.table import read_table
    from decoders import DECODERS, tuned
    from decoders.correctors.chat import Chat, Endpoint, _AgainError
    from decoders.language.arpa import read_arpa
    from decoders.language.kenlm_files import read_binary_header
    from models.hub import locate
    from models.trocr_model import open_checkpoint

from tests.tiny_trocr import save_checkpoint

FIXTURES = ROOT / "tests" / "fixtures"
Reader = Callable[[bytes], object]


def from_file(suffix: str, read: Callable[[Path], object]) -> Reader:
    """Put the bytes into a file for a reader of files."""
    path = Path(tempfile.mkdtemp()) / f"fuzzed{suffix}"

    def reader(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return reader


def _parquet(path: Path) -> object:
    return ParquetLines(path=str(path), split="test").load("test", 5)


def _text(parse: Callable[[str], object]) -> Reader:
    return lambda data: parse(data.decode("utf-8", "replace"))


def _checkpoint(data: bytes) -> object:
    """Open a TrOCR folder in which values of its JSON, or bytes of another file, are others."""
    if not CHECKPOINT.exists():
        save_checkpoint(CHECKPOINT, "base")
    choice = atheris.FuzzedDataProvider(data)
    folder = Path(tempfile.mkdtemp())
    try:
        for path in CHECKPOINT.iterdir():
            shutil.copy(path, folder)
        for _ in range(choice.ConsumeIntInRange(1, 3)):
            path = folder / choice.PickValueInList(CHANGED)
            if path.suffix == ".json":
                content = json.loads(path.read_text("utf-8"))
                _change(content, choice)
                path.write_text(json.dumps(content), "utf-8")
            else:
                old = path.read_bytes()
                place = choice.ConsumeIntInRange(0, min(len(old), 4000))
                new = choice.ConsumeBytes(8)
                rest = old[place + len(new) * choice.ConsumeBool() :]
                path.write_bytes(old[:place] + new + rest * choice.ConsumeBool())
        return open_checkpoint(locate(str(folder)), Runtime())
    finally:
        shutil.rmtree(folder)


def _change(content: dict[str, Any], choice: atheris.FuzzedDataProvider) -> None:
    """Replace or remove a value, or that of a table in it."""
    if not content:
        return
    key = choice.PickValueInList(sorted(content))
    if isinstance(content[key], dict) and content[key] and choice.ConsumeProbability() < 0.9:
        _change(content[key], choice)
    elif choice.ConsumeProbability() < 0.2:
        del content[key]
    else:
        content[key] = choice.PickValueInList(VALUES)


def _answer(data: bytes) -> object:
    body = {"max_tokens": 50, "messages": [{"content": "a line"}]}
    return CHAT._read(data, body, 0.0)


CHAT = Chat(Endpoint("http://localhost:1/v1", "fuzzed"))
CHECKPOINT = Path(tempfile.mkdtemp()) / "checkpoint"
CHANGED = [
    *("config.json", "generation_config.json", "preprocessor_config.json"),
    *("tokenizer_config.json", "vocab.json", "merges.txt", "model.safetensors"),
]
VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 24, 1_000_000_000, 0.5, -1e308, float("nan")),
    *("", "x", "gelu", "trocr", "float16", "../x", "\x00", [], [0.5], [1, 2], {}, {"height": 0}),
]
READERS: dict[str, Reader] = {
    "image": decode,
    "page": partial(parse_page, name="fuzzed"),
    "alto": partial(parse_alto, name="fuzzed"),
    "iam-form": partial(parse_form, name="fuzzed"),
    "iam-lines": _text(parse_lines),
    "iam-forms": _text(parse_forms),
    "csv": from_file(".csv", read_table),
    "tsv": from_file(".tsv", read_table),
    "jsonl": from_file(".jsonl", read_table),
    "parquet": from_file(".parquet", _parquet),
    "arpa": from_file(".arpa", read_arpa),
    "kenlm": from_file(".bin", read_binary_header),
    "row": partial(load_row, where="fuzzed"),
    "tuned": from_file(".json", tuned.load),
    "project": from_file(".toml", project.read),
    "cvl": partial(page_texts, name="fuzzed"),
    "checkpoint": _checkpoint,
    "options": _text(lambda text: typed_options(parse_options(text.split("\n")), [DECODERS])),
    "answer": _answer,
}
EXPECTED: dict[str, tuple[type[Exception], ...]] = {
    "image": (ValueError,),
    "page": (UserError, ValueError),
    "alto": (UserError, ValueError),
    "answer": (_AgainError,),
    "checkpoint": (UserError, Unavailable),
    "cvl": (UserError, ValueError),
    "iam-form": (UserError, ValueError),
    "iam-lines": (UserError, ValueError),
    "iam-forms": (UserError, ValueError),
}


PAGE = b"""<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15">
<Page imageFilename="p.png" imageWidth="900" imageHeight="400"><TextRegion id="r">
<Coords points="0,0 900,0 900,400 0,400"/><TextLine id="a" production="handwritten-cursive">
<Coords points="10,10 500,12 498,60 9,58"/><Baseline points="12,50 490,52"/>
<TextEquiv index="1"><Unicode>dear Sir</Unicode></TextEquiv></TextLine></TextRegion>
</Page></PcGts>"""
IAM = (
    b"# comment\na01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop\n",
    b"a01-000u 000 2 prt 7 5 52 36\n",
    b'<form writer-id="1" id="a01"><handwritten-part><line id="a01-00" text="A &quot;b&quot;">'
    b'<word id="w" text="A"><cmp x="1" y="2" width="3" height="4"/></word></line>'
    b"</handwritten-part></form>",
)
OTHERS = (
    b"ctc-ngram.alpha=0.5\nctc-ngram.beam=16\nar-beam.beam=5",
    b'{"choices": [{"message": {"content": "a line"}, "finish_reason": "stop"}], '
    b'"usage": {"total_tokens": 9}}',
    b'<Page><AttrRegion attrType="2" id="0001-1-2"><AttrRegion attrType="1" id="0001-1-2-3" '
    b'text="word" fontType="2"/></AttrRegion></Page>',
)
PROJECT = b'[encoders.mine]\npath = "x"\n[sets.iam]\nroot = "y"\npartition = "aachen"\n'


def seeds(name: str) -> Iterable[bytes]:
    """Files to begin with."""
    yield from (PAGE, *IAM, *OTHERS, PROJECT)
    yield from map(np.random.default_rng(0).bytes, range(20, 60))
    pixels = np.arange(240, dtype=np.uint8).reshape(8, 30)
    for kind in ("png", "jpeg", "tiff", "gif", "bmp", "webp", "ppm"):
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, kind)
        yield written.getvalue()
    for path in sorted(FIXTURES.rglob("*")):
        if path.is_file() and path.stat().st_size < 100_000:
            yield path.read_bytes()
    row = ROOT / "results" / "reference" / "two-cores" / "rows.jsonl"
    yield row.read_bytes().split(b"\n")[0]
    yield json.dumps({"name": name}).encode()


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--minutes", type=float, default=10)
    chosen = parser.parse_args()
    read, expected = READERS[chosen.reader], EXPECTED.get(chosen.reader, (UserError,))
    corpus = Path(tempfile.mkdtemp())
    for number, data in enumerate(seeds(chosen.reader)):
        (corpus / str(number)).write_bytes(data)

    def once(data: bytes) -> None:
        with contextlib.suppress(*expected):
            read(data)

    seconds = int(60 * chosen.minutes)
    words = [sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=20000"]
    atheris.Setup(words, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
