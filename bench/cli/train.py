"""`python -m bench train`: `mini` again or further, CTC heads, TrOCR fine-tuned, the LM."""

from __future__ import annotations

from cyclopts import App

from bench.cli import PROGRAM

_EPILOG = f"""\
examples:
  {PROGRAM} train encoder --out runs/mini                    mini's encoder with its CTC head
  {PROGRAM} train ar --out runs/mini                         mini's AR head, encoder frozen
  {PROGRAM} train ar --encoder trocr-base --dataset hooker   a TrOCR, fine-tuned
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker  a CTC head for a TrOCR
  {PROGRAM} train lm --out runs/lm                           the embedded language model
  {PROGRAM} train reader --start models/weights/mini2.safetensors --out runs/reader
  {PROGRAM} train ar --help

Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""

app = App(
    name="train",
    help="Train mini, a TrOCR, a CTC head for one, a language model, or a line recogniser.",
    help_epilogue=_EPILOG,
)
for _place, (_name, _summary) in enumerate(
    {
        "encoder": "mini's encoder with its CTC head",
        "ar": "mini's AR head on the frozen encoder, or a TrOCR fine-tuned",
        "ctc": "a CTC head for a TrOCR",
        "lm": "the embedded language model over characters",
        "reader": "PP-OCR's small recogniser on handwriting",
    }.items()
):
    app.command(f"bench.cli.trainings:{_name}", name=_name, help=_summary, sort_key=_place)
