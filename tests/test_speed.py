"""`pytest --benchmark-only`: every registered decoder on one encoded batch of `mini`.

What is timed is `decode` alone, between two synchronised borders, after a warm-up; opening a
decoder (language models, workers, compiling) is not. `extra_info` holds the CER of the texts that
were timed and their signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest
import torch

from bench import __version__
from bench.core.errors import Unavailable
from bench.core.hashing import plain
from bench.core.metrics import NORMALISER, cer, totals
from bench.core.stopwatch import Stopwatch
from bench.core.types import Condition, Encoded, EncoderInfo, LineSet, Row, Runtime
from bench.pipeline.cells import line_result
from bench.pipeline.signature import signature
from datasets import DATASETS
from decoders import DECODERS
from decoders.base import Decoder, DecoderSpec
from models import ENCODERS

ENCODER, DATASET, LINES = "mini", "lines", 32
ENOUGH_S = 2.0  # seconds of rounds for a decoder
LEAST, MOST = 3, 200  # rounds


class Batch(NamedTuple):
    """Lines of the embedded test set, encoded once."""

    info: EncoderInfo
    lines: LineSet
    encoded: Encoded
    runtime: Runtime


@pytest.fixture(scope="module")
def batch() -> Batch:
    spec = ENCODERS.create(ENCODER)
    if absent := spec.missing():
        pytest.skip(str(absent))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    runtime = Runtime(device=device, batch_size=LINES, threads=torch.get_num_threads())
    encoder = spec.open(runtime)
    lines = DATASETS.create(DATASET).load("test", LINES)
    encoded = encoder.encode(encoder.prepare([line.image for line in lines.lines]))
    return Batch(encoder.info, lines, encoded, runtime)


@pytest.fixture(params=DECODERS.names())
def decoder(request: pytest.FixtureRequest, batch: Batch) -> Iterator[tuple[str, Decoder]]:
    try:
        spec: DecoderSpec = DECODERS.create(request.param)
    except Unavailable as error:
        pytest.skip(str(error))
    if absent := spec.missing(batch.info):
        pytest.skip(str(absent))
    with closing(spec.open(batch.info)) as made:
        yield request.param, made


@pytest.mark.benchmark(group="decoders")
def test_decoder(benchmark, decoder, batch):
    name, made = decoder
    watch = Stopwatch.for_device(batch.runtime.device)

    def decode():
        decoded = made.decode(batch.encoded)
        watch.meter.synchronise()
        return decoded

    warm, lap = watch.measure(decode)
    rounds = min(MOST, max(LEAST, int(ENOUGH_S / lap.wall_s)))
    decoded = benchmark.pedantic(decode, rounds=rounds, warmup_rounds=1)
    assert [line.text for line in decoded] == [line.text for line in warm]
    results = [
        line_result(line, read) for line, read in zip(batch.lines.lines, decoded, strict=True)
    ]
    counts = totals(results)
    benchmark.extra_info.update(
        cer=cer(counts) if batch.info.trained else None,
        signature=signature(row_of(name, made, batch)),
        tokens=counts.tokens,
        lines=LINES,
        threads=batch.runtime.threads,
        device=batch.runtime.device,
    )


def row_of(name: str, decoder: Decoder, batch: Batch) -> Row:
    """What a signature is made of."""
    return Row(
        key="", cell="", status="ok", started="", environment="", signature="",
        version=__version__, normaliser=NORMALISER, suite="",
        encoder=ENCODER, weights=batch.info.weights, parameters={},
        decoder=name, options=plain(decoder.spec.settings()), extras=plain(decoder.extras()),
        condition=Condition(DATASET, "test", limit=LINES),
        dataset_sha256=batch.lines.sha256, references=batch.lines.references,
        runtime=batch.runtime,
    )  # fmt: skip
