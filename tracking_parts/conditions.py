"""A filter or an order as SQLAlchemy expressions: the tree of `tracking_parts.filters` in, expressions on `RunRow` out.

Every value is bound; no text of a user ever becomes SQL. Nothing here reads the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from db import MetricSummaryRow, RunParamRow, RunRow, RunTagRow, TrackingExperimentRow
from tracking_parts.filters import All, AnyOf, Comparison, Field, Node, Not
from tracking_parts.records import goal_of

FLOAT_MAX = 1.7976931348623157e308

Condition = sa.ColumnElement[bool]

_STATISTIC_COLUMNS = {"last": "last_value", "min": "min_value", "max": "max_value"}  # the others are named alike


def statistic(field: Field) -> Any:
    """Return the column of a metric's statistic, as a plain number."""
    name = field.statistic.replace("best", goal_of(field.key))
    return sa.type_coerce(getattr(MetricSummaryRow, _STATISTIC_COLUMNS.get(name, name)), sa.Double)


def finite_only(value: Any) -> Condition:
    """Return the condition that a number is neither NaN nor infinite."""
    return sa.and_(value >= -FLOAT_MAX, value <= FLOAT_MAX)


def to_condition(node: Node, keys: Mapping[str, int], dialect: str) -> Condition:
    """Return the condition of a filter; `keys` holds the numbers of those keys that exist."""
    if isinstance(node, Not):
        return sa.not_(to_condition(node.item, keys, dialect))
    if isinstance(node, All):
        return sa.and_(*(to_condition(item, keys, dialect) for item in node.items))
    if isinstance(node, AnyOf):
        return sa.or_(*(to_condition(item, keys, dialect) for item in node.items))
    field = node.field
    if field.kind == "attribute":
        return _attribute_condition(node, dialect)
    key = keys.get(field.key)
    if key is None:  # nobody ever logged it
        return sa.true() if node.operator == "null" else sa.false()
    table: Any = {"metrics": MetricSummaryRow, "params": RunParamRow, "tags": RunTagRow}[field.kind]
    query = sa.select(sa.literal(1)).select_from(table).where(table.run_id == RunRow.id, table.key_id == key)
    if node.operator == "null":
        return sa.not_(query.correlate(RunRow).exists())
    if field.kind == "metrics":
        query = query.where(_metric_test(node))
    elif field.kind == "params":
        query = query.where(_param_test(node, dialect))
    else:
        query = query.where(_text_test(RunTagRow.value, node, dialect))
    # Correlated by name: a search sorted by a metric has the table of metrics outside, too.
    return query.correlate(RunRow).exists()


def _compare(column: Any, operator: str, value: Any) -> Condition:
    result: Condition = {
        "=": column.__eq__,
        "!=": column.__ne__,
        "<": column.__lt__,
        "<=": column.__le__,
        ">": column.__gt__,
        ">=": column.__ge__,
    }[operator](value)
    return result


def _metric_test(node: Comparison) -> Condition:
    column = statistic(node.field)
    if node.operator == "in":
        return sa.or_(*(_is_number(column, value) for value in node.values))
    value = node.values[0]
    assert isinstance(value, float)
    if node.operator == "=":
        return _is_number(column, value)
    if node.operator == "!=":
        # NaN (NULL) differs from every number, and SQL would not say so.
        return sa.not_(_is_number(column, value)) if value == value else column.is_not(None)
    finite = column <= FLOAT_MAX if node.operator in (">", ">=") else column >= -FLOAT_MAX
    return sa.and_(_compare(column, node.operator, value), finite)


def _is_number(column: Any, value: Any) -> Condition:
    result: Condition = column.is_(None) if value != value else sa.and_(column.is_not(None), column == value)
    return result


def _param_test(node: Comparison, dialect: str) -> Condition:
    if node.operator in ("like", "ilike"):
        return _text_test(RunParamRow.value, node, dialect)
    if node.operator == "in":
        return sa.or_(*(_is_param(value) for value in node.values))
    value = node.values[0]
    if node.operator == "=":
        return _is_param(value)
    if node.operator == "!=":
        return sa.not_(_is_param(value))
    return _compare(RunParamRow.number if isinstance(value, float) else RunParamRow.value, node.operator, value)


def _is_param(value: Any) -> Condition:
    if isinstance(value, bool):
        return sa.and_(RunParamRow.is_json.is_(True), RunParamRow.value == ("true" if value else "false"))
    if isinstance(value, float):
        if value != value:
            return RunParamRow.value == '{"$float":"nan"}'
        return sa.and_(RunParamRow.number.is_not(None), RunParamRow.number == value)
    result: Condition = RunParamRow.value == value
    return result


def _text_test(column: Any, node: Comparison, dialect: str) -> Condition:
    if node.operator == "in":
        result: Condition = column.in_(list(node.values))
        return result
    if node.operator in ("like", "ilike"):
        return _like(column, str(node.values[0]), dialect, ignore_case=node.operator == "ilike")
    return _compare(column, node.operator, node.values[0])


def _like(column: Any, pattern: str, dialect: str, *, ignore_case: bool) -> Condition:
    """Match alike on both databases: LIKE minds case, ILIKE ignores that of the letters A to Z."""
    result: Condition
    if dialect == "sqlite" and not ignore_case:  # its LIKE ignores case; GLOB does not
        result = column.op("GLOB", is_comparison=True)(_to_glob(pattern))
        return result
    if ignore_case:
        column = sa.func.lower(column)  # the columns collate by code point, so this folds A to Z only
        pattern = "".join(c.lower() if c.isascii() else c for c in pattern)
    result = column.like(pattern, escape="\\")
    return result


def _to_glob(pattern: str) -> str:
    result = []
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            result.append("*")
            continue
        if character == "_":
            result.append("?")
            continue
        if character == "\\":
            character = next(characters)  # the parser refuses a backslash at the end
        result.append(f"[{character}]" if character in "*?[" else character)
    return "".join(result)


def _attribute_condition(node: Comparison, dialect: str) -> Condition:
    name = node.field.key
    if name == "archived":
        wanted = node.values[0] if node.operator == "=" else not node.values[0]
        return RunRow.archived_at.is_not(None) if wanted else RunRow.archived_at.is_(None)
    column = attribute_expression(name)
    if node.operator == "null":
        result: Condition = column.is_(None)
        return result
    # A comparison with what is not there (no note, no end) is false, and its NOT is true.
    if name in ("started_at", "ended_at", "duration"):
        test = (
            column.in_(list(node.values)) if node.operator == "in" else _compare(column, node.operator, node.values[0])
        )
    else:
        test = _text_test(column, node, dialect)
    return sa.and_(column.is_not(None), test)


def attribute_expression(name: str) -> Any:
    """Return what an attribute of a filter or an order is, as an expression on `RunRow`."""
    if name == "run_id":
        return RunRow.uid
    if name == "experiment":
        return (
            sa.select(TrackingExperimentRow.name)
            .where(TrackingExperimentRow.id == RunRow.experiment_id)
            .correlate(RunRow)
            .scalar_subquery()
        )
    if name == "parent_run_id":
        parent = sa.orm.aliased(RunRow)
        return sa.select(parent.uid).where(parent.id == RunRow.parent_id).correlate(RunRow).scalar_subquery()
    if name == "duration":
        end = sa.type_coerce(sa.func.coalesce(RunRow.ended_at, RunRow.heartbeat_at), sa.BigInteger)
        return (end - sa.type_coerce(RunRow.started_at, sa.BigInteger)) / sa.literal(1e6, sa.Double)
    if name == "archived":
        return RunRow.archived_at
    return getattr(RunRow, name)


def order_expressions(order: Sequence[tuple[Field, bool]], keys: Mapping[str, int]) -> list[Any]:
    """Return what to sort by; what lacks the thing comes last."""
    result: list[Any] = []
    for field, descending in order:
        if field.kind == "attribute":
            columns = [attribute_expression(field.key)]
        elif field.key not in keys:
            continue  # nobody ever logged it: everything is equal
        elif field.kind == "metrics":
            value = statistic(field)
            columns = [_lookup(MetricSummaryRow, keys[field.key], value, finite_only(value))]
        elif field.kind == "params":
            key = keys[field.key]
            columns = [_lookup(RunParamRow, key, RunParamRow.number), _lookup(RunParamRow, key, RunParamRow.value)]
        else:
            columns = [_lookup(RunTagRow, keys[field.key], RunTagRow.value)]
        for column in columns:
            result += [column.is_(None), column.desc() if descending else column.asc()]
    return result


def _lookup(table: Any, key: int, column: Any, *conditions: Condition) -> Any:
    query = sa.select(column).where(table.run_id == RunRow.id, table.key_id == key, *conditions)
    return query.correlate(RunRow).scalar_subquery()
