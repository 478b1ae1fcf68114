"""Uploaded tables: data only, within limits, with errors that say what to do."""

from __future__ import annotations

import io
import pickle

import pandas as pd
import pytest

from dashboard.uploads import read_table


def parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def test_ids_are_kept_letter_by_letter_and_only_empty_cells_are_missing():
    frame = read_table("e.csv", b"user_id,value,event_id\n007,1.5,\nNA,2,null\n", text=("user_id", "event_id"))
    assert frame["user_id"].tolist() == ["007", "NA"]
    assert frame["event_id"].isna().tolist() == [True, False]
    assert frame["value"].tolist() == [1.5, 2.0]


def test_semicolons_and_a_byte_order_mark_are_understood():
    frame = read_table("a.CSV", "\ufeffage;plan\n1;é\n".encode())
    assert frame.to_dict("list") == {"age": [1], "plan": ["é"]}


def test_parquet_ids_stored_as_numbers_become_text():
    frame = read_table("a.parquet", parquet(pd.DataFrame({"user_id": [1, 2], "value": [0.5, 1.0]})), text=("user_id",))
    assert frame["user_id"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.csv", b"a,a\n1,2\n", "two columns are named 'a'"),
        ("a.csv", b"a,b\n1,2,3\n", "more cells"),
        ("a.csv", b'a,b\n"1,2\n', "cannot be read"),
        ("a.csv", b"\xff\xfe\x00", "UTF-8"),
        ("a.csv", b"PAR1....", "Parquet file with the ending .csv"),
        ("a.parquet", b"PAR1....", "cannot be read"),
        ("a.parquet", pickle.dumps({"a": 1}), "not a Parquet file"),
        ("a.pkl", pickle.dumps({"a": 1}), "must end in .csv or .parquet"),
        ("a", b"a\n1\n", "must end in"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(name, content, said):
    with pytest.raises(ValueError, match=said):
        read_table(name, content)


def test_limits_hold_before_a_table_is_unpacked():
    long = parquet(pd.DataFrame({"constant": [1] * 50_000}))
    assert len(long) < 10_000  # a small file that unpacks to a large table
    with pytest.raises(ValueError, match="50,000 rows"):
        read_table("a.parquet", long, max_cells=1_000)
    with pytest.raises(ValueError, match="over 10 cells"):
        read_table("a.csv", b"a\n" + b"1\n" * 100, max_cells=10)
    with pytest.raises(ValueError, match="at most 10 B"):
        read_table("a.csv", b"a\n" + b"1\n" * 100, max_bytes=10)


def test_nested_columns_are_refused():
    with pytest.raises(ValueError, match="'a' does not hold plain values"):
        read_table("a.parquet", parquet(pd.DataFrame({"a": [[1], [2]]})))
