"""Learning the sub-word vocabulary of the AR head from the corpus' train documents."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from datasets.corpus import documents
from models.mini_ar import SPECIAL, MiniARConfig


def learn_tokenizer(path: Path) -> Tokenizer:
    """Byte-level BPE as TrOCR base's, but of about 1,000 units; written to `path`.

    Byte level: any text can be written, and nothing is normalised away.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MiniARConfig().vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (paragraph for document in documents("train") for paragraph in document.paragraphs)
    tokenizer.train_from_iterator(texts, trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer
