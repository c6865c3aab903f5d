"""`-o name.option=value`: reading, types, and what is said of a mistake."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.core.options import convert, parse_options, typed_options
from bench.core.registry import Entry, Registry


@dataclass(frozen=True)
class Thing:
    count: int = 3
    weight: float = 0.5
    fast: bool = False
    unit: Literal["word", "character"] = "word"
    model: Path | None = None
    limit: int | None = None
    kinds: tuple[str, ...] = ()
    window: tuple[int, float] = (1, 0.5)
    strange: object = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"count is {self.count}; give at least 1")


HERE = "tests.test_options"
REGISTRIES = (
    Registry(
        "decoder",
        {
            "thing": Entry(f"{HERE}:Thing", "a thing"),
            "one-thing": Entry(f"{HERE}:Thing", "a thing", {"count": 1}),
            "absent": Entry(f"{HERE}:Thing", "a thing", requires=("no_such_package",)),
        },
    ),
    Registry("data set", {"set-1.5": Entry(f"{HERE}:Thing", "a set")}),
)


def typed(*items: str) -> dict[str, dict[str, Any]]:
    return typed_options(parse_options(items), REGISTRIES)


def sentence(*items: str) -> str:
    with pytest.raises(UserError) as caught:
        typed(*items)
    return str(caught.value)


def test_options_are_grouped_by_name():
    items = ["ctc-kenlm.alpha=0.7", "ctc-kenlm.lm=a=b.arpa", "set-1.5.x= 1 "]
    assert parse_options(items) == {
        "ctc-kenlm": {"alpha": "0.7", "lm": "a=b.arpa"},
        "set-1.5": {"x": "1"},
    }
    assert parse_options(["a.b=1", "a.b=1"]) == {"a": {"b": "1"}}


@pytest.mark.parametrize("item", ["", "thing.count", "count=3", ".count=3", "thing.=3"])
def test_what_is_no_option_is_refused(item):
    assert "name.option=value" in sentence(item)


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("count", "12", 12),
        ("weight", "1e-3", 0.001),
        ("fast", "Yes", True),
        ("unit", "character", "character"),
        ("model", "~/x.arpa", Path("~/x.arpa").expanduser()),
        ("limit", "None", None),
        ("limit", "7", 7),
        ("kinds", "a, b,", ("a", "b")),
        ("kinds", "", ()),
        ("window", "4,0.25", (4, 0.25)),
    ],
)
def test_text_becomes_the_type_of_the_field(option, text, value):
    made = typed(f"thing.{option}={text}")["thing"][option]
    assert made == value and type(made) is type(value)


@pytest.mark.parametrize(
    ("option", "text", "wants"),
    [
        ("count", "2.5", "a whole number"),
        ("weight", "nan", "a number"),
        ("weight", "-inf", "a number"),
        ("fast", "maybe", "true or false"),
        ("unit", "wrod", "did you mean word?"),
        ("limit", "few", "a whole number or none"),
        ("window", "1", "a whole number, a number"),
    ],
)
def test_a_wrong_type_is_named_with_the_option(option, text, wants):
    said = sentence(f"thing.{option}={text}")
    assert f"thing.{option}" in said and repr(text) in said and wants in said


def test_unknown_names_and_options_come_with_the_nearest():
    assert "did you mean thing" in sentence("thign.count=1")
    assert "did you mean count" in sentence("thing.cuont=1")
    assert "set twice" in sentence("thing.count=1", "thing.count=2")


def test_what_a_name_fixes_or_a_thing_refuses_is_said():
    assert "one-thing fixes count" in sentence("one-thing.count=2")
    assert "at least 1" in sentence("thing.count=0")
    assert "cannot be set" in sentence("thing.strange=1")
    assert "pip install no_such_package" in sentence("absent.count=1")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back(number):
    assert convert(type(number), repr(number)) == number


@given(st.lists(st.tuples(st.sampled_from("ab.-"), st.text(max_size=9)), max_size=4))
def test_reading_options_never_fails_in_another_way(pairs):
    with contextlib.suppress(UserError):
        parse_options([f"{name}.{name}={value}" for name, value in pairs])
