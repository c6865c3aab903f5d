"""The command line as its user meets it: what it prints where, and its exit codes."""

import errno
import importlib.metadata
import io
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest
import torch
from rich.console import Console

import bench.analysis.doctor
import bench.cli.listing
import bench.report.output
import datasets.root
from bench import ROOT
from bench.analysis.doctor import Fact
from bench.analysis.show import branches, module_tree
from bench.cli import COMMANDS, main, parse
from bench.cli.bars import bars, track
from bench.cli.run import missing
from bench.cli.trainings import Curves
from bench.core.errors import Unavailable
from bench.core.registry import Entry
from bench.pipeline import runs
from bench.pipeline.plan import Registries, Skipped
from bench.pipeline.store import RunStore
from tests.harness_doubles import EVENTS, Reader, Words, registries

HERE = "tests.harness_doubles"
HARD = {
    "sick": Entry(f"{HERE}:ReaderSpec", "always fails", {"raises": "value"}),
    "refusing": Entry(f"{HERE}:ReaderSpec", "never fits", {"refuses": True}),
    "lacking": Entry(f"{HERE}:ReaderSpec", "has no package", requires=("no_such_package",)),
}
SMALL = ["--encoder", "pixels", "--decoder", "reader,no-e", "--rounds", "1", "--threads", "1"]


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registries:
    """Small working parts in place of the registered ones, and run folders of the test's own."""
    made = registries(**HARD)
    monkeypatch.setattr("bench.pipeline.plan.Registries", lambda: made)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    kinds = ("encoders", "decoders", "datasets", "damages")
    monkeypatch.setattr(bench.cli.listing, "_REGISTRIES", {k: getattr(made, k) for k in kinds})
    return made


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots and intervals take seconds, and most tests of `run` do not look at them."""
    monkeypatch.setattr(bench.report.output, "write", lambda folder, results, **options: [])
    monkeypatch.setattr(bench.report.output, "terminal", lambda results: "")


def folders() -> list[Path]:
    return sorted(runs.RUNS.glob("*"))


def is_one_sentence(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


# ---- the frame ----


def test_the_overall_help_names_every_command_and_imports_none():
    modules = {"torch", "numpy", *(command.module for command in COMMANDS.values())}
    program = (
        "import sys\nfrom bench.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted({modules} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    out = done.stdout
    assert out.splitlines()[-1] == "[]" and "examples:" in out and "exit codes:" in out
    assert all(name in out and command.summary in out for name, command in COMMANDS.items())


def test_no_command_needs_torch_for_its_help():
    """Importing torch takes seconds of CPU."""
    modules = {command.module for command in COMMANDS.values()} | {"bench.cli.trainings"}
    program = (
        f"import importlib, sys\nfor name in {sorted(modules)}:\n"
        "    importlib.import_module(name)\n    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_planning_the_main_job_needs_no_torch(tmp_path):
    line = ["run", "--all", "--dry-run", "--device", "cpu", "--out", f"{tmp_path}/"]
    program = (
        f"import sys\nfrom bench.cli import main\ntry: main({line})\n"
        "except SystemExit as end: assert not end.code and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("stream", [">&-", "| cat"])
def test_any_stream_will_do(stream):
    """One that is closed, and one whose encoding lacks ⟦."""
    words = f"PYTHONIOENCODING=ascii {sys.executable} -m bench list ink {stream}"
    done = subprocess.run(words, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("\\u27e6" in done.stdout) == ("cat" in stream)


def test_a_folder_that_was_deleted_is_left(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    code, _, err = call("list")
    assert code == 2 and is_one_sentence(err) and "folder was deleted" in err


def test_a_name_that_is_too_long_is_one_sentence(tmp_path, call):
    run = ("run", "--encoder", "mini", "--decoder", "ctc-greedy", "--dataset", "ink", "--dry-run")
    name = str(tmp_path / ("x" * 300))
    for words in (("report", "--run", name), (*run, "--out", name)):
        code, _, err = call(*words)
        assert code == 2 and is_one_sentence(err) and "too long" in err


def test_no_name_steers_the_terminal(call):
    code, _, err = call("report", "--run", "/x\x1b[31m")
    assert code == 2 and is_one_sentence(err) and "/x\\x1b[31m" in err and "\x1b" not in err


def test_a_number_of_threads_is_bounded(call):
    code, _, err = call("run", *SMALL[:-1], "9999", "--dry-run")
    assert code == 2 and is_one_sentence(err) and "this machine has" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_is_plain_and_shows_examples(call, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = call(name, "--help")
    options, _, examples = out.partition("examples:")
    assert (code, err) == (0, "") and f"python -m bench {name}" in examples
    assert not set("│╭─\x1b") & set(out)
    assert max(map(len, options.splitlines())) <= 80
    assert "[ARGS" not in out  # the usage has the names that stand below it


def test_every_example_of_help_and_documentation_is_understood(call):
    texts = [call(name, "--help")[1].partition("examples:")[2] for name in COMMANDS]
    texts += [path.read_text("utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    lines = "\n".join(texts).replace("\\\n", " ")
    examples = re.findall(r"(?m)^(?:  )?python -m bench (\S+(?: \S+)*)", lines)
    assert len(examples) > 100
    assert call()[0] == 2  # without a command there is the help
    for example in examples:
        parse(shlex.split(re.split(r" [|>] ", example)[0], comments=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "did you mean run"),
        (["run", "--encodr", "x"], "did you mean --encoder"),
        (["data", "get", "--url"], "--url needs a value"),
        (["data", "get"], "say what to get"),
        (["data"], "say what to do: list, get, check"),
        (["doctor"], "python -m bench list --check"),
        (["data", "lst"], "data has no action 'lst'; did you mean list?"),
        (["data", "check", "lines", "--limit", "few"], "--limit takes a whole number, not 'few'"),
        (["run", "--encoder", "mini", "--limit", "1.5"], "--limit takes a whole number, not '1.5'"),
        (["run", "--damage", "blot", "--seed", "0.5"], "--seed takes a whole number, not '0.5'"),
        (["run", "--encoder", "mini", "--dataset", ""], "--dataset names nothing; name something"),
        (["run", "--encoder", "mini", "--out", "..", "--dry-run"], "'..' is no name of a run"),
        (["lm", "build", "--out", "x", "--unit", "wrd"], "--unit takes one of word, char, not"),
        (["list", "--check", "mini"], "leave mini out"),
        (["report", "mine"], "--run mine"),
        (["init", "--at", "~no-such-user/x"], "write the whole path"),
        (["list", "--data-root", "~no-such-user/x"], "write the whole path"),
        (["dev", "show", "mni"], "did you mean mini"),
        (["dev", "show", "mini", "-o", "ctc-beam.beam=5"], "not shown here"),
        (["dev", "show", "mini", "--lines", "0"], "--lines must be >= 1"),
        (["dev", "trace", "mini"], "ENCODER:DECODER"),
        (["dev", "trace", "mini:ctc-gredy"], "did you mean ctc-greedy"),
        (["dev", "trace", "mini:ctc-greedy", "--lines", "0"], "--lines must be >= 1, not 0"),
        (["lm", "build", "--text", "nope.txt", "--out", "x.arpa"], "cannot read nope.txt"),
        (["lm", "build", "--order", "9", "--out", "x.arpa"], "1 to 6"),
        (["train", "lm", "--context", "4"], ">= 16"),
        (["train", "lm", "--width", "30"], "multiple of 8"),
        (["train", "lm", "--text", "nowhere.txt"], "cannot read nowhere.txt"),
        (["train", "lm", "--device", "cuda:9"], "there is no CUDA device"),
        (["data", "damage", "export", "lines"], "--out"),
        (["data", "damage", "export", "lines", "--out", "x", "--severity", "6"], "severity 6"),
        (["data", "damage", "export", "lines", "--out", "x", "--limit", "0"], "--limit must be"),
        (
            ["data", "damage", "export", "lines", "--out", "x", "-o", "blot.fill=mark"],
            "no option 'fill'",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(refused, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*words) and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (Unavailable("the data is not here", "get it"), "the data is not here (get it)", 2),
        (ModuleNotFoundError("no", name="kenlm"), "kenlm is not installed; run: pip install .", 2),
        (PermissionError(errno.EACCES, "no", "/x/y"), "no permission to use /x/y", 2),
        (OSError(errno.ENOSPC, "no", "/x/y"), "no space left on the device of /x/y", 2),
        (NotADirectoryError(errno.ENOTDIR, "no", "/x/y"), "/x/y is in the way", 2),
        (KeyboardInterrupt(), "interrupted", 130),
        (ValueError("bug"), "", None),  # faults of the program are not hidden
        (ModuleNotFoundError("no", name="bench.x"), "", None),
    ],
)
def test_errors_of_the_machine_are_sentences_too(call, monkeypatch, error, said, code):
    def raises(registry):
        raise error

    monkeypatch.setattr(bench.cli.listing, "inventory", raises)
    if code is not None:
        left, out, err = call("list")
        assert (left, out) == (code, "") and said in err and is_one_sentence(err)
    words = (["list", "--traceback"], ["--traceback", "list"], *([] if code else [["list"]]))
    for each in words:
        with pytest.raises(type(error)):
            main(each)


def test_a_python_without_the_packages_names_the_environment():
    command = [sys.executable, "-S", "-m", "bench", "list"]  # -S: without site-packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and is_one_sentence(done.stderr)
    assert "cyclopts" in done.stderr and ". .venv/bin/activate" in done.stderr


def test_a_reader_that_goes_away_is_no_error():
    end, begin = os.pipe()
    os.close(end)
    # Unbuffered, argparse would swallow the error before anybody sees it.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=buffered, stdout=begin, stderr=subprocess.PIPE)
    os.close(begin)
    assert (done.returncode, done.stderr) == (141, b"")


# ---- run ----


def test_a_run_prints_tables_to_stdout_and_progress_to_stderr(call, doubles):
    code, out, err = call("run", *SMALL)
    assert code == 0
    assert "1/1 pixels on words: 2 of 2 cells done" in err and "cells done" not in out
    (folder,) = folders()
    assert "reader" in out and "no-e" in out and f"files in {folder}: rows.jsonl" in out
    assert {row.decoder for row in RunStore(folder).rows()} == {"reader", "no-e"}
    files = out.partition(f"files in {folder}: ")[2].strip().split(", ")
    assert {"report.md", "tables"} <= set(files) and all((folder / f).exists() for f in files)


def test_options_reach_the_parts_with_their_types(call, doubles, no_report):
    wanted = ["-o", "words.size=3", "-o", "reader.drop=xyz", "-o", "words.unreadable=0"]
    assert call("run", *SMALL, *wanted)[0] == 0
    row = RunStore(folders()[0]).rows()[0]
    assert row.counts is not None and row.counts.lines == 3 and row.options["drop"] == "xyz"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to measure"),
        (["--encoder", "pixls"], "did you mean pixels?"),
        (["--encoder", "pixels", "--split", "tset"], "did you mean test?"),
        (["--encoder", "pixels", "--limit", "0"], "--limit must be >= 1, not 0"),
        (["--encoder", "pixels", "--limit", f"{10**20}"], "--limit must be <= 2147483647, not"),
        (["--encoder", "pixels", "--batch-size", "0"], "--batch-size must be >= 1, not 0"),
        (["--encoder", "pixels", "--rounds", "0"], "--rounds must be >= 1, not 0"),
        (["--encoder", "pixels", "--dtype", "float7"], "float7"),
        (["--encoder", "pixels", "--device", "toaster"], "toaster"),
        (["--encoder", "pixels", "--severity", "3"], "add --damage"),
        (["--damage", "eraser", "--severity", "6"], "0 to 5"),
        (["--damage", "eraser", "--severity", "high"], "whole numbers"),
        (["--encoder", "pixels", "-o", "reader.dorp=x"], "did you mean drop?"),
        (["--decoder", "no-e", "-o", "reader.drop=x"], "not part of this run"),
        (["--encoder", "pixels", "--decoder", "lacking"], "pip install no_such_package"),
    ],
)
def test_a_wrong_choice_leaves_nothing(refused, doubles, no_report, words, said):
    assert said in refused("run", *words) and folders() == []


def test_lists_by_commas_repetition_and_all(call, doubles, no_report):
    words = ["--decoder", "reader", "--decoder", "no-e,no-vowel", "--dataset", "all"]
    damages = ["--damage", "none,eraser", "--severity", "1,3", "--severity", "5"]
    code, out, _ = call("run", *words, *damages, "--dry-run", "--json")
    cells = json.loads(out)["cells"]
    assert code == 0 and len(cells) == 3 * 2 * 4
    assert {cell["severity"] for cell in cells} == {0, 1, 3, 5}
    assert {cell["dataset"] for cell in cells} == {"words", "more-words"}


def test_a_dry_run_measures_nothing_and_names_what_is_finished(call, doubles, no_report):
    EVENTS.clear()
    code, out, _ = call("run", *SMALL, "--dry-run", "--out", "mine")
    assert code == 0 and "2 cells in 1 block, 0 finished" in out and not folders() and not EVENTS
    assert call("run", *SMALL, "--out", "mine")[0] == 0
    code, out, _ = call("run", *SMALL, "--dry-run", "--out", "mine")
    assert "2 finished" in out and "reader (finished), no-e (finished)" in out
    changed = call("run", *SMALL, "-o", "no-e.busy_s=0.001", "--dry-run", "--out", "mine")
    assert "reader (finished), no-e\n" in changed[1]


def test_a_package_that_loads_slowly_is_announced(capsys):
    sys.modules.pop("wave", None)
    for words in ("loading wave\n", ""):
        with bench.cli._announced("wave"):
            importlib.import_module("wave")
        assert capsys.readouterr().err == words


def test_a_dry_run_leaves_out_what_the_run_would(call):
    words = ("run", "--encoder", "trocr-small", "-o", "trocr-small.untrained=true", "--dataset",
             "lines", "--decoder", "ar-greedy,ctc-greedy", "--dry-run", "--json")  # fmt: skip
    plan = json.loads(call(*words)[1])
    (left_out,) = plan["skipped"]
    assert [cell["decoder"] for cell in plan["cells"]] == ["ar-greedy"]
    assert (left_out["name"], left_out["encoder"]) == ("ctc-greedy", "trocr-small")
    assert left_out["reason"] == "trocr-small has no CTC head"
    assert left_out["remedy"] == "python -m bench train ctc --encoder trocr-small"


@pytest.mark.parametrize(
    "option",
    ["no-e.busy_s=0.001", "words.prefix=x", "pixels.weights=other"],
)
def test_a_dry_run_and_a_run_agree_on_what_is_finished(call, doubles, no_report, option):
    words = ["run", *SMALL, "--damage", "none,eraser", "--out", "mine"]
    assert call(*words, "-o", option)[0] == 0
    before = {path: path.read_bytes() for path in folders()[0].rglob("*") if path.is_file()}
    for asked in (words, [*words, "-o", option]):
        cells = json.loads(call(*asked, "--dry-run", "--json")[1])["cells"]
        assert {p: p.read_bytes() for p in folders()[0].rglob("*") if p.is_file()} == before
        finished = sum(cell["finished"] for cell in cells)
        assert (finished == len(cells)) is (asked is not words)
    record = json.loads(call(*words, "--json")[1])
    cells = json.loads(call(*words, "--dry-run", "--json")[1])["cells"]
    assert all(cell["finished"] for cell in cells) and len(record["done"]) > 0


def interrupt_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C in the decoding that has this number."""
    decode, calls = Reader.decode, iter(range(1, 100))

    def stopping(self, encoded):
        if next(calls) == count:
            raise KeyboardInterrupt
        return decode(self, encoded)

    monkeypatch.setattr(Reader, "decode", stopping)


def test_a_stopped_run_goes_on_with_the_same_command(call, doubles, no_report, monkeypatch):
    words = ["run", *SMALL, "--dataset", "words,more-words"]
    with monkeypatch.context() as stopped:
        interrupt_at(stopped, 6)  # a block takes four: two decoders, a warm-up and a round each
        code, out, err = call(*words)
    assert (code, out) == (130, "") and ": 2; the same command goes on" in err
    assert "the same command goes on" in err and "Traceback" not in err
    (folder,) = folders()

    code, out, _ = call(*words, "--json")
    record = json.loads(out)
    assert code == 0 and Path(record["folder"]) == folder and folders() == [folder]
    assert (len(record["reused"]), len(record["done"])) == (2, 2)

    assert call(*words)[0] == 0  # it has ended, so this is a new run
    assert len(folders()) == 2


def test_another_choice_or_fresh_never_goes_on(call, doubles, no_report, monkeypatch):
    words = ["run", *SMALL]
    with monkeypatch.context() as stopped:
        interrupt_at(stopped, 1)
        assert call(*words)[0] == 130
    assert call(*words, "--limit", "3")[0] == 0
    assert call(*words, "--fresh")[0] == 0
    assert len(folders()) == 3
    assert call(*words, "--out", folders()[0].name, "--fresh")[0] == 2


def test_a_failed_cell_and_an_unreadable_line_are_exit_code_1(call, doubles, no_report):
    code, out, err = call("run", *SMALL, "--decoder", "sick")
    assert code == 1 and "failed: sick on pixels on words: " in err
    assert "failed:\n" in out and "pixels + sick on words" in out
    assert call("run", *SMALL, "-o", "words.unreadable=2")[0] == 1


def test_what_cannot_run_is_listed_once_with_its_remedy(call, doubles, no_report):
    code, out, _ = call("run", *SMALL, "--decoder", "lacking,refusing", "--dataset", "all")
    assert code == 1
    assert out.count("decoder lacking: ") == 1 and out.count("pip install no_such_package") == 1
    assert out.count("refusing on pixels") == 1 and out.count("python -m bench lm") == 1
    get = "python -m bench data get"
    skipped = [Skipped("encoder", name, f"{name} is not here", f"{get} {name}") for name in "ab"]
    assert missing(skipped).endswith(f"\n      {get} a b")


def test_a_place_that_cannot_be_written_is_one_sentence(refused, doubles, no_report, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in ("file/run", "file"):
        assert str(tmp_path / "file") in refused("run", *SMALL, "--out", str(tmp_path / place))
    said = refused("run", *SMALL, "--out", f"{tmp_path}/")
    assert "has files, but not those of a run" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_work_of_another_length_has_its_own_total():
    """A training encodes its train lines, then its val lines."""
    with Curves() as curves:
        curves.report("encoding lines", 11, 11)
        curves.report("encoding lines", 16, 48)
        (task,) = curves._bars.tasks
        assert (task.completed, task.total) == (16, 48)


def test_ctrl_c_in_a_terminal(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom bench.cli import main\n"
        "from bench.pipeline import plan, runs\nfrom tests.harness_doubles import registries\n"
        "plan.Registries = registries\nruns.RUNS = Path(sys.argv[1])\nmain(sys.argv[2:])"
    )
    words = ["run", *SMALL, "--dataset", "all"]
    # Slow enough that there is time to stop it in the second set.
    slow = ["-o", "no-e.busy_s=0.3", "--batch-size", "3"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), *words, *slow],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip

    def stored() -> int:
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*/rows.jsonl"))

    deadline = time.monotonic() + 120
    while stored() < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    (folder,) = tmp_path.iterdir()
    kept = len(RunStore(folder).rows())
    assert kept in (1, 2)  # the second may be taken back while it is synced to disk
    assert f"interrupted; finished cells in {folder}: {kept};" in err
    assert out == "" and "Traceback" not in err


def test_the_data_root_is_heeded(call, doubles, no_report, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.root, "_chosen", None)
    assert call("run", *SMALL, "--data-root", str(tmp_path))[0] == 0
    assert datasets.root.data_root() == tmp_path


# ---- list ----


def test_list_tells_what_is_missing_and_which_options_there_are(call, doubles, monkeypatch):
    why = Unavailable("the words are not here", "get words")
    monkeypatch.setattr(Words, "missing", lambda self: why)
    code, out, err = call("list")
    assert (code, err) == (0, "")
    for registry in (doubles.encoders, doubles.decoders, doubles.datasets, doubles.damages):
        assert all(f" {name} " in out for name in registry.names())
    assert "datasets (0 of 2 here)" in out and "missing: the words are not here" in out
    assert "mend it: get words" in out and "mend it: pip install no_such_package" in out
    things = json.loads(call("list", "--json", "decoders")[1])["decoders"]
    assert {thing["name"] for thing in things if not thing["here"]} == {"lacking"}
    code, out, _ = call("list", "no-e")
    assert code == 0 and "-o no-e.busy_s=...  a number; default 0.0" in out
    assert "no-e.drop" not in out  # the name fixes it


# ---- show ----


def test_a_tree_has_the_shapes_seen_and_folds_layers_that_are_alike():
    stack = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    net = torch.nn.ModuleDict({"stack": stack, "idle": torch.nn.Linear(4, 1)})
    root = module_tree(net, lambda: stack(torch.zeros(5, 4)))
    rows = {b.name: (b.repeats, b.node.shape, b.node.parameters) for b in branches(root)}
    assert rows == {
        "ModuleDict": (1, None, 65),
        "stack": (1, (5, 4), 60),
        "0-2": (3, (5, 4), 20),
        "idle": (1, None, 5),
    }
    assert all(not module._forward_hooks for module in net.modules())


def test_show_of_an_encoder(call, doubles):
    code, out, _ = call("dev", "show", "pixels", "--dataset", "words")
    assert code == 0 and "Identity" in out and "encoder: 5 parameters" in out
    assert (
        "パラメータ数 5" in call("dev", "show", "pixels", "--dataset", "words", "--lang", "ja")[1]
    )
    record = json.loads(call("dev", "show", "pixels", "--dataset", "words", "--json")[1])
    assert record["parameters"] == {"encoder": 5} and record["tree"]["kind"] == "Identity"


# ---- doctor ----


def test_doctor_looks_at_this_machine_and_tells_problems_with_their_remedy(call, monkeypatch):
    checks = {check["name"]: check for check in json.loads(call("list", "--check", "--json")[1])}
    assert all(check["remedy"] for check in checks.values() if check["verdict"] == "problem")
    assert checks["torch"]["found"] == torch.__version__
    assert checks["data sets here"]["found"].startswith("ink, ")
    cases: tuple[tuple[Literal["note", "problem"], int], ...] = (("note", 0), ("problem", 1))
    for verdict, code in cases:
        found = [Fact("disk", verdict, "full", "make room")]
        monkeypatch.setattr("bench.cli.listing.examine", lambda found=found: found)
        left, out, _ = call("list", "--check")
        assert left == code and "mend it: make room" in out


def test_doctor_sees_clashing_and_missing_packages(call, monkeypatch):
    def version(name: str) -> str:
        if name == "kenlm":
            raise importlib.metadata.PackageNotFoundError(name)
        return {"numpy": "2.4.1", "datasets": "5.0.0"}.get(name) or real(name)

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    code, out, _ = call("list", "--check", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 1 and checks["numpy"]["verdict"] == checks["kenlm"]["verdict"] == "problem"
    assert "2.4.1, but the project needs <2" in checks["numpy"]["found"]
    assert checks["numpy"]["remedy"] == 'pip install "numpy>=1.26,<2"'
    assert checks["kenlm"]["found"] == "not installed"
    assert checks["package called datasets"]["verdict"] == "note"


# ---- progress ----


def test_a_pipe_gets_a_line_with_eta_every_ten_seconds():
    text, clock = io.StringIO(), itertools.count(0, 0.5)
    console = Console(file=text)
    with bars(console, get_time=lambda: float(next(clock))) as bar:
        task = bar.add_task("lines", total=20)
        for _ in range(20):
            bar.advance(task)
    lines = text.getvalue().splitlines()
    assert 2 <= len(lines) <= 8
    shown = [re.fullmatch(r"lines: (\d+) of 20 \(\d+ %\), ETA 0:00:\d\d", line) for line in lines]
    counts = [int(one.group(1)) for one in shown if one]
    assert counts == sorted(set(counts)) and len(counts) == len(lines)


def test_progress_in_a_pipe_writes_its_counts_in_full():
    text, clock = io.StringIO(), itertools.count(0, 2.0)
    with bars(Console(file=text), get_time=lambda: float(next(clock))) as bar:
        task = bar.add_task("steps", total=100_000)
        bar.advance(task, 12_345)
        bar.advance(task, 0.5)
        for _ in range(5):
            bar.advance(task)
    shown = [line.partition(" (")[0] for line in text.getvalue().splitlines()]
    assert shown[0] == "steps: 12,345 of 100,000"
    assert re.fullmatch(r"steps: 12,34\d\.5 of 100,000", shown[1])


def test_short_work_prints_no_progress_into_a_pipe(capsys):
    assert list(track(range(20), "lines")) == list(range(20))
    assert capsys.readouterr().err == ""
