"""Encoders: line images to `Encoded`. One line here enrols an encoder everywhere."""

from bench.registry import Entry, Registry

ENCODERS = Registry(
    "encoder",
    {
        "mini": Entry(
            "models.mini:MiniSpec", "CNN + BiLSTM with a CTC and an AR head, weights shipped"
        ),
        "trocr-small": Entry(
            "models.trocr:TrOCRSpec",
            "TrOCR small, handwritten",
            {"repo": "microsoft/trocr-small-handwritten"},
        ),
        "trocr-base": Entry(
            "models.trocr:TrOCRSpec",
            "TrOCR base, handwritten",
            {"repo": "microsoft/trocr-base-handwritten"},
        ),
        "trocr-large": Entry(
            "models.trocr:TrOCRSpec",
            "TrOCR large, handwritten",
            {"repo": "microsoft/trocr-large-handwritten"},
        ),
    },
)
