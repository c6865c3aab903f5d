"""The notebook for Colab: its form, its code, and the commands that it shares with its page."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest

from bench import ROOT
from bench.cli import parse

NOTEBOOK = json.loads((ROOT / "docs/colab.ipynb").read_text(encoding="utf-8"))
CODE = {c["id"]: "".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "code"}
COMMANDS = re.findall(r"(?m)^!?python -m bench (.+)$", "\n".join(CODE.values()))


def test_it_is_a_notebook_of_format_4_without_outputs():
    assert set(NOTEBOOK) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    # Colab adds who saved it and where it came from.
    assert NOTEBOOK["metadata"] == {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": []},
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", one) for one in ids)
    for cell in NOTEBOOK["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            fields |= {"outputs", "execution_count"}
        else:
            assert cell["cell_type"] == "markdown"
        assert set(cell) == fields and cell["metadata"] == {}
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        assert not cell["source"][-1].endswith("\n")


@pytest.mark.parametrize("cell", CODE)
def test_a_cell_is_shell_or_plain_python(cell):
    first, _, rest = CODE[cell].partition("\n")
    if first == "%%bash":
        subprocess.run(["bash", "-n"], input=rest, text=True, check=True)
    elif first.startswith("!"):
        lines = CODE[cell].splitlines()
        assert all(line.startswith("!") for line in lines)
        shell = "\n".join(line[1:] for line in lines)
        subprocess.run(["bash", "-n"], input=shell, text=True, check=True)
    else:
        compile(CODE[cell], cell, "exec")


def test_its_commands_are_understood_and_are_those_of_the_page():
    for command in COMMANDS:
        parse(shlex.split(command))
    page = (ROOT / "docs/colab.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^python -m bench (.+)$", page) == COMMANDS
