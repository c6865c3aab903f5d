"""The registry of data sets. One line here adds a set everywhere.

This folder is the project's own and is not Hugging Face's package of the same name.
"""

from typing import NoReturn

from bench.core.registry import Entry, Registry

_LEVELS = {
    "shuffled": "words in random order",
    "pseudo": "pronounceable non-words",
    "random": "random characters",
}

DATASETS = Registry(
    "data set",
    {
        "ink": Entry("datasets.ink:InkLines", "embedded: real strokes in composed English lines"),
        **{
            f"ink-{level}": Entry(
                "datasets.ink:InkLines", f"real strokes: {words}", {"level": level}
            )
            for level, words in _LEVELS.items()
        },
        "lines": Entry(
            "datasets.lines:RenderedLines", "embedded, synthetic: English in stroke fonts"
        ),
        **{
            f"lines-{level}": Entry(
                "datasets.lines:RenderedLines", f"synthetic: {words}", {"level": level}
            )
            for level, words in _LEVELS.items()
        },
        "unipen": Entry("datasets.unipen:Unipen", "embedded: UNIPEN, sources bb*, lex"),
        "unipen-bb": Entry("datasets.unipen:Unipen", "UNIPEN, sources bb*", {"subset": "bb"}),
        "unipen-lex": Entry("datasets.unipen:Unipen", "UNIPEN, source lex", {"subset": "lex"}),
        "unipen-all": Entry("datasets.unipen:Unipen", "UNIPEN, every source", {"subset": "all"}),
        "hooker": Entry(
            "datasets.parquet:ScannedLines",
            "embedded: letters by Joseph Hooker, one hand",
            {"source": "hooker"},
        ),
        "hooker-all": Entry(
            "datasets.parquet:ScannedLines",
            "the same, all lines",
            {"source": "hooker", "whole": True},
        ),
        "copiste": Entry(
            "datasets.parquet:ScannedLines",
            "Copiste d'un jour, French, hands unknown",
            {"source": "copiste"},
        ),
        "parquet": Entry(
            "datasets.parquet:ParquetLines", "yours or the Hub's: -o parquet.path=..."
        ),
        "manifest": Entry(
            "datasets.manifest:ManifestLines", "your images and a table: -o manifest.path=FILE"
        ),
        "page": Entry(
            "datasets.pages:PageLines",
            "your PAGE XML: -o page.root=DIR",
            {"format": "page"},
        ),
        "alto": Entry(
            "datasets.pages:PageLines", "your ALTO: -o alto.root=DIR", {"format": "alto"}
        ),
        "iam": Entry("datasets.iam:Iam", "IAM, as its users downloaded it: English, 657 writers"),
        "cvl": Entry("datasets.cvl:Cvl", "CVL, as its users downloaded it: 310 writers, 7 texts"),
    },
)

_HUGGING_FACE = {"load_dataset", "load_from_disk", "Dataset", "DatasetDict", "IterableDataset"}


def __getattr__(name: str) -> NoReturn:
    if name in _HUGGING_FACE:
        raise ImportError(
            f"{name} belongs to Hugging Face's package 'datasets', but this is the folder of that "
            "name in this project; run code that needs the package from another directory"
        )
    raise AttributeError(f"module 'datasets' has no attribute {name!r}")
