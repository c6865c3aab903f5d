"""The project file, as its user meets it: names instead of paths, defaults, and mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bench.report.output
from bench import ROOT
from bench.cli import parse
from bench.cli.project import RunDefaults, forget, load
from bench.core.named import named
from bench.pipeline import runs
from bench.pipeline.store import RunStore
from decoders import DECODERS, tuned
from tests.iam_layout import write_iam, write_list
from tests.tiny_trocr import edit, save_checkpoint

Call = Callable[..., tuple[object, str, str]]

FILE = """\
[encoders.base-iam]
path = "out/checkpoint-1200"
processor = "original"

[sets.iam]
root = "IAM"
partition = "rwth"

[sets.forms]
kind = "iam"
root = "IAM"
partition = "rwth"
references = "ascii"

[models]
my-3gram = "lm/words.arpa"

[run]
limit = 2
decoder = ["ar-greedy"]
device = "cpu"
rounds = 1
threads = 1
"""


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a table of two images, in the working directory."""
    Image.fromarray(np.full((40, 200), 220, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,text,id\na.png,m² ⟦x⟧,1\na.png,⟦⟧,2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.report.output, "write", lambda *_, **__: [])
    yield tmp_path
    forget()


def test_texts_are_rewritten_as_the_file_says_and_rows_repeat_it(letters: Path, call: Call) -> None:
    (letters / "kaidoku.toml").write_text(
        '[sets.letters]\nkind = "manifest"\npath = "t.csv"\n'
        'rewrite = { "⟦" = "", "⟧" = "", "²" = ",2" }\n'
    )
    code, shown, err = call(
        "run", "--encoder", "mini", "--decoder", "ctc-greedy", "--dataset", "letters",
        "--out", str(letters / "out"), "--rounds", "1",
    )  # fmt: skip
    assert code == 1, err  # a line is left out
    assert '"⟦" left out, "⟧" left out' in shown
    row = json.loads((letters / "out" / "rows.jsonl").read_text())
    assert row["references"] == 'manifest, "⟦" left out, "⟧" left out, "²" read as ",2"'
    assert row["dataset_options"]["rewrite"] == ["⟦=", "⟧=", "²=,2"] and row["unreadable"] == 1
    (line,) = RunStore(letters / "out").lines(row["key"])
    assert line.reference == "m,2 x"
    code, shown, _ = call("data", "check", "letters", "--out", str(letters / "o"))
    assert code == 1 and "letters/2" not in shown and "its text is empty after rewrite" in shown
    (letters / "kaidoku.toml").write_text(
        '[sets.letters]\nkind = "manifest"\npath = "t.csv"\n[sets.letters.rewrite]\n"²" = 2\n'
    )
    code, _, err = call("list", "data", "sets")
    assert code == 2 and "kaidoku.toml, line 5: sets.letters.rewrite.² has to be a text" in err


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's files: a checkpoint without tokenizer, its base model, IAM, an n-gram model."""
    root = tmp_path_factory.mktemp("alice")
    save_checkpoint(root / "original", "base", seed=5)
    save_checkpoint(root / "out" / "checkpoint-1200", "base", seed=6)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (root / "out" / "checkpoint-1200" / name).unlink()
    ids = sorted(write_iam(root / "IAM"))
    write_list(root / "IAM" / "splits" / "IAM-B" / "test.txt", ids)
    (root / "lm").mkdir()
    shutil.copy(ROOT / "tests/fixtures/lmplz/words-3.arpa", root / "lm" / "words.arpa")
    return root


@pytest.fixture
def desk(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it with a project file, in the working directory."""
    folder = tmp_path / "alice"
    shutil.copytree(originals, folder)
    (folder / "kaidoku.toml").write_text(FILE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(bench.report.output, "write", lambda *_, **__: [])
    yield folder
    forget()


def rows() -> list[Any]:
    (folder,) = runs.RUNS.iterdir()
    return RunStore(folder).rows()


# Names


def test_a_run_shows_names_and_no_path(call: Call, desk: Path, monkeypatch: Any) -> None:
    (desk / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(desk / "deep" / "down")  # the file is looked for upwards
    code, out, err = call("run", "--encoder", "base-iam", "--dataset", "iam,forms")
    assert code == 0, err
    assert "base-iam" in out and "the tokenizer is that of original, as the user chose" in out
    own, ascii_text = rows()
    assert (own.encoder, own.decoder, own.condition.limit) == ("base-iam", "ar-greedy", 2)
    assert (own.encoder_options, own.dataset_options) == ({}, {"partition": "rwth"})
    assert ascii_text.dataset_options == {"partition": "rwth", "references": "ascii"}
    assert "|s:iam-test[:2][partition=rwth]@" in own.signature
    stored = "".join(p.read_text() for p in runs.RUNS.rglob("*") if p.is_file())
    assert "alice" not in stored + out and "checkpoint-1200" not in stored + out


def test_the_command_line_wins(call: Call, desk: Path) -> None:
    words = ("run", "--encoder", "base-iam", "--dataset", "iam", "-o", "iam.references=ascii")
    code, _, err = call(*words, "--limit", "1", "--decoder", "ar-beam", "-o", "ar-beam.beam=2")
    assert code == 0, err
    (row,) = rows()
    assert (row.decoder, row.condition.limit) == ("ar-beam", 1)
    assert row.dataset_options == {"partition": "rwth", "references": "ascii"}
    (desk / "kaidoku.toml").write_text(FILE.replace("limit = 2", "limit = 3"))
    assert "first 3 lines" in call("run", "--encoder", "mini", "--dataset", "iam", "--dry-run")[1]


def test_a_failure_has_no_path_either(call: Call, desk: Path) -> None:
    (desk / "IAM/lines/a01/a01-000u/a01-000u-00.png").unlink()
    (desk / "IAM/xml/c04-160.xml").write_text("<form>")
    (desk / "original/vocab.json").write_text("[")
    assert call("run", "--encoder", "base-iam", "--dataset", "iam")[0] == 1
    stored = "".join(p.read_text() for p in runs.RUNS.rglob("*") if p.is_file())
    assert "the tokenizer of base-iam cannot be used" in stored and "alice" not in stored
    assert "there is no image lines/a01/a01-000u/a01-000u-00" in stored


def test_another_file_can_be_named_and_its_things_go_with_it(
    call: Call, desk: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("list", "base-iam")[0] == 2
    for words in (("--project", str(desk / "kaidoku.toml")), (f"--project={desk}/kaidoku.toml",)):
        code, out, _ = call("list", "base-iam", "forms", *words)
        assert code == 0 and out.count("\nhere\n") == 2
        assert "-o forms.references=...  one of xml, ascii, laia; default ascii" in out
    assert call("list", "base-iam")[0] == 2 and named().folder is None
    code, _, err = call("list", "--project")
    assert code == 2 and "--project needs a value" in err
    code, _, err = call("list", "--project", "no.toml")
    assert code == 2 and "no.toml" in err and "init" in err


def test_a_language_model_by_name(call: Call, desk: Path) -> None:
    words = ("--decoder", "ctc-ngram-word", "-o", "ctc-ngram-word.lm=my-3gram")
    code, out, err = call("run", "--encoder", "mini", "--dataset", "iam", *words)
    assert code == 0, err
    (row,) = rows()
    assert row.options["lm"] == "my-3gram" and "[" in row.signature
    assert row.extras["lm_trained_on"] == "unknown text (my-3gram)"
    assert "alice" not in json.dumps(row.extras) + out


def test_a_language_model_that_is_not_there(call: Call, desk: Path) -> None:
    (desk / "lm" / "words.arpa").unlink()
    words = ("--decoder", "ctc-ngram-word", "-o", "ctc-ngram-word.lm=my-3gram")
    code, _, err = call("run", "--encoder", "mini", "--dataset", "iam", *words)
    sentence = "the file of the language model my-3gram is not there"
    assert code != 0 and sentence in err
    code, out, _ = call("list")
    assert "\nlanguage models (0 of 1 here)\n- my-3gram" in out
    assert f"missing: {sentence}\n" in out
    code, out, _ = call("list", "my-3gram", "mini")
    assert out.startswith("language models (0 of 1 here)\n- my-3gram") and "\nencoder mini:" in out


def test_the_endpoint_of_the_corrector_llm(desk: Path) -> None:
    (desk / "kaidoku.toml").write_text("[llm]\nurl = 'http://localhost:1/v1'\nmodel = 'm'\n")
    load(desk / "kaidoku.toml")
    assert DECODERS.create("ctc-greedy+llm").settings()["llm_url"] == "http://localhost:1/v1"
    options = DECODERS.create("ctc-greedy+llm", {"llm_model": "other"}).settings()
    assert options["llm_model"] == "other"
    forget()
    assert DECODERS.create("ctc-greedy+llm").settings()["llm_url"] == ""


def test_facts_of_a_set_are_those_of_its_kind(desk: Path) -> None:
    from datasets.about import about
    from datasets.base import named_in

    (desk / "kaidoku.toml").write_text('[sets.mine]\nkind = "lines-random"\nsize = 5\n')
    load(desk / "kaidoku.toml")
    assert about("mine").synthetic and named_in("mine", "lines (train)")
    forget()
    assert not about("mine").synthetic


def test_a_remedy_has_the_name_of_the_set_and_not_its_kind(call: Call, desk: Path) -> None:
    (desk / "kaidoku.toml").write_text('[sets.mine]\nkind = "manifest"\npath = "gone.csv"\n')
    load(desk / "kaidoku.toml")
    code, _, err = call("run", "--dataset", "mine")
    assert code == 2 and "-o mine.path=FILE" in err and "manifest.path" not in err
    assert "; mine stands in kaidoku.toml, line 3" in err


def test_tuned_weights_lie_beside_the_file(call: Call, desk: Path) -> None:
    load(desk / "kaidoku.toml")
    assert tuned.own_path() == desk / "tuned.json"
    shipped = next(one for one in tuned.load() if one.decoder == "ar-beam+lm")
    tuned.freeze(replace(shipped, encoder="base-iam"), tuned.own_path())
    words = ("--decoder", "ar-beam+lm", "-o", "ar-beam.beam=2", "--limit", "1")
    code, _, err = call("run", "--encoder", "base-iam", "--dataset", "iam", *words)
    assert code == 0, err
    (row,) = rows()  # of the name that the user gave, not of the checkpoint's folder
    assert row.extras["lm_weight"] == shipped.values["lm_weight"]
    assert row.extras["tuned_on"].endswith("encoder weights; of the user's tuned.json")


# A checkpoint without its processor


def test_a_base_model_in_the_cache_is_a_note_of_the_row(
    call: Call, desk: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    cache = tmp_path / "hub" / "models--me--base"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0123456789ab")
    shutil.copytree(desk / "original", cache / "snapshots" / "0123456789ab")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (desk / "kaidoku.toml").write_text(FILE.replace('processor = "original"\n', ""))
    code, out, _ = call("run", "--encoder", "base-iam", "--dataset", "iam")
    assert code == 2 and not out
    edit(desk / "out/checkpoint-1200/config.json", lambda c: c.update(_name_or_path="me/base"))
    code, out, err = call("run", "--encoder", "base-iam", "--dataset", "iam")
    assert code == 0, err
    note = "the tokenizer is that of me/base@01234567, the model that its config.json names"
    assert rows()[0].extras["encoder_notes"] == [note]


def test_a_processor_that_is_not_needed_is_a_note_of_the_row(call: Call, desk: Path) -> None:
    other = FILE.replace("out/checkpoint-1200", "original")
    (desk / "kaidoku.toml").write_text(other.replace('r = "original"', 'r = "out/checkpoint-1200"'))
    assert call("run", "--encoder", "base-iam", "--dataset", "iam")[0] == 0
    (note,) = rows()[0].extras["encoder_notes"]
    assert note == "the image processor and the tokenizer are its own, not those of checkpoint-1200"


# Mistakes


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1", 1, "there is no table 'x'; there are: encoders, sets"),
        ("\n[encoder.a]", 2, "there is no table 'encoder'; did you mean encoders?"),
        ("encoders = 3", 1, "encoders is a table; write [encoders] above its keys"),
        ("[encoders]\na = 'x'", 2, "encoders.a is a table; write [encoders.a] above its keys"),
        ("[encoders.a]\npth = 'x'", 2, "encoders.a has no option 'pth'; did you mean path"),
        ("[encoders.a]\nrevision = 'x'", 1, "encoders.a needs one of path (a folder) and hub"),
        ("[encoders.a]\npath = 'x'\nhub = 'me/x'", 1, "encoders.a needs one of path"),
        ("[encoders.a]\nhub = './x'", 2, "encoders.a.hub is owner/name"),
        ("[encoders.a]\npath = ''", 2, "encoders.a.path is empty"),
        ("[encoders.a]\npath = {b = 1}", 2, "encoders.a.path has to be a text, a number, true"),
        ("[encoders.a]\npath = 'x'\nuntrained = 'y'", 3, "untrained is true or false, not 'y'"),
        ("[encoders.a]\npath = 'x'\nuntrained = true", 1, "need its shape"),
        ("[encoders.mini]\npath = 'x'", 1, "'mini' is the name of a registered encoder"),
        ("[encoders.iam]\npath = 'x'", 1, "'iam' is the name of a registered data set"),
        ("[encoders.all]\npath = 'x'", 1, "'all' is reserved; choose another name"),
        ("[encoders.'a:b']\npath = 'x'", 1, "the name 'a:b' may hold letters, digits"),
        ('[encoders."a+b"]\npath = "x"', 1, "the name 'a+b' may hold"),
        ("[sets.'a/b']\nkind = 'iam'", 1, "the name 'a/b' may hold"),
        ("[sets.iam]\nrot = 'x'", 2, "sets.iam has no option 'rot'; did you mean root"),
        ("[sets.iam]\n# one\npartition = 'achen'", 3, "not 'achen'; did you mean aachen?"),
        ("[sets.iam]\nkind = 'cvl'", 1, "'iam' is the name of a registered data set"),
        ("[sets.a]\nroot = 'x'", 1, "no data set is called 'a'; give its kind"),
        ("[sets.a]\nkind = 'PAGE'", 2, "no data set is called 'PAGE'; did you mean page"),
        ("[sets.lm]\nkind = 'page'", 1, "'lm' is the name of a registered corrector"),
        ("[encoders.a]\npath='x'\n[sets.a]\nkind='iam'", 3, "an encoder is called 'a' too"),
        ("[sets]\niam = {partition = 'x'}", 2, "sets.iam.partition is one of"),
        ("[models]\nembedded = 'x'", 2, "'embedded' is reserved"),
        ("[models]\nx = 1979-05-27", 2, "models.x has to be a text"),
        ("[llm]\napi_key = 'sk'", 2, "a key never stands in a file; set KAIDOKU_LLM_KEY"),
        ("[llm]\nmodle = 'x'", 2, "llm has no option 'modle'; did you mean model"),
        ("[llm]\nmodel = 'x'\nurl = 'ftp://x'", 3, "llm.url is the address of an OpenAI"),
        ("[run]\nlimt = 3", 2, "run has no option 'limt'; did you mean limit"),
        ("[run]\n\nlimit = 'many'", 3, "run.limit takes a whole number, not 'many'"),
        (
            "[run]\n# one\nencoder = 'mini'\ndecoder = ['ar-gredy']",
            4,
            "run.decoder: no decoder is called 'ar-gredy'; did you mean ar-greedy",
        ),
        ("[run]\ndataset = 'inc'", 2, "run.dataset: no data set is called 'inc'; did you mean ink"),
        ("[run]\ndevice = 'gpu'", 2, "run.device: no time can be taken on 'gpu'; take cpu"),
        ("[run]\nseverity = ['x']", 2, "run.severity takes whole numbers, not x"),
        ("a = [1\nb = 2", 2, "this is not TOML"),
        ("[sets.iam]\nroot = true", 2, "sets.iam.root is one place; write it in quotes"),
        ("[models]\nx = ['a', 'b']", 2, "models.x is one place"),
        ("[sets.iam]\nroot = '~no-such-user/x'", 2, "sets.iam.root is no path"),
        ('[encoders.a]\npath = "a\\u0000"', 2, "encoders.a.path has a null character"),
        ('[run]\nout = "a\\u0000"', 2, "run.out has a null character"),
        ("[llm]\nurl = 'http://[::1'", 2, "llm.url is the address of an OpenAI"),
    ],
)
def test_a_mistake_has_file_line_and_key(
    refused: Any, desk: Path, text: str, line: int, says: str
) -> None:
    (desk / "kaidoku.toml").write_text(text)
    sentence = refused("run", "--encoder", "mini", "--dry-run")
    assert sentence.startswith(f"error: kaidoku.toml, line {line}: ") and says in sentence


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[run]\n# \xe4", "is not UTF-8"),
        (b"[run", "its end: this is not TOML"),
        ("[encoders.あ]".encode(), "put a name with other letters than a to z into quotes"),
        (b"[encoders.a]\npath = out", "line 2: this is not TOML (Invalid value); put a text into"),
        (b'[sets.a]\nroot = "C:\\Users"', "write a path with / in place of"),
        (None, "cannot"),
        (b"[run]\nx = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"[run]\nx = " + b"9" * 5000, "a number is too long"),
    ],
)
def test_a_file_that_cannot_be_read(
    refused: Any, desk: Path, content: bytes | None, says: str
) -> None:
    path = desk / "other.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    assert says in refused("list", "--project", "other.toml")


def test_a_device_is_no_project_file(refused: Any, desk: Path) -> None:
    (desk / "kaidoku.toml").unlink(missing_ok=True)
    (desk / "kaidoku.toml").symlink_to("/dev/zero")
    assert "it is no regular file" in refused("list")


def test_a_mark_before_the_text_is_passed_over(desk: Path) -> None:
    (desk / "kaidoku.toml").write_bytes(b"\xef\xbb\xbf[run]\nlimit = 3\n")
    assert load(desk / "kaidoku.toml").tables == {"run": {"limit": 3}}


def test_a_link_to_nothing_is_neither_passed_over_nor_replaced(refused: Any, desk: Path) -> None:
    (desk / "kaidoku.toml").unlink()
    (desk / "kaidoku.toml").symlink_to("gone.toml")
    assert "cannot read the project file" in refused("list")
    assert "is there already" in refused("init") and (desk / "kaidoku.toml").is_symlink()


# init


def test_init_writes_down_what_lies_around(call: Call, desk: Path, tmp_path: Path) -> None:
    (desk / "kaidoku.toml").unlink()
    for name in ("xml", "lines"):
        (desk / "cvl" / "testset" / name).mkdir(parents=True)
    (desk / "trocr" / "image").mkdir(parents=True)
    (desk / "trocr" / "gt_test.txt").write_text("a.jpg\tHello\n")
    (desk / "pytorch_model.bin").write_bytes(b"no language model")
    shutil.copytree(desk / "original", tmp_path / "more" / "手書き 2.0")
    code, out, err = call("init", "--at", str(tmp_path / "more"))
    assert (code, err) == (0, "")
    assert "found out-1200: a TrOCR checkpoint without image processor or tokenizer in out/" in out
    assert "found iam: IAM, partition rwth in IAM" in out
    project = load(desk / "kaidoku.toml")
    assert project.tables == {
        "encoders": {
            "original": {"path": "original"},
            "out-1200": {
                "path": "out/checkpoint-1200",
                "processor": "microsoft/trocr-base-handwritten",
            },
            "手書き-2.0": {"path": str(tmp_path / "more" / "手書き 2.0")},
        },
        "models": {"words": "lm/words.arpa"},
        "sets": {
            "iam": {"root": "IAM", "partition": "rwth", "references": "xml"},
            "cvl": {"root": "cvl"},
            "trocr-lines": {"kind": "manifest", "path": "trocr/gt_test.txt"},
        },
    }
    assert call("list", "original", "iam", "trocr-lines")[1].count("\nhere\n") == 3
    before = (desk / "kaidoku.toml").read_bytes()
    for words, says in (((), "is there already"), (("--project", "x.toml"), "leave out --project")):
        code, out, err = call("init", *words)
        assert (code, out) == (2, "") and says in err
    assert (desk / "kaidoku.toml").read_bytes() == before


def test_init_where_nothing_is(call: Call, desk: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, out, _ = call("init")
    assert code == 0 and "nothing was found" in out
    assert not load(tmp_path / "empty" / "kaidoku.toml").tables
    assert call("init", "--at", "nowhere")[0] == 2


# The example


def test_the_example_is_sound_and_every_key_in_it_is_known(desk: Path) -> None:
    project = load(ROOT / "kaidoku.example.toml")
    _, bound = parse(["run", "--encoder", "base-iam"], RunDefaults(project))
    assert bound.arguments["choices"].limit == project.tables["run"]["limit"]
    assert bound.arguments["choices"].decoder == tuple(project.tables["run"]["decoder"])
    assert named().models["my-3gram"] == str(ROOT / "lm" / "my.arpa")
