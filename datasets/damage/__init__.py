"""Damages: what is done to a line before anybody reads it. One line here enrols a damage."""

from bench.registry import Entry, Registry

DAMAGES = Registry(
    "damage",
    {
        "stroke_breaks": Entry("datasets.damage.missing:StrokeBreaks", "M1: strokes break up"),
        "char_erase": Entry("datasets.damage.missing:CharErase", "M2: whole characters gone"),
        "span_erase": Entry("datasets.damage.missing:SpanErase", "M3: two growing gaps"),
        "half_line": Entry("datasets.damage.missing:HalfLine", "M4: top or bottom gone"),
        "blot": Entry("datasets.damage.overlay:Blot", "O1: ink blots cover the writing"),
        "strike": Entry("datasets.damage.overlay:Strike", "O2: words struck through"),
        "defocus": Entry("datasets.damage.signal:Defocus", "S1: out of focus"),
        "noise": Entry("datasets.damage.signal:Noise", "S3: grain"),
    },
)
