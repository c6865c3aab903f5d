"""The registry of damages. One line here adds a damage."""

from bench.core.registry import Entry, Registry

DAMAGES = Registry(
    "damage",
    {
        "stroke_breaks": Entry("datasets.damage.missing:StrokeBreaks", "M1: strokes break up"),
        "char_erase": Entry("datasets.damage.missing:CharErase", "M2: whole characters gone"),
        "span_erase": Entry("datasets.damage.missing:SpanErase", "M3: two growing gaps"),
        "half_line": Entry("datasets.damage.missing:HalfLine", "M4: top or bottom gone"),
        "holes": Entry("datasets.damage.missing:Holes", "M5: dark holes in the paper"),
        "fade": Entry("datasets.damage.missing:Fade", "M6: the ink fades"),
        "blot": Entry("datasets.damage.overlay:Blot", "O1: ink blots cover the writing"),
        "strike": Entry("datasets.damage.overlay:Strike", "O2: words struck through"),
        "bleed_through": Entry("datasets.damage.overlay:BleedThrough", "O3: the other side shows"),
        "defocus": Entry("datasets.damage.signal:Defocus", "S1: out of focus"),
        "low_resolution": Entry("datasets.damage.signal:LowResolution", "S2: too few pixels"),
        "noise": Entry("datasets.damage.signal:Noise", "S3: grain"),
        "kanungo": Entry("datasets.damage.signal:Kanungo", "S4: binarised, edges frayed"),
        "warp": Entry("datasets.damage.warp:Warp", "G1: the paper is cockled"),
    },
)
