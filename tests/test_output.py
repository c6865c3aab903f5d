"""The end of a run: what could not run, and the commands that would make it run."""

from bench.cli.output import missing
from bench.pipeline.plan import Skipped

GET = "python -m bench weights get"


def test_what_is_got_by_one_command_is_got_by_one_command():
    found = missing(
        [
            Skipped("encoder", "small", "small is not here", f"{GET} small"),
            Skipped("data set", "words", "no words", "python -m bench data get words"),
            Skipped("encoder", "large", "large is not here", f"{GET} large"),
            Skipped("encoder", "large-2", "large is not here", f"{GET} large"),
        ]
    )
    assert found.splitlines() == [
        "  encoder small: small is not here",
        "  encoder large, large-2: large is not here",
        f"      {GET} small large",
        "  data set words: no words",
        "      python -m bench data get words",
    ]


def test_commands_with_more_to_them_are_left_alone():
    skipped = [
        Skipped("encoder", "a", "not here", f"{GET} a --revision v1"),
        Skipped("encoder", "b", "not here", f"{GET} b"),
        Skipped("decoder", "c", "needs d", "pip install d"),
    ]
    text = missing(skipped)
    for command in (f"{GET} a --revision v1", f"{GET} b", "pip install d"):
        assert f"      {command}\n" in f"{text}\n"


def test_one_reason_is_told_once_for_all_that_it_keeps_from_running():
    found = missing(
        [Skipped("decoder", f"{name} on trocr", "it has no CTC head", "") for name in ("x", "y")]
    )
    assert found == "  decoder x on trocr, y on trocr: it has no CTC head"


def test_nothing_missing_is_nothing_told():
    assert missing([]) == ""
