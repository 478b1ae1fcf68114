"""Predictions one by one, labels that arrive later, and what both say about the model.

A prediction is stored once, under an id; a label finds it by that id, before or after it arrives. Classes and numbers
are kept as their shortest exact text, so that 1, 1.0 and numpy's 1 are one class. True and False are read as 1 and 0
where both spellings were logged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from columns import to_microseconds
from db import PredictionRow, StateError
from lazy_dataclass import dataclass
from monitoring_parts.base import MonitoringBase
from monitoring_parts.points import BUCKETS
from monitoring_parts.results import to_plain
from stats.formatting import format_percent
from stats.performance import (
    CalibrationCheck,
    EstimatedPerformance,
    check_calibration,
    classification_scores,
    estimate_accuracy,
    estimate_binary,
    regression_scores,
)
from stats.profiles import FEW_VALUES, number_label
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_key,
    check_name,
    check_text,
    new_id,
    shorten,
    to_float,
    to_utc,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BucketPerformance", "PredictionPerformance", "PredictionVerbs", "bucket_start"]

_BOOLEANS = {"True": "1", "False": "0"}
MINIMUM_LABELS = 30  # labelled predictions with a probability, for a check of the calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPerformance:
    """One time bucket.

    Attributes
    ----------
    start_at : datetime
    n, n_labelled : int
        Predictions, and those with a label.
    scores : dict of str to float or None
        From the labelled ones; see `stats.performance`.
    estimated : EstimatedPerformance or None
        From the probabilities of all of them; None without probabilities.
    """

    start_at: datetime
    n: int
    n_labelled: int
    scores: dict[str, float | None]
    estimated: EstimatedPerformance | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPerformance:
    """Realised and estimated performance over time.

    Attributes
    ----------
    name, version : str
    task : {"classification", "regression"}
    bucket : {"hour", "day", "week", "month"}
    buckets : tuple of BucketPerformance
        In the order of time; empty buckets are left out.
    total : BucketPerformance or None
        The whole period; None without predictions.
    calibration : CalibrationCheck or None
        Estimated against realised accuracy where both are known; None with fewer than 30 such predictions.
    reasons : tuple of str
        What could not be computed, and whether the estimate is to be trusted.
    """

    name: str
    version: str
    task: str
    bucket: str
    buckets: tuple[BucketPerformance, ...]
    total: BucketPerformance | None
    calibration: CalibrationCheck | None
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-safe values."""
        return dict(to_plain(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a bucket: start_at, n, n_labelled, the scores, estimated_accuracy."""
        import pandas as pd

        rows = [
            {
                "start_at": b.start_at,
                "n": b.n,
                "n_labelled": b.n_labelled,
                **{key: value for key, value in b.scores.items() if key != "n"},
                "estimated_accuracy": b.estimated.accuracy if b.estimated else None,
            }
            for b in self.buckets
        ]
        return pd.DataFrame(rows)


class PredictionVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on single predictions."""

    def log_predictions(
        self,
        name: str,
        version: str,
        predictions: Iterable[Any],
        *,
        probabilities: Iterable[float | None] | None = None,
        labels: Iterable[Any] | None = None,
        prediction_ids: Iterable[str] | None = None,
        at: Any = None,
    ) -> list[str]:
        """Store predictions, all of them or none.

        Parameters
        ----------
        name, version : str
        predictions : iterable of str, bool, int or float
            Classes or numbers.
        probabilities : iterable of float in [0, 1], optional
            Of the class that was predicted, each; None where unknown.
        labels : iterable, optional
            What was right; None where not known yet.
        prediction_ids : iterable of str, optional
            Ids under which labels will arrive; None makes them. A repeated id changes nothing.
        at : datetime or ISO text, or an iterable of them, optional
            When they were made; None is now.

        Returns
        -------
        list of str
            The ids.

        Raises
        ------
        ValueError, TypeError
            If lengths differ or a value breaks a rule; nothing is stored.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        values = [
            _class_text(value, f"predictions[{i}]") for i, value in enumerate(_listed(predictions, "predictions"))
        ]
        n = len(values)
        chances = _probabilities(probabilities, n)
        truths = _labels(labels, n)
        ids = [new_id() for _ in range(n)]
        if prediction_ids is not None:
            given = _listed(prediction_ids, "prediction_ids")
            ids = [check_key(item, f"prediction_ids[{i}]") for i, item in enumerate(given)]
            _same_length("prediction_ids", len(ids), n)
        times = _times(at, n)
        if n == 0:
            return []
        now = to_microseconds(to_utc())
        sql = self._database.sql
        with self._database.driver() as cursor:
            monitored = self._ensure_monitored(cursor, name, version)
            cursor.executemany(
                sql(
                    "INSERT INTO predictions (monitored_id, prediction_id, at, prediction, probability, label, "
                    "labelled_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
                ),
                [
                    (monitored, key, when, value, chance, truth, None if truth is None else now)
                    for key, when, value, chance, truth in zip(ids, times, values, chances, truths, strict=True)
                ],
            )
            cursor.execute(sql("SELECT 1 FROM pending_labels WHERE monitored_id = ? LIMIT 1"), (monitored,))
            if cursor.fetchone() is not None:
                cursor.executemany(
                    sql(
                        "UPDATE predictions SET label = p.label, labelled_at = p.at FROM pending_labels p "
                        "WHERE p.monitored_id = predictions.monitored_id "
                        "AND p.prediction_id = predictions.prediction_id "
                        "AND predictions.monitored_id = ? AND predictions.prediction_id = ?"
                    ),
                    [(monitored, key) for key in ids],
                )
                cursor.executemany(
                    sql("DELETE FROM pending_labels WHERE monitored_id = ? AND prediction_id = ?"),
                    [(monitored, key) for key in ids],
                )
        return ids

    def log_labels(
        self, name: str, version: str, labels: Mapping[str, Any], *, at: datetime | str | None = None
    ) -> int:
        """Store what was right, for predictions logged before or still to come; a later label replaces an earlier one.

        Parameters
        ----------
        name, version : str
        labels : mapping of prediction id to label
        at : datetime or ISO text, optional
            When the labels became known; None is now.

        Returns
        -------
        int
            How many found their prediction; the others wait for it.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        if not isinstance(labels, Mapping):
            raise InvalidTypeError(f"labels must map prediction ids to labels, got {type(labels).__name__}")
        when = to_microseconds(to_utc(at, "at"))
        checked = [
            (check_key(key, "prediction id"), _class_text(value, f"labels[{key!r}]")) for key, value in labels.items()
        ]
        if not checked:
            return 0
        sql = self._database.sql
        joined = 0
        with self._database.driver() as cursor:
            monitored = self._ensure_monitored(cursor, name, version)
            update = sql(
                "UPDATE predictions SET label = ?, labelled_at = ? WHERE monitored_id = ? AND prediction_id = ?"
            )
            wait = sql(
                "INSERT INTO pending_labels (monitored_id, prediction_id, label, at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (monitored_id, prediction_id) DO UPDATE SET label = excluded.label, at = excluded.at"
            )
            for key, label in checked:
                cursor.execute(update, (label, when, monitored, key))
                if cursor.rowcount:
                    joined += 1
                else:
                    cursor.execute(wait, (monitored, key, label, when))
        return joined

    def prediction_performance(
        self,
        name: str,
        version: str,
        *,
        bucket: str = "day",
        task: str | None = None,
        positive: Any = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> PredictionPerformance:
        """Score the logged predictions per time bucket, and estimate what is not labelled yet.

        Parameters
        ----------
        name, version : str
        bucket : {"hour", "day", "week", "month"}
        task : {"classification", "regression"}, optional
            None looks at the predictions: more than 20 different numbers without probabilities are a regression.
        positive : str, bool or number, optional
            The positive class, for precision, recall and F1.
        start, end : datetime or ISO text, optional
            Period, both ends included.

        Raises
        ------
        NotFoundError
            If nothing was logged under that name and version.
        StateError
            If a regression holds values that are not numbers.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        check_choice(bucket, "bucket", tuple(BUCKETS))
        if task is not None:
            check_choice(task, "task", ("classification", "regression"))
        chosen = None if positive is None else _class_text(positive, "positive")
        first = None if start is None else to_utc(start, "start")
        last = None if end is None else to_utc(end, "end")
        with self._database.read() as session:
            monitored = self._find_monitored(session, name, version)
            query = session.query(
                PredictionRow.at, PredictionRow.prediction, PredictionRow.probability, PredictionRow.label
            ).filter(PredictionRow.monitored_id == monitored.id)
            if first is not None:
                query = query.filter(PredictionRow.at >= first)
            if last is not None:
                query = query.filter(PredictionRow.at <= last)
            rows: list[Any] = [tuple(row) for row in query.order_by(PredictionRow.at, PredictionRow.id)]
        rows, chosen = _with_one_spelling(rows, chosen)
        kind = task or _guess_task(rows)
        if kind == "regression":
            _check_numbers(rows, name, version)
        parts: dict[datetime, list[Any]] = {}
        for row in rows:
            parts.setdefault(bucket_start(row[0], bucket), []).append(row)
        scored = tuple(_score(at, part, kind, chosen) for at, part in sorted(parts.items()))
        total = _score(rows[0][0], rows, kind, chosen) if rows else None
        calibration, reasons = _calibration(rows, kind)
        return PredictionPerformance(
            name=name,
            version=version,
            task=kind,
            bucket=bucket,
            buckets=scored,
            total=total,
            calibration=calibration,
            reasons=(*_strangers(rows, kind), *reasons),
        )


# -- private -----------------------------------------------------------------------------------------


def _listed(values: Any, field: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidTypeError(f"{field} must be a list or an array, got {type(values).__name__}")
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _same_length(field: str, got: int, n: int) -> None:
    if got != n:
        raise InvalidValueError(f"{field} has {got} entries for {n} predictions")


def _class_text(value: Any, field: str) -> str:
    """Return a class or a number as its shortest exact text."""
    if isinstance(value, str):
        text = check_text(value, field, max_length=255)
        if not text:
            raise InvalidValueError(f"{field} is empty text; give a class or a number")
        return text
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int):
        return str(value)
    return number_label(to_float(value, field))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _labels(labels: Any, n: int) -> list[str | None]:
    if labels is None:
        return [None] * n
    given = _listed(labels, "labels")
    _same_length("labels", len(given), n)
    return [None if _missing(value) else _class_text(value, f"labels[{i}]") for i, value in enumerate(given)]


def _probabilities(values: Any, n: int) -> list[float | None]:
    if values is None:
        return [None] * n
    given = _listed(values, "probabilities")
    _same_length("probabilities", len(given), n)
    checked: list[float | None] = []
    for i, value in enumerate(given):
        if value is None:
            checked.append(None)
            continue
        number = to_float(value, f"probabilities[{i}]")
        if not 0.0 <= number <= 1.0:
            raise InvalidValueError(f"probabilities[{i}] must lie in [0, 1], got {number!r}")
        checked.append(number)
    return checked


def _times(at: Any, n: int) -> list[int]:
    if at is None or isinstance(at, str | datetime) or not isinstance(at, Iterable):
        return [to_microseconds(to_utc(at, "at"))] * n
    given = list(at)
    _same_length("at", len(given), n)
    return [to_microseconds(to_utc(value, f"at[{i}]")) for i, value in enumerate(given)]


def bucket_start(at: datetime, bucket: str) -> datetime:
    """Return the start of the hour, day, week (Monday) or month, in UTC, that an instant lies in."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return hour
    day = hour.replace(hour=0)
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day if bucket == "day" else day.replace(day=1)


def _with_one_spelling(rows: list[Any], positive: str | None) -> tuple[list[Any], str | None]:
    """Read True as 1 and False as 0 where both spellings of two classes were logged, say 0/1 and boolean labels."""
    used = {text for _, prediction, _, label in rows for text in (prediction, label) if text is not None}
    if not (used <= {*_BOOLEANS, *_BOOLEANS.values()} and used & {*_BOOLEANS} and used & {*_BOOLEANS.values()}):
        return rows, positive
    read = [(at, _BOOLEANS.get(p, p), chance, _BOOLEANS.get(label, label)) for at, p, chance, label in rows]
    return read, None if positive is None else _BOOLEANS.get(positive, positive)


def _strangers(rows: Sequence[Any], task: str) -> list[str]:
    """Say it when no label is ever predicted: more often two spellings of the classes than a model that fails."""
    known = [row for row in rows if row[3] is not None]
    predicted, true = {row[1] for row in known}, {row[3] for row in known}
    if task == "regression" or not known or predicted & true:
        return []
    return [
        f"labels ({_some(true)}) and predictions ({_some(predicted)}) have no class in common; "
        "if they are the same classes, log them in one spelling"
    ]


def _some(classes: set[str]) -> str:
    shown = [shorten(text, 40) for text in sorted(classes)[:3]]
    return ", ".join([*shown, "..."] if len(classes) > 3 else shown)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _guess_task(rows: Sequence[Any]) -> str:
    if not rows or any(chance is not None for _, _, chance, _ in rows):
        return "classification"
    different = {prediction for _, prediction, _, _ in rows}
    if len(different) <= FEW_VALUES or any(_as_number(text) is None for text in different):
        return "classification"
    return "regression"


def _check_numbers(rows: Sequence[Any], name: str, version: str) -> None:
    for _, prediction, _, label in rows:
        for text in (prediction, label):
            if text is not None and _as_number(text) is None:
                raise StateError(
                    f"{name} {version} has the value {text!r}, which is no number; use task='classification'"
                )


def _score(at: datetime, rows: Sequence[Any], task: str, positive: str | None) -> BucketPerformance:
    known = [row for row in rows if row[3] is not None]
    truths, guesses = [row[3] for row in known], [row[1] for row in known]
    estimated = None
    if task == "regression":
        scores = regression_scores([float(x) for x in truths], [float(x) for x in guesses])
    else:
        chances = [math.nan if row[2] is None else row[2] for row in known]
        scores = classification_scores(truths, guesses, positive=positive, probabilities=chances)
        sure = [row for row in rows if row[2] is not None]
        if sure:
            p = [row[2] for row in sure]
            if positive is not None and len({row[1] for row in rows}) <= 2:
                estimated = estimate_binary(p, [row[1] == positive for row in sure])
            else:
                estimated = estimate_accuracy(p)
    return BucketPerformance(start_at=at, n=len(rows), n_labelled=len(known), scores=dict(scores), estimated=estimated)


def _calibration(rows: Sequence[Any], task: str) -> tuple[CalibrationCheck | None, list[str]]:
    reasons: list[str] = []
    if not rows:
        return None, ["no predictions in the period"]
    if task == "regression":
        return None, reasons
    both = [row for row in rows if row[2] is not None and row[3] is not None]
    if not any(row[2] is not None for row in rows):
        return None, ["no probabilities were logged: performance without labels cannot be estimated"]
    if len(both) < MINIMUM_LABELS:
        reasons.append(
            f"the calibration is unchecked: {len(both)} labelled predictions with a probability, "
            f"{MINIMUM_LABELS} are needed"
        )
        return None, reasons
    check = check_calibration([row[2] for row in both], [row[1] == row[3] for row in both])
    if not check.calibrated:
        reasons.append(
            f"do not trust the estimate: probabilities promise {format_percent(check.estimated)}, "
            f"labels show {format_percent(check.realised)}"
        )
    return check, reasons
