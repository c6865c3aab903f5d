"""CTC heads on a ViT's states. One entry here registers a head everywhere.

A TrOCR squeezes a line into 384 x 384 pixels, so its 24 x 24 patches give 24 columns. Nearly every
line has more characters, and CTC needs a frame for each. The heads differ in the source of their
frames.
"""

from bench.core.registry import Entry, Registry

HEADS = Registry(
    "head",
    {
        "grid-subcol": Entry(
            "models.heads.kinds:SubColumns", "columns of the grid, 8 frames each, BiLSTM"
        ),
        "grid-linear": Entry(
            "models.heads.kinds:LinearProbe", "columns of the grid, 8 frames each, linear: a probe"
        ),
        "wide": Entry(
            "models.heads.kinds:Wide", "an image of 96 x 1536 px: 96 columns, 2 frames each, BiLSTM"
        ),
    },
)
