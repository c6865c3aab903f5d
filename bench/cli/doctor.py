"""`python -m bench doctor`: facts and problems of this machine, with remedies."""

from __future__ import annotations

import dataclasses

from cyclopts import App

from bench.analysis.doctor import Check, examine
from bench.cli import PROGRAM
from bench.cli.options import DataRoot, Json, print_json

_MARKS = {"ok": "  ", "note": "- ", "problem": "! "}

app = App(
    name="doctor",
    help_epilogue=f"""\
examples:
  {PROGRAM} doctor              ! a problem for the main job, - worth knowing
  {PROGRAM} doctor --json | jq '.[] | select(.verdict == "problem")'

exit codes: 0 the main job can run here; 1 something that it needs is wrong
""",
)


@app.default
def run(*, data_root: DataRoot = None, as_json: Json = False) -> int:
    """Print versions, device, data, weights, permissions; each problem with its remedy."""
    checks = examine()
    problems = sum(check.verdict == "problem" for check in checks)
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
        return int(problems > 0)
    width = max(len(check.name) for check in checks)
    print("\n".join(_line(check, width) for check in checks))
    verdict = "1 problem" if problems == 1 else f"{problems or 'no'} problems"
    print(f"\n{verdict} for the main job ({PROGRAM} run --all)")
    return int(problems > 0)


def _line(check: Check, width: int) -> str:
    line = f"{_MARKS[check.verdict]}{check.name:<{width}}  {check.found}"
    return f"{line}\n  {'':<{width}}  mend it: {check.remedy}" if check.remedy else line
