"""KenLM's own binary files, and its model loader.

Binary format: KenLM, lm/binary_format.cc, version 5.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import Unavailable, UserError
from decoders.language.arpa import UNK, check_base

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
_PARAMETERS = struct.Struct("<B3xfI?3xI")  # order, probing multiplier, type, has strings, version
_PARAMETERS_AT = 88  # behind the magic and the values that test the machine's number formats
_SCORE_EVERY_WORD = """
import sys, kenlm
model, state, after = kenlm.Model(sys.argv[1]), kenlm.State(), kenlm.State()
words = sys.stdin.buffer.read().decode().split("\\n")
model.BeginSentenceWrite(state)
for word in words:
    model.BaseScore(state, word, after)
    state, after = after, state
model.NullContextWrite(state)
print(*(model.BaseScore(state, w, after) if w in model or w == words[0] else "nan" for w in words))
"""


@dataclass(frozen=True)
class BinaryHeader:
    """The header of a binary: n-grams of each order, unigrams first; every word, marks included."""

    counts: tuple[int, ...]
    vocabulary: tuple[str, ...]


def read_binary_header(path: Path) -> BinaryHeader:
    """Read the header of a KenLM binary.

    Raises:
        UserError: the file is broken, or holds no words, without which no decoder can use it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not data.startswith(_MAGIC):
        raise UserError(
            f"{path} is no KenLM binary of format version 5; build it again from its ARPA file "
            "with build_binary"
        )
    try:
        order, _, _, has_words, _ = _PARAMETERS.unpack_from(data, _PARAMETERS_AT)
        at = _PARAMETERS_AT + _PARAMETERS.size
        counts = struct.unpack_from(f"<{order}Q", data, at)
    except struct.error as error:
        raise UserError(f"{path} ends within its header; copy or download it again") from error
    if not has_words:
        raise UserError(f"{path} holds no words; build it again with KenLM's build_binary")
    return BinaryHeader(counts, _words_at_end(path, data, counts[0] if counts else 0))


def _words_at_end(path: Path, data: bytes, count: int) -> tuple[str, ...]:
    """The words stand at the end, each closed by a NUL, `<unk>` first."""
    words = data[data.rfind(f"{UNK}\0".encode()) :].split(b"\0")
    if len(words) - 1 != count or words[0] != UNK.encode() or words[-1]:
        raise UserError(f"{path} does not end with its {count} words; copy or download it again")
    try:
        return tuple(word.decode() for word in words[:-1])
    except UnicodeDecodeError as error:
        raise UserError(f"the words of {path} are not UTF-8") from error


def check_binary(path: Path, words: Sequence[str]) -> None:
    """Load a binary and score every word in another process, which may crash.

    KenLM maps its binaries into memory unchecked, so a damaged one can end the process.

    Raises:
        UserError: it cannot be loaded, or its probabilities are none.
        Unavailable: kenlm is not installed.
    """
    _require_kenlm()
    done = subprocess.run(
        [sys.executable, "-c", _SCORE_EVERY_WORD, str(path)],
        input="\n".join(words).encode(),
        capture_output=True,
    )
    if done.returncode < 0:
        raise UserError(
            f"KenLM crashes on {path}, so the file is damaged; build it again from its ARPA file "
            "with build_binary"
        )
    if done.returncode > 0:
        raise UserError(f"KenLM cannot read {path}: {_last_line(done.stderr)}")
    logs = np.array(done.stdout.split(), np.float32)
    if not (logs <= 0).all():
        raise UserError(
            f"{path} holds probabilities above 1, what is no number or words that its tables "
            "lack, so the file is damaged; build it again from its ARPA file with build_binary"
        )
    check_base(path, words, logs)


def load_kenlm(path: Path) -> Any:
    """A `kenlm.Model` of an ARPA file or a binary, without KenLM's own progress output.

    Raises:
        UserError: KenLM refuses the file.
        Unavailable: kenlm is not installed.
    """
    kenlm = _require_kenlm()
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(str(path), config)
    except (OSError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("Exception")[2].lstrip(". ") or str(error)
        raise UserError(f"KenLM cannot read {path}: {reason.rstrip(')')}") from error


def _require_kenlm() -> Any:
    try:
        import kenlm
    except ImportError as error:
        raise Unavailable(
            "KenLM language models need the package kenlm", "pip install kenlm"
        ) from error
    return kenlm


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
