"""Code that comes with a model: never run, and nobody is asked whether to run it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVIL = ROOT / "tests" / "fixtures" / "evil"


@pytest.mark.parametrize("answer", ["y\n", ""])
def test_code_of_a_language_model_is_not_run(answer: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"from decoders.language.causal import line_lm; line_lm({str(EVIL)!r})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=answer,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "EVIL_MARK": str(mark), "HF_HUB_OFFLINE": "1"},
        timeout=120,
    )
    assert not mark.exists()
    assert "[y/N]" not in done.stdout + done.stderr
    assert "needs code of its own, which Kaidoku never runs; choose a model" in done.stderr


def test_every_automatic_class_is_opened_without_foreign_code() -> None:
    seen = 0
    for folder in ("bench", "models", "decoders", "datasets"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    owner = ast.unparse(call.func.value).removeprefix("transformers.")
                    fixed = owner[0].isupper() and not owner.startswith("Auto")
                    if call.func.attr == "from_pretrained" and not fixed:
                        words = {k.arg: ast.unparse(k.value) for k in call.keywords}
                        assert words.get("trust_remote_code") == "False", f"{path}:{call.lineno}"
                        seen += 1
    assert seen >= 3
