"""What may be stored, and in which form: the validation layer in front of both databases."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import values
from values import (
    check_choice,
    check_key,
    check_name,
    check_text,
    decode_json,
    encode_json,
    new_id,
    to_float,
    to_int,
    to_utc,
)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        ".",
        "a/b",
        "C:\\x",
        "a:b",
        "file:///etc",
        "   ",
        "",
        " model",
        "model ",
        "invoice\u202egpj.exe",
        "mod\u200bel",
        "a\r\nSet-Cookie: x=1",
        "\x1b[2J",
        "line1\nline2",
        "a\x00b",
        "\ud800",
        "a" * 256,
        "9" * 1_000_000,
    ],
)
def test_a_name_that_could_mislead_a_person_or_a_path_is_refused(name):
    with pytest.raises(ValueError, match="model name"):
        check_name(name, "model name")


@pytest.mark.parametrize("value", [None, 12345, b"x", ["a"], 1.5])
def test_a_name_that_is_not_text_is_refused_by_type(value):
    with pytest.raises(TypeError, match="must be text"):
        check_name(value, "model name")
    with pytest.raises(ValueError, match="must be text"):
        check_name(value, "model name")


@pytest.mark.parametrize(
    "name", ["churn", "a" * 255, "Müller 模型 😀", "-rf", "x; touch pwned #", "{{7*7}}", "nul.txt", "1.0"]
)
def test_an_ordinary_or_odd_name_comes_back_as_it_is(name):
    assert check_name(name) == name


def test_a_subclass_of_text_is_kept_as_its_characters_not_as_what_it_claims():
    class Liar(str):
        def __str__(self) -> str:
            return "../x"

    assert check_name(Liar("ok")) == "ok"
    assert type(check_name(Liar("ok"))) is str


@pytest.mark.parametrize(
    "key", ["val/accuracy", "a.b", "a b", 'a"b', "a'b", "`", "$", "__proto__", "id", "select", "f1@5"]
)
def test_a_key_may_have_any_punctuation(key):
    assert check_key(key) == key


def test_text_may_have_lines_but_no_nul_and_no_lone_surrogate():
    assert check_text("a\nb\tc") == "a\nb\tc"
    for bad in ("a\x00b", "\udc00"):
        with pytest.raises(ValueError, match="note"):
            check_text(bad, "note")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
        (np.array(2.5), 2.5),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (2**63, 9.223372036854775808e18),
    ],
)
def test_every_real_number_becomes_a_float(value, expected):
    result = to_float(value)
    assert type(result) is float
    assert result == expected


@pytest.mark.parametrize("value", [True, np.True_, "0.5", None, 1j, [1.0], np.array([1.0, 2.0]), np.complex64(1)])
def test_what_is_not_a_real_number_is_refused(value):
    with pytest.raises(TypeError, match="accuracy must be a number"):
        to_float(value, "accuracy")


def test_nonfinite_numbers_pass_only_where_they_are_admitted():
    assert math.isnan(to_float(math.nan, finite=False))
    for value in (math.nan, math.inf, -math.inf, np.float64("nan"), Decimal("Infinity")):
        with pytest.raises(ValueError, match="must be finite"):
            to_float(value)
    with pytest.raises(ValueError, match="too large"):
        to_float(10**400)


@pytest.mark.parametrize("value", [True, 1.5, "3", None, np.float64(3)])
def test_a_whole_number_is_not_guessed(value):
    with pytest.raises(TypeError, match="whole number"):
        to_int(value)


def test_a_whole_number_must_fit_64_bits():
    assert to_int(np.int64(-1)) == -1
    with pytest.raises(ValueError, match="between"):
        to_int(2**63)


def test_instants_become_utc_with_microseconds():
    paris = timezone(timedelta(hours=5, minutes=45))
    assert to_utc(datetime(2026, 1, 1, tzinfo=paris)) == datetime(2025, 12, 31, 18, 15, tzinfo=UTC)
    assert to_utc(datetime(2026, 3, 29, 2, 30)) == datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    assert to_utc(pd.Timestamp("2026-01-01T00:00:00.123456789")).microsecond == 123456
    assert to_utc(np.datetime64("2026-01-01")) == datetime(2026, 1, 1, tzinfo=UTC)
    assert to_utc("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=UTC)
    assert to_utc(datetime(2026, 1, 1).date()) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [pd.NaT, np.datetime64("NaT"), "yesterday", 5, True, datetime.min, datetime.max])
def test_what_is_no_instant_is_refused(value):
    with pytest.raises(ValueError, match="seen at"):
        to_utc(value, "seen at")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
            | st.sampled_from(["$float", "$$float", "$", "$$"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    """Equality in which NaN equals NaN and 1 differs from True and from 1.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@given(json_values)
def test_json_comes_back_exactly_and_is_strict_json_in_between(value):
    text = encode_json(value)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)
    assert same(decode_json(text), value)


def test_json_converts_numpy_and_tuples():
    given_value = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([[1, 2]]), "d": (1, 2), "e": np.bool_(True)}
    assert decode_json(encode_json(given_value)) == {"a": 0.5, "b": 3, "c": [[1, 2]], "d": [1, 2], "e": True}


def test_json_refuses_what_it_would_lose_and_names_the_place():
    itself: dict[str, object] = {}
    itself["self"] = itself
    cases = {
        "keys must be text": {1: "a", "1": "b"},
        r"params\.f is of type object": {"f": object()},
        r"params\.s\[1\] is of type set": {"s": [1, {1, 2}]},
        "nested deeper": itself,
        "NUL": {"a": "x\x00"},
        "surrogate": {"a": "\ud800"},
    }
    for message, value in cases.items():
        with pytest.raises(ValueError, match=message):
            encode_json(value, "params")
    with pytest.raises(ValueError, match="1,000,000 characters"):
        encode_json("x" * 10_000_000, "params")


def test_a_choice_is_one_of_the_list():
    assert check_choice("less", "alternative", ["greater", "less"]) == "less"
    with pytest.raises(ValueError, match="one of 'greater', 'less', got 'up'"):
        check_choice("up", "alternative", ["greater", "less"])


def test_ids_are_unique_and_ordered_by_time(monkeypatch):
    ids = []
    for milliseconds in (1_000, 1_001, 2_000_000_000_000):
        monkeypatch.setattr(values.time, "time_ns", lambda now=milliseconds: now * 1_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    assert len({new_id() for _ in range(10_000)}) == 10_000
    assert all(len(i) == 32 and int(i, 16) >= 0 and i[12] == "7" for i in ids)
