"""Numbers, times, escaping and CSV as people see them."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (0.92345, "0.923"), (0.9, "0.900"), (12.3456, "12.3"), (99.96, "100"), (999.6, "1,000"),
        (1234, "1,234"), (12345.678, "12,300"), (1234567, "1,230,000"), (-0.0123, "−0.0123"), (1.2e-7, "1.2e-7"),
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits_and_separators(value, text):
    assert formats.number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14))
def test_a_formatted_number_is_within_half_a_percent(value):
    text = formats.number(value).replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(value, rel=0.006)


def test_shares_times_and_sizes_carry_their_units():
    assert formats.percent(0.0512) == "5.12 %"
    assert formats.percent(0.0512, sign=True) == "+5.12 %"
    assert formats.percent(None) == "–"
    assert formats.signed(-2.0) == "−2"
    assert formats.duration(0.0453) == "45.3 ms"
    assert formats.duration(3725) == "1 h 2 min"
    assert formats.duration(2 * 86_400 + 4 * 3600) == "2 d 4 h"
    assert formats.size(1_536_000) == "1.54 MB"
    assert formats.size(999) == "999 B"
    assert formats.count_of(12, 340, "run") == "12 of 340 runs"
    assert formats.count_of(1, 1, "run") == "1 run"


def test_ages_are_said_in_one_unit():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    said = [
        formats.ago(now - timedelta(seconds=s), now) for s in (3, 45, 300, 7200, 200_000, 40 * 86_400, 800 * 86_400)
    ]
    assert said == ["just now", "45 s ago", "5 min ago", "2 h ago", "2 d ago", "1 month ago", "2 years ago"]
    assert formats.ago(now + timedelta(hours=2), now) == "in 2 h"
    assert formats.instant(now) == "2026-03-01 12:00 UTC"


def test_a_column_has_one_number_of_decimals():
    assert formats.column_format([0.91, 0.92, 0.5]) == "%.3f"
    assert formats.column_format([12.3, 45.6]) == "%.1f"
    assert formats.column_format([1.0, 2.0, None]) == "localized"
    assert formats.column_format([258.4, 3135.2, 7878.9]) == "localized"
    assert formats.column_format([1e-6, 2e-6]) == "%.2e"
    assert formats.column_format([1e-6, 0.1]) == "%.3g"
    assert formats.column_format([0.01, 0.001]) == "%.3f"
    assert formats.column_format([0.185, 2.2]) == "%.3f"
    assert formats.column_format([]) == "%.3g"


@pytest.mark.parametrize(
    "name",
    ["![x](http://evil.example/a.png)", "**b**", "<img src=x>", "a_b_c", "1. one", "- item", "# head", "$x$", "[a](b)"],
)
def test_markup_in_user_text_leaves_nothing_for_markdown_to_act_on(name):
    escaped = formats.markdown(name)
    in_code = re.fullmatch(r"(`+) ?(.*?) ?\1", escaped)
    assert (in_code and in_code[2] == name) or not re.search(r"[\\`*_\[\]<>$]|^#(?!\d)|^\d+\.|^[-+] ", escaped)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60))
def test_escaped_text_reads_as_it_was(text):
    escaped = formats.markdown(text)
    if not escaped.startswith("`"):
        assert html.unescape(escaped) == text
    else:
        fence = re.match(r"`+", escaped)[0]
        inner = escaped[len(fence) : -len(fence)]
        assert fence not in inner.strip(" ") or ":material/" in text
        assert inner.strip(" ") == text.strip(" ") or ":material/" in text


def test_exported_csv_runs_no_formula_and_keeps_numbers():
    frame = pd.DataFrame(
        {"=name": ["=HYPERLINK(1)", "+1", "-2", "@x", "\tx", " =1", "plain"], "value": [-1.5, 2, 3, 4, 5, 6, 7.0]}
    )
    rows = list(csv.reader(io.StringIO(formats.csv_bytes(frame).decode("utf-8-sig"))))
    assert rows[0] == ["'=name", "value"]
    assert [row[0] for row in rows[1:]] == ["'=HYPERLINK(1)", "'+1", "'-2", "'@x", "'\tx", "' =1", "plain"]
    assert rows[1][1] == "-1.5"


def test_values_are_written_as_people_write_them():
    assert formats.value_text(None) == "–"
    assert formats.value_text(True) == "yes"
    assert formats.value_text(0.001) == "0.001"
    assert formats.value_text([1, 0.5, "a"]) == "[1, 0.5, a]"
    assert formats.value_text({"a": None}) == "{a: –}"


def test_a_card_keeps_headings_lists_tables_and_bold_words_and_shows_the_rest_as_it_was_typed():
    lines = formats.card(
        "# churn\\-1\n\nText with **bold words** and `code`\n- first\n\n"
        "| a | b |\n| --- | ---: |\n| log\\_loss | x\\|y |"
    ).splitlines()
    assert "#### churn-1" in lines
    assert any("**bold words**" in line for line in lines)
    assert "- first" in lines
    assert any(line.endswith("and code") for line in lines)
    assert formats.card("_Say where it fails._") == "Say where it fails."
    assert "&#95;" in formats.card("a _b c_d")
    assert lines[-3:] == ["| a | b |", "| --- | ---: |", "| log&#95;loss | x&#124;y |"]


@pytest.mark.parametrize(
    "text",
    ["![x](http://evil.example/a.png)", "<img src=x>", "[a](http://evil.example)", "**![x](//evil.example)**",
     "| ![x](//evil.example/a) |", "# <script>alert(1)</script>", "- [x]: //evil.example", "$x^2$", ":red[x]"],
)  # fmt: skip
def test_a_card_never_asks_another_host_nor_runs_anything(text):
    shown = re.sub(r"(`+).*?\1", "", formats.card(text))  # nothing is read inside code
    for mark in ("![", "](", "<", "[x]:", "$", ":red["):
        assert mark not in shown
