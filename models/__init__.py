"""Encoders: line images to `Encoded`. One entry here registers an encoder everywhere.

A name with a slash means a checkpoint that is not listed: a Hub id or a folder.
"""

from bench.core.registry import Entry, Registry


def _trocr(size: str, kind: str, shape: str) -> Entry:
    """One of Microsoft's checkpoints.

    They take seconds a line on a CPU, so the main job samples only those for handwriting, even
    without their weights.
    """
    return Entry(
        "models.trocr:TrOCRSpec",
        f"TrOCR {size}, {kind}",
        {"repo": f"microsoft/trocr-{size}-{kind}", "shape": shape},
        sample=2 if kind == "handwritten" else 0,
        stand_in={"untrained": True},
    )


# Shapes by checkpoint name; those for handwriting also run without weights.
TROCR = {
    "trocr-small": _trocr("small", "handwritten", "small"),
    "trocr-base": _trocr("base", "handwritten", "base"),
    "trocr-large": _trocr("large", "handwritten", "large"),
    "trocr-small-stage1": _trocr("small", "stage1", "small"),
    "trocr-base-stage1": _trocr("base", "stage1", "base-sinusoidal"),
    "trocr-large-stage1": _trocr("large", "stage1", "large-sinusoidal"),
    "trocr-small-printed": _trocr("small", "printed", "small"),
    "trocr-base-printed": _trocr("base", "printed", "base"),
    "trocr-large-printed": _trocr("large", "printed", "large-sinusoidal"),
}


def _checkpoint(name: str) -> Entry | None:
    """A VisionEncoderDecoder of the Hub, or of a folder."""
    if "/" not in name:
        return None
    return Entry("models.trocr:TrOCRSpec", f"the checkpoint {name}", {"repo": name})


ENCODERS = Registry(
    "encoder",
    {
        "mini": Entry(
            "models.shipped:MiniSpec", "PP-OCRv6 small, trained further on handwriting; AR head"
        ),
        "mini-torn": Entry(
            "models.shipped:TornSpec",
            "mini, half of the lines of its last runs damaged",
            sample=0,
        ),
        "ppocr": Entry(
            "models.shipped:PPOCRSpec", "PP-OCRv6 small, as its makers trained it", sample=0
        ),
        **TROCR,
    },
    others=_checkpoint,
    also="any TrOCR of the Hub (owner/name) or in a folder (./name)",
)
