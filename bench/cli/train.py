"""`python -m bench train`: its commands, which import torch when a training begins."""

from cyclopts import App

from bench.cli import PROGRAM

app = App(
    name="train",
    help="Train mini, a TrOCR, a CTC head for one, or a language model.",
    help_epilogue=f"""\
examples:
  {PROGRAM} train mini --hours 3 --out runs/mini             mini's encoder with its CTC head
  {PROGRAM} train ar --out runs/mini                         mini's AR head, encoder frozen
  {PROGRAM} train ar --encoder trocr-base --dataset hooker   a TrOCR, fine-tuned
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker  a CTC head for a TrOCR
  {PROGRAM} train lm --out runs/lm                           the embedded language model
  {PROGRAM} train ar --help

Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
""",
)
for _place, (_name, _summary) in enumerate(
    {
        "mini": "mini's encoder with its CTC head",
        "ar": "mini's AR head on the frozen encoder, or a TrOCR fine-tuned",
        "ctc": "a CTC head for a TrOCR",
        "lm": "the embedded language model over characters",
    }.items()
):
    app.command(f"bench.cli.trainings:{_name}", name=_name, help=_summary, sort_key=_place)
