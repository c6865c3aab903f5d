"""A sequence-to-sequence model of transformers (ByT5, T5, BART) that rewrites each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, DecoderSpec
from decoders.correctors.base import CorrectedLine, Corrector, CorrectorSpec
from decoders.correctors.llm import checked
from decoders.language.causal import from_transformers

_SPARE = 16  # tokens that an output may have beyond half more than its line


@dataclass(frozen=True)
class Seq2SeqSpec(CorrectorSpec):
    """Rewrite each line with a fine-tuned sequence-to-sequence model, sub-words or bytes.

    The weights have to be safetensors; code of a model's own is never run. The output has at most
    half more tokens than the line. An answer is checked as one of `llm` is: if it is empty, cut
    off, far longer or shorter than the line, or differs from it by more than `edits`, the line
    stays as the decoder read it. A model that was not fine-tuned to correct text spoils it.

    model: Hub id or folder of the model with its tokenizer.
    prefix: put before each line, as the model was trained ("correct: ").
    beam: of the search for the output; 1 is greedy.
    edits: most character edits of a correction, as a share of the line.
    """

    model: str = ""
    prefix: str = ""
    beam: int = 1
    edits: float = 0.5

    def __post_init__(self) -> None:
        check_least(self, 1, "beam")
        if not 0 <= self.edits <= 1:
            raise UserError(f"edits is a share of the line, 0 to 1, not {self.edits}")

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """Check that a model is named."""
        if self.model:
            return None
        return Unavailable(
            "no sequence-to-sequence model is named", "give -o seq2seq.model=FOLDER or a Hub id"
        )

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Load model and tokenizer."""
        return _Seq2Seq(self, decoder)


class _Seq2Seq(Corrector):
    spec: Seq2SeqSpec

    def __init__(self, spec: Seq2SeqSpec, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        self._loaded = from_transformers(spec.model, "AutoModelForSeq2SeqLM", use_safetensors=True)

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[CorrectedLine]:
        results = [CorrectedLine(line.text) for line in lines]
        filled = [place for place, line in enumerate(lines) if line.text.strip()]
        texts = [lines[place].text for place in filled]
        written = self._written(texts, encoded.states.device) if texts else []
        for place, line, (text, whole) in zip(filled, texts, written, strict=True):
            results[place] = checked(line, text, self.spec.edits, whole)
        return results

    def extras(self) -> Mapping[str, Any]:
        loaded = self._loaded
        return {"lm": loaded.name, "lm_sha256": loaded.sha256, "lm_trained_on": loaded.trained_on}

    @torch.inference_mode()
    def _written(self, lines: Sequence[str], device: torch.device) -> list[tuple[str, bool]]:
        """The output for each line, and whether it ended by itself."""
        net, tokenizer = self._loaded.net.to(device), self._loaded.tokenizer
        read = tokenizer([self.spec.prefix + line for line in lines], padding=True,
                         return_tensors="pt").to(device)  # fmt: skip
        outputs = net.generate(
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
            do_sample=False,
            num_beams=self.spec.beam,
            min_length=0,
            max_length=None,
            max_new_tokens=read["input_ids"].shape[1] * 3 // 2 + _SPARE,
        )
        ends = (outputs[:, 1:] == net.config.eos_token_id).any(1).tolist()
        texts = tokenizer.batch_decode(outputs, skip_special_tokens=True)
        return list(zip(texts, ends, strict=True))
