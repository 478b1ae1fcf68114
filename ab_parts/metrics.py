"""What is measured: the kinds of metrics, how events become one value per subject, which values fit.

>>> Metric(name="clicks", metric_type="count").aggregation
<Aggregation.SUM: 'sum'>
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ab_parts.record import Record
from lazy_dataclass import dataclass
from values import InvalidValueError, check_choice, check_key, to_float

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Aggregation", "Metric", "MetricType", "between", "positive", "to_enum", "within"]


DIRECTIONS = ("higher", "lower")
LARGEST_VALUE = 1e150  # so that sums of squares over any number of subjects stay finite
LARGEST_COUNT = 2**53  # whole numbers beyond it are not exact as floats


class MetricType(StrEnum):
    """What a metric's values are, and thereby how they are compared."""

    CONTINUOUS = "continuous"  # any number; means, Welch's t-test
    BINARY = "binary"  # 0 or 1; rates, chi-square or Fisher
    COUNT = "count"  # whole numbers of 0 or more; Mann-Whitney, with the means beside it
    RATIO = "ratio"  # numerator and denominator per subject; delta method


class Aggregation(StrEnum):
    """How the events of one subject become one value."""

    MEAN = "mean"
    SUM = "sum"
    ANY = "any"
    LAST = "last"
    FIRST = "first"
    MAX = "max"


DEFAULT_AGGREGATIONS = {
    MetricType.CONTINUOUS: Aggregation.MEAN,
    MetricType.BINARY: Aggregation.ANY,
    MetricType.COUNT: Aggregation.SUM,
    MetricType.RATIO: Aggregation.SUM,
}


def to_enum(kind: type[StrEnum], value: object, name: str) -> Any:
    """Return the member of an enumeration that a text names."""
    text = value.value if isinstance(value, StrEnum) else value
    return kind(check_choice(text, name, [str(member.value) for member in kind]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Record):
    """One thing that is measured.

    Attributes
    ----------
    name : str
    metric_type : MetricType
    aggregation : Aggregation
        "mean" (continuous), "sum" (count, ratio) or "any" (binary) by default.
    direction : {"higher", "lower"}
        Which values are better.
    margin : float or None
        For guardrails: the largest acceptable worsening, in units of the metric; the treatment must be shown not
        to be worse
        by that much. None: a guardrail that only must not get significantly worse.
    """

    name: str
    metric_type: MetricType = MetricType.CONTINUOUS
    aggregation: Aggregation = None  # type: ignore[assignment]  # chosen by the type of the metric
    direction: str = "higher"
    margin: float | None = None

    def __post_init__(self) -> None:
        """Check and normalise every field."""
        put = object.__setattr__
        put(self, "name", check_key(self.name, "metric name"))
        put(self, "metric_type", to_enum(MetricType, self.metric_type, "metric_type"))
        chosen = DEFAULT_AGGREGATIONS[self.metric_type] if self.aggregation is None else self.aggregation
        put(self, "aggregation", to_enum(Aggregation, chosen, "aggregation"))
        allowed = {
            MetricType.BINARY: (Aggregation.ANY, Aggregation.MAX, Aggregation.LAST, Aggregation.FIRST),
            MetricType.RATIO: (Aggregation.SUM,),
            MetricType.COUNT: (Aggregation.SUM, Aggregation.MAX, Aggregation.LAST, Aggregation.FIRST),
        }.get(
            self.metric_type, (Aggregation.MEAN, Aggregation.SUM, Aggregation.MAX, Aggregation.LAST, Aggregation.FIRST)
        )
        if self.aggregation not in allowed:
            names = ", ".join(repr(str(choice.value)) for choice in allowed)
            raise InvalidValueError(
                f"aggregation of the {self.metric_type.value} metric {self.name!r} must be one of {names}, "
                f"got {str(self.aggregation.value)!r}"
            )
        put(self, "direction", check_choice(self.direction, "direction", DIRECTIONS))
        if self.margin is not None:
            put(self, "margin", positive(self.margin, "margin"))

    def check_size(self, number: float, field_name: str = "value") -> float:
        """Return a number if sums of its square stay finite."""
        if abs(number) > LARGEST_VALUE:
            raise InvalidValueError(f"{field_name} of metric {self.name!r} must lie within ±1e150, got {number!r}")
        return number

    def to_number(self, value: object) -> float:
        """Return the value of an event as a float, or say why it does not fit this metric."""
        what = f"value of metric {self.name!r}"
        if self.metric_type is MetricType.BINARY:
            if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
                return 1.0 if value else 0.0
            number = to_float(value, what)
            if number not in (0.0, 1.0):
                raise InvalidValueError(f"{what} is binary and must be 0 or 1, got {number!r}")
            return number
        number = self.check_size(to_float(value, what))
        if self.metric_type is MetricType.COUNT and not (
            number >= 0.0 and number.is_integer() and number <= LARGEST_COUNT
        ):
            raise InvalidValueError(f"{what} is a count and must be a whole number of 0 or more, got {number!r}")
        return number

    def all_valid(self, numbers: np.ndarray) -> bool:
        """Return whether every number of an array fits this metric."""
        import numpy as np

        if not bool((np.abs(numbers) <= LARGEST_VALUE).all()):  # also False for NaN
            return False
        if self.metric_type is MetricType.BINARY:
            return bool(((numbers == 0.0) | (numbers == 1.0)).all())
        if self.metric_type is MetricType.COUNT:
            return bool(((numbers >= 0.0) & (numbers <= LARGEST_COUNT) & (numbers == np.floor(numbers))).all())
        return True


def within(value: object, name: str, low: float, high: float) -> float:
    """Return a finite number in [low, high], or say that it is not."""
    number = to_float(value, name)
    if not low <= number <= high:
        raise InvalidValueError(f"{name} must lie between {low:g} and {high:g}, got {number!r}")
    return number


def between(value: object, name: str, low: float, high: float) -> float:
    """Return a finite number in (low, high), or say that it is not."""
    number = to_float(value, name)
    if not low < number < high:
        raise InvalidValueError(f"{name} must lie strictly between {low:g} and {high:g}, got {number!r}")
    return number


def positive(value: object, name: str) -> float:
    """Return a finite number above 0, or say that it is not."""
    number = to_float(value, name)
    if not number > 0.0:
        raise InvalidValueError(f"{name} must be positive, got {number!r}")
    return number
