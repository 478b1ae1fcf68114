"""Names in a filter or an order that no run has: said aloud, because a typing error finds nothing and sorts nothing."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db import MetricSummaryRow, RunKeyRow, RunParamRow, RunRow, RunTagRow
from tracking_parts.conditions import Condition
from tracking_parts.filters import STATISTICS, All, Comparison, Field, Node, Not, quote_key
from tracking_parts.queries import key_numbers, where
from values import shorten

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["UnknownKeyWarning", "find_unknown_keys", "warn_of_unknown_keys"]

MAX_NAMES = 20_000  # names among which a similar one is looked for
_NOUNS = {"metrics": "metric", "params": "param", "tags": "tag"}


class UnknownKeyWarning(UserWarning):
    """A filter or an order names a metric, param or tag that no run in its scope has."""


def warn_of_unknown_keys(
    session: Session,
    node: Node | None,
    order: Sequence[tuple[Field, bool]],
    experiment: str | Sequence[str] | None,
    include: str,
    *,
    found: bool,
    depth: int,
    seen: Collection[str] = (),
) -> list[str]:
    """Warn of what `find_unknown_keys` returns, in the name of the caller `depth` calls above; return it."""
    sentences = find_unknown_keys(session, node, order, experiment, include, found=found, seen=seen)
    for sentence in sentences:
        warnings.warn(sentence, UnknownKeyWarning, stacklevel=depth + 1)
    return sentences


def find_unknown_keys(
    session: Session,
    node: Node | None,
    order: Sequence[tuple[Field, bool]],
    experiment: str | Sequence[str] | None,
    include: str,
    *,
    found: bool,
    seen: Collection[str] = (),
) -> list[str]:
    """Return a sentence for each name that no run in the scope of a search has.

    Parameters
    ----------
    node, order
        The filter and the order. ``key IS NULL`` asks whether there is such a thing, so it never counts.
    experiment, include
        The scope, as for `ExperimentTracking.search_runs`.
    found : bool
        Whether the search found any run. If it did, all that its comparisons name is there unless OR or NOT stands
        between them, and need not be looked up.
    seen : collection of str
        What the runs that were found have, as "metrics.loss": need not be looked up either.
    """
    asked = [] if found and _needs_every_key(node) else [(field, "filter") for field in _compared(node)]
    asked += [(field, "order") for field, _ in order if field.kind != "attribute"]
    asked = [(field, source) for field, source in asked if f"{field.kind}.{field.key}" not in seen]
    if not asked:
        return []
    keys = key_numbers(session, [field.key for field, _ in asked])
    scope = where(session, None, experiment, include)
    unknown = [(field, source) for field, source in dict.fromkeys(asked) if not _is_used(session, field, keys, scope)]
    if not unknown or session.scalar(sa.select(RunRow.id).where(*scope).limit(1)) is None:
        return []  # among no runs at all nothing has a name
    return [_sentence(session, field, source, experiment, scope) for field, source in unknown]


def _needs_every_key(node: Node | None) -> bool:
    """Whether a run that passes must have everything the filter names."""
    if isinstance(node, All):
        return all(_needs_every_key(item) for item in node.items)
    return node is None or isinstance(node, Comparison)


def _compared(node: Node | None) -> Iterator[Field]:
    """Yield the metrics, params and tags whose values a filter looks at."""
    if node is None:
        return
    if isinstance(node, Comparison):
        if node.field.kind != "attribute" and node.operator != "null":
            yield node.field
    elif isinstance(node, Not):
        yield from _compared(node.item)
    else:
        for item in node.items:
            yield from _compared(item)


def _is_used(session: Session, field: Field, keys: dict[str, int], scope: Sequence[Condition]) -> bool:
    number = keys.get(field.key)
    if number is None:
        return False
    table: Any = {"metrics": MetricSummaryRow, "params": RunParamRow, "tags": RunTagRow}[field.kind]
    query = sa.select(sa.literal(1)).select_from(table).join(RunRow, RunRow.id == table.run_id)
    return session.scalar(query.where(table.key_id == number, *scope).limit(1)) is not None


def _sentence(
    session: Session, field: Field, source: str, experiment: str | Sequence[str] | None, scope: Sequence[Condition]
) -> str:
    if experiment is None:
        place = ""
    else:
        names = [experiment] if isinstance(experiment, str) else list(experiment)
        place = f" of experiment {shorten(names[0])}" if len(names) == 1 else " of these experiments"
    effect = "so no comparison with it holds" if source == "filter" else "so it sorts nothing"
    hint = _hint(session, field, scope)
    return (
        f"no run{place} has a {_NOUNS[field.kind]} {shorten(field.key)} (character {field.position + 1} of the "
        f"{source}), {effect}{'; ' + hint if hint else ''}"
    )


def _hint(session: Session, field: Field, scope: Sequence[Condition]) -> str:
    """Return what was probably meant, or ""."""

    def used(kind: str, names: Sequence[str]) -> list[str]:
        keys = key_numbers(session, names)
        return [name for name in names if _is_used(session, Field(kind=kind, key=name), keys, scope)]  # type: ignore[arg-type]

    if field.kind == "metrics":
        whole = f"{field.key}.{field.statistic}"
        if used("metrics", [whole]):
            return f'there is a metric {whole!r}: its name stands in quotes, metrics."{whole}"'
        head, _, tail = field.key.rpartition(".")
        if head and used("metrics", [head]):
            return f"there is a metric {head!r}, but {tail!r} is none of its statistics {', '.join(STATISTICS)}"
    for kind in ("metrics", "params", "tags"):
        if kind != field.kind and used(kind, [field.key]):
            return f"there is a {_NOUNS[kind]} of that name: write {kind}.{quote_key(kind, field.key)}"
    import difflib  # only who mistypes needs it

    names = list(session.scalars(sa.select(RunKeyRow.name).order_by(RunKeyRow.id.desc()).limit(MAX_NAMES)))
    folded = {name.lower(): name for name in names}
    similar = [folded[name] for name in difflib.get_close_matches(field.key.lower(), folded, n=5, cutoff=0.6)]
    similar = used(field.kind, similar)[:3]
    return f"did you mean {' or '.join(map(repr, similar))}?" if similar else ""
