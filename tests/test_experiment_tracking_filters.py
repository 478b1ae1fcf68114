"""The filter language by itself: what it reads, what it refuses, where it points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_parts.filters import (
    MAX_LENGTH,
    MAX_LIST,
    MAX_TERMS,
    STATISTICS,
    All,
    AnyOf,
    Comparison,
    Field,
    FilterError,
    Not,
    parse_filter,
    parse_order,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.acc>.9", "metrics.acc > 0.9"),
        ("METRIC.acc >= -1e3", "metrics.acc >= -1000.0"),
        ("params.lr == 1_000", "params.lr = 1000.0"),
        ("params.a <> 'it''s'", "params.a != 'it''s'"),
        ('params.a = "say ""hi"""', "params.a = 'say \"hi\"'"),
        ("tags.`a b` = 'x'", "tags.`a b` = 'x'"),
        ('metrics."val/top 5" < inf OR metrics.x = -inf', None),
        ("metrics.val/acc@5 < 1", "metrics.val/acc@5 < 1.0"),
        ("a.b = 1", None),
        ("name = 'a' OR name = 'b' AND name = 'c'", "(name = 'a' OR (name = 'b' AND name = 'c'))"),
        ("NOT (name = 'a' OR name = 'b')", "NOT (name = 'a' OR name = 'b')"),
        ("not not name = 'a'", "NOT NOT name = 'a'"),
        ("name NOT IN ('a', 'b')", "NOT name IN ('a', 'b')"),
        ("name not like '%x'", "NOT name LIKE '%x'"),
        ("params.x is not null", "NOT params.x IS NULL"),
        ("attributes.status = 'RUNNING'", "status = 'running'"),
        ("min_step(metrics.loss) < 5", "min_step(metrics.loss) < 5.0"),
        ("metrics.loss.min < .3", "min(metrics.loss) < 0.3"),
        ("metrics.val.loss.last < .3", "metrics.val.loss < 0.3"),
        ("metric.loss.Best_Step >= 3", "best_step(metrics.loss) >= 3.0"),
        ("best(metrics.loss) < 1", "best(metrics.loss) < 1.0"),
        ('metrics."loss.min" < .3', "metrics.`loss.min` < 0.3"),
        ("metrics.`val loss`.max > 1", "max(metrics.`val loss`) > 1.0"),
        ('min(metrics."loss.max") > 1', "min(metrics.`loss.max`) > 1.0"),
        ("metrics.loss.min.max > 1", "max(metrics.`loss.min`) > 1.0"),
        ("metrics.min < 1", "metrics.min < 1.0"),
        ("metrics.loss.minimum < 1", "metrics.loss.minimum < 1.0"),
        ("params.loss.min = 1", "params.loss.min = 1.0"),
    ],
)
def test_a_filter_is_read(text, expected):
    if expected is None:
        with pytest.raises(FilterError):
            parse_filter(text)
    else:
        assert parse_filter(text).to_text() == expected


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("metrics.acc >", 14, "expected a value, found the end"),
        ("metrics.acc > 'high'", 15, "is a number"),
        ("metrics.acc LIKE 'x'", 13, "compares text"),
        ("metrics.acc > adam", 15, "text stands in quotes"),
        ("name > 'a' name", 12, "expected AND, OR or the end"),
        ("status = 'done'", 10, "must be one of 'running'"),
        ("accuracy > 0.9", 1, "there is no field 'accuracy'"),
        ("started_at > 'yesterday'", 14, "is not a time"),
        ("(name = 'a'", 12, "to close the parenthesis"),
        ("name = 'a", 8, "never closed"),
        ("name = `a", 8, "never closed"),
        ("tags.x = 3", 10, "tags are text"),
        ("avg(metrics.x) > 1", 1, "is not a function"),
        ("max(params.x) > 1", 5, "is of a metric"),
        ("metrics. > 1", 1, "which of the metrics"),
        ("metrics.x > nan", 13, "only be compared with = and !="),
        ("name like 'x\\'", 11, "single backslash"),
        ("name ; name", 6, "has no meaning"),
        ("archived > true", 12, "true or false"),
        ("name = '\x00'", 8, "NUL"),
        ("min(metrics.loss.max) > 1", 18, "stands in quotes"),
        ("min(max(metrics.loss)) > 1", 5, "is of a metric"),
        ('metrics."loss".mean > 1', 15, "stands one of last, min, max"),
        ('metrics."loss". > 1', 15, "stands one of last, min, max"),
        ('params."lr".min > 1', 12, "params have no statistics"),
        ("min() > 1", 5, "expected a field"),
    ],
)
def test_an_error_points_at_the_character(text, character, says):
    with pytest.raises(FilterError, match=says) as found:
        parse_filter(text)
    assert found.value.position == character - 1
    assert f"(character {character})" in str(found.value)
    shown, caret = str(found.value).splitlines()[-2:]
    assert caret.index("^") < len(shown) + 1


def test_size_and_depth_are_bounded():
    with pytest.raises(FilterError, match="20,000 characters"):
        parse_filter("x" * (MAX_LENGTH + 1))
    with pytest.raises(FilterError, match="200 comparisons"):
        parse_filter(" and ".join(["name = 'a'"] * (MAX_TERMS + 1)))
    with pytest.raises(FilterError, match="1,000 values"):
        parse_filter(f"name in ({','.join(['1' and chr(39) + 'a' + chr(39)] * (MAX_LIST + 1))})")
    with pytest.raises(FilterError, match="nested"):
        parse_filter("not " * 1_000 + "name = 'a'")
    assert isinstance(parse_filter(" or ".join(["name = 'a'"] * MAX_TERMS)), AnyOf)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_by_a_filter_error(text):
    position = 0
    try:
        parse_filter(text)
    except FilterError as error:
        position = error.position
    assert 0 <= position <= len(text)


@given(st.text(alphabet="()'\"`.,<>=! \tnametricspor0159andlikeIN\\%_-", max_size=60))
def test_any_soup_of_the_language_is_read_or_refused_by_a_filter_error(text):
    position = 0
    try:
        parse_filter(text)
    except FilterError as error:
        position = error.position
    assert 0 <= position <= len(text)


words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
keys = st.one_of(words, st.builds(lambda word, statistic: f"{word}.{statistic}", words, st.sampled_from(STATISTICS)))
fields = st.builds(Field, kind=st.just("metrics"), key=keys, statistic=st.sampled_from(STATISTICS))
comparisons = st.builds(
    lambda field, operator, value: Comparison(field=field, operator=operator, values=(value,)),
    fields,
    st.sampled_from(["=", "!=", "<", ">="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
nodes = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda a, b: All((a, b)), inner, inner),
        st.builds(lambda a, b: AnyOf((a, b)), inner, inner),
    ),
    max_leaves=8,
)


@given(nodes)
def test_a_tree_written_out_is_read_as_the_same_tree(node):
    assert parse_filter(node.to_text()).to_text() == node.to_text()


@given(fields)
def test_a_field_written_out_is_read_as_the_same_field(field):
    assert parse_order(field.to_text()) == [(field, False)]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_statistic_may_stand_before_or_behind(statistic):
    before, behind = parse_filter(f"{statistic}(metrics.a.b) > 1"), parse_filter(f"metrics.a.b.{statistic} > 1")
    quoted = parse_filter(f'metrics."a.b".{statistic} > 1')
    assert (
        before
        == behind
        == quoted
        == Comparison(field=Field(kind="metrics", key="a.b", statistic=statistic), operator=">", values=(1.0,))
    )


def test_nan_is_a_value_of_its_own():
    node = parse_filter("metrics.x is nan")
    assert isinstance(node, Comparison)
    assert math.isnan(node.values[0])


def test_orders():
    found = parse_order(["metrics.loss", "max(metrics.acc) DESC, name asc"])
    assert [(field.to_text(), down) for field, down in found] == [
        ("metrics.loss", False),
        ("max(metrics.acc)", True),
        ("name", False),
    ]
    for text in ("", "name,", "name; x", "name desc desc", ",".join(["name"] * 11), "uid"):
        with pytest.raises(FilterError):
            parse_order(text)
    with pytest.raises(TypeError):
        parse_order([1])
