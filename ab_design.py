"""The design of an A/B test: what is measured, how subjects are split, when the test may stop, how large it must be.

    >>> config = ExperimentConfig(name="v2", metric_name="clicked", metric_type="binary", baseline_value=0.10,
    ...                           minimum_detectable_effect=0.02)
    >>> config.planned_sample_size, config.stopping
    (3936, 'group_sequential')

Everything here is plain values, validated when they are made; `ab_testing` stores and runs them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from stats.means import ALTERNATIVES
from stats.multiplicity import METHODS
from stats.power import (
    SampleSize,
    days_needed,
    mde_means,
    mde_proportions,
    power_means,
    power_proportions,
    sample_size_means,
    sample_size_proportions,
)
from stats.sequential import SPENDING_FUNCTIONS, boundaries, drift_for_power
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_key,
    check_name,
    check_text,
    to_float,
    to_int,
)

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go

__all__ = ["Aggregation", "ExperimentConfig", "Metric", "MetricType", "SampleSizePlan", "plan_sample_size"]

STOPPING_RULES = ("group_sequential", "always_valid", "fixed_horizon")
DIRECTIONS = ("higher", "lower")
LARGEST_VALUE = 1e150  # so that sums of squares over any number of subjects stay finite
LARGEST_COUNT = 2**53  # whole numbers beyond it are not exact as floats
DEFAULT_LOOKS = 5  # looks for which a planned size is inflated under group-sequential stopping


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


def _to_enum(kind: type[StrEnum], value: object, name: str) -> Any:
    text = value.value if isinstance(value, StrEnum) else value
    return kind(check_choice(text, name, [str(member.value) for member in kind]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
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
        put(self, "metric_type", _to_enum(MetricType, self.metric_type, "metric_type"))
        chosen = DEFAULT_AGGREGATIONS[self.metric_type] if self.aggregation is None else self.aggregation
        put(self, "aggregation", _to_enum(Aggregation, chosen, "aggregation"))
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
            put(self, "margin", _positive(self.margin, "margin"))

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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {
            "name": self.name,
            "metric_type": str(self.metric_type.value),
            "aggregation": str(self.aggregation.value),
            "direction": self.direction,
            "margin": self.margin,
        }


@dataclass(frozen=True, slots=True)
class ExperimentConfig:
    """The design of one test; frozen, and checked when it is made.

    Attributes
    ----------
    name : str
        Of the test; unique in the store.
    metric_name : str
        The main metric, which decides.
    metric_type : MetricType or str
    baseline_model, treatment_model : str
        What is compared, for people.
    traffic_split : float
        Share of subjects that get the treatment, in [0, 1].
    min_sample_size : int
        Subjects **per variant** below which no verdict is given.
    significance_level : float
        alpha, in (0, 0.5].
    minimum_detectable_effect : float or None
        Smallest absolute effect that matters. With ``baseline_value`` (rates, counts) or ``baseline_sd`` (means)
        it gives the
        planned size.
    power : float
    alternative : {"two-sided", "greater", "less"}
    direction : {"higher", "lower"}
        Which values of the main metric are better.
    aggregation : Aggregation, str or None
        See `Metric`.
    planned_sample_size : int or None
        Subjects per variant at the end; computed when it can be.
    stopping : {"group_sequential", "always_valid", "fixed_horizon"} or None
        None is "group_sequential" when a planned size is known, else "fixed_horizon" at ``min_sample_size``.
    spending : {"obrien_fleming", "pocock", "hwang_shih_decani", "power"}
    spending_parameter : float or None
    futility : bool
        Whether a non-binding futility rule is reported.
    baseline_value, baseline_sd : float or None
        Expected mean or rate, and standard deviation, of the baseline.
    coverage : float
        Share of all subjects that take part, in (0, 1]: ramp-up.
    namespace : str or None
        Tests in one namespace share no subject.
    namespace_share : float
        Part of the namespace this test takes.
    treatments : mapping or None
        Several treatments: variant name -> share of subjects; the baseline gets the rest. None is one, "treatment".
    secondary_metrics, guardrails : sequence of Metric
        Guardrails stand outside the family of corrected comparisons.
    correction : {"holm", "bh", "bonferroni", "hochberg", "by", "none"}
    winsorize_quantile : float or None
        Values of the main metric above this pooled quantile are capped at it.
    covariate : str or None
        Attribute from before the test that reduces variance (CUPED); see `record_attributes`.
    baseline_version_id, treatment_version_id : str or None
        ``model_id`` of registered versions.
    hypothesis, description, owner : str
    salt : str or None
        Of the assignment; random by default. Give one only to repeat assignments made elsewhere.
    variants : tuple of str
        Derived: "baseline" and the treatments, in order.
    shares : tuple of float
        Derived: the share of subjects of each variant; they sum to 1.
    metrics : tuple of Metric
        Derived: the main metric, the secondary ones, the guardrails.
    """

    name: str
    metric_name: str
    metric_type: MetricType | str = MetricType.CONTINUOUS
    baseline_model: str = "baseline"
    treatment_model: str = "treatment"
    traffic_split: float = 0.5
    min_sample_size: int = 100
    significance_level: float = 0.05
    minimum_detectable_effect: float | None = None
    power: float = 0.8
    alternative: str = "two-sided"
    direction: str = "higher"
    aggregation: Aggregation | str | None = None
    planned_sample_size: int | None = None
    stopping: str | None = None
    spending: str = "obrien_fleming"
    spending_parameter: float | None = None
    futility: bool = True
    baseline_value: float | None = None
    baseline_sd: float | None = None
    coverage: float = 1.0
    namespace: str | None = None
    namespace_share: float = 1.0
    treatments: Mapping[str, float] | None = None
    secondary_metrics: Sequence[Metric | Mapping[str, Any]] = ()
    guardrails: Sequence[Metric | Mapping[str, Any]] = ()
    correction: str = "holm"
    winsorize_quantile: float | None = None
    covariate: str | None = None
    baseline_version_id: str | None = None
    treatment_version_id: str | None = None
    hypothesis: str = ""
    description: str = ""
    owner: str = ""
    salt: str | None = None
    variants: tuple[str, ...] = field(init=False, repr=False)
    shares: tuple[float, ...] = field(init=False, repr=False)
    metrics: tuple[Metric, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check and normalise every field; a message names the field, the value and the bound."""
        put = object.__setattr__
        put(self, "name", check_name(self.name, "name"))
        for label in ("baseline_model", "treatment_model", "hypothesis", "description", "owner"):
            put(self, label, check_text(getattr(self, label), label, 10_000))
        for label in ("namespace", "covariate", "salt", "baseline_version_id", "treatment_version_id"):
            if getattr(self, label) is not None:
                put(self, label, check_key(getattr(self, label), label))
        put(self, "traffic_split", _within(self.traffic_split, "traffic_split", 0.0, 1.0))
        put(self, "min_sample_size", to_int(self.min_sample_size, "min_sample_size", 2, 10**12))
        alpha = _within(self.significance_level, "significance_level", 0.0, 0.5)
        if alpha == 0.0:
            raise InvalidValueError("significance_level must be above 0 and at most 0.5, got 0.0")
        put(self, "significance_level", alpha)
        put(self, "power", _between(self.power, "power", 0.0, 1.0))
        put(self, "alternative", check_choice(self.alternative, "alternative", ALTERNATIVES))
        put(self, "spending", check_choice(self.spending, "spending", SPENDING_FUNCTIONS))
        put(self, "correction", check_choice(self.correction, "correction", [*METHODS, "none"]))
        if self.spending_parameter is not None:
            put(self, "spending_parameter", to_float(self.spending_parameter, "spending_parameter"))
        if not isinstance(self.futility, bool):
            raise InvalidTypeError(f"futility must be True or False, got {self.futility!r}")
        put(self, "coverage", _within(self.coverage, "coverage", 0.0, 1.0))
        put(self, "namespace_share", _within(self.namespace_share, "namespace_share", 0.0, 1.0))
        for label in ("coverage", "namespace_share"):
            if getattr(self, label) == 0.0:
                raise InvalidValueError(f"{label} must be above 0 and at most 1, got 0.0")
        if self.winsorize_quantile is not None:
            put(self, "winsorize_quantile", _between(self.winsorize_quantile, "winsorize_quantile", 0.5, 1.0))
        for label in ("minimum_detectable_effect", "baseline_sd"):
            if getattr(self, label) is not None:
                put(self, label, _positive(getattr(self, label), label))
        if self.baseline_value is not None:
            put(self, "baseline_value", to_float(self.baseline_value, "baseline_value"))
        self._set_metrics()
        self._set_variants()
        self._set_plan()

    def _set_metrics(self) -> None:
        put = object.__setattr__
        main = Metric(
            name=self.metric_name,
            metric_type=self.metric_type,  # type: ignore[arg-type]  # checked there
            aggregation=self.aggregation,  # type: ignore[arg-type]
            direction=self.direction,
        )
        put(self, "metric_name", main.name)
        put(self, "metric_type", main.metric_type)
        put(self, "aggregation", main.aggregation)
        put(self, "direction", main.direction)
        for label in ("secondary_metrics", "guardrails"):
            listed = []
            for item in getattr(self, label):
                if isinstance(item, str):
                    listed.append(Metric(name=item))
                elif isinstance(item, Mapping):
                    listed.append(Metric(**item))
                elif isinstance(item, Metric):
                    listed.append(item)
                else:
                    raise InvalidTypeError(f"{label} must hold Metric objects, got {type(item).__name__}")
            put(self, label, tuple(listed))
        metrics = (main, *self.secondary_metrics, *self.guardrails)
        names = [metric.name for metric in metrics]  # type: ignore[union-attr]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InvalidValueError(f"metric {repeated[0]!r} is named twice; every metric needs a name of its own")
        put(self, "metrics", metrics)
        if main.metric_type is not MetricType.CONTINUOUS:
            for label in ("winsorize_quantile", "covariate"):
                if getattr(self, label) is not None:
                    raise InvalidValueError(
                        f"{label} is for continuous metrics; {main.name!r} is {main.metric_type.value}"
                    )

    def _set_variants(self) -> None:
        put = object.__setattr__
        if self.treatments is None:
            names: tuple[str, ...] = ("baseline", "treatment")
            shares: tuple[float, ...] = (1.0 - self.traffic_split, self.traffic_split)
        else:
            if not isinstance(self.treatments, Mapping) or not self.treatments:
                raise InvalidValueError("treatments must map at least one variant name to its share")
            listed = {check_name(name, "variant"): share for name, share in self.treatments.items()}
            if "baseline" in listed:
                raise InvalidValueError("'baseline' is not a treatment; it gets what the treatments leave")
            if len(listed) > 50:
                raise InvalidValueError(f"at most 50 treatments, got {len(listed)}")
            parts = [_within(share, f"share of {name!r}", 0.0, 1.0) for name, share in listed.items()]
            rest = 1.0 - math.fsum(parts)
            if rest < -1e-9:
                raise InvalidValueError(f"the shares of the treatments add up to {math.fsum(parts):g}, more than 1")
            names, shares = ("baseline", *listed), (max(rest, 0.0) if rest > 1e-12 else 0.0, *parts)
            put(self, "treatments", dict(zip(listed, parts, strict=True)))
        put(self, "variants", names)
        put(self, "shares", shares)

    def _set_plan(self) -> None:
        put = object.__setattr__
        if self.stopping is not None:
            put(self, "stopping", check_choice(self.stopping, "stopping", STOPPING_RULES))
        if self.planned_sample_size is not None:
            put(self, "planned_sample_size", to_int(self.planned_sample_size, "planned_sample_size", 2, 10**12))
        elif self.minimum_detectable_effect is not None:
            put(self, "planned_sample_size", self._computed_size())
        if self.stopping is None:
            rule = "fixed_horizon" if self.planned_sample_size is None else "group_sequential"
            put(self, "stopping", rule)
        if self.stopping == "group_sequential" and self.planned_sample_size is None:
            raise InvalidValueError(
                "stopping 'group_sequential' needs planned_sample_size, or minimum_detectable_effect with "
                "baseline_value or baseline_sd; 'always_valid' needs no plan"
            )
        if self.stopping == "group_sequential":  # a bad spending parameter is refused now, not at the first look
            from stats.sequential import spent_alpha

            spent_alpha(0.5, self.significance_level / 2.0, self.spending, self.spending_parameter)

    def _computed_size(self) -> int | None:
        """Subjects of the smallest variant for the effect that matters, or None when too little is known."""
        assert self.minimum_detectable_effect is not None
        compared = [share for share in self.shares[1:] if share > 0.0]
        if not compared or self.shares[0] == 0.0:
            return None
        share = min(compared)
        common: dict[str, Any] = {
            "power": self.power,
            "alpha": self.significance_level,
            "alternative": self.alternative,
            "treatment_share": share / (share + self.shares[0]),
            "comparisons": len(self.variants) - 1,
        }
        # A one-sided test is sized for the effect it looks for, which may be a worsening.
        upwards = self.direction == "higher" if self.alternative == "two-sided" else self.alternative == "greater"
        effect = self.minimum_detectable_effect * (1.0 if upwards else -1.0)
        if self.metric_type is MetricType.BINARY:
            rate = self.baseline_value
            if rate is None:  # the rates around one half need most subjects
                rate = 0.5 - effect / 2.0
            if not (0.0 < rate < 1.0 and 0.0 < rate + effect < 1.0):
                raise InvalidValueError(
                    f"baseline_value {rate!r} and minimum_detectable_effect {self.minimum_detectable_effect!r} "
                    "give rates outside (0, 1)"
                )
            size = sample_size_proportions(rate, rate + effect, **common)
        else:
            sd = self.baseline_sd
            if sd is None and self.metric_type is MetricType.COUNT and (self.baseline_value or 0.0) > 0.0:
                sd = math.sqrt(self.baseline_value or 0.0)  # Poisson
            if sd is None:
                return None
            size = sample_size_means(effect, sd, **common)
        smallest = min(size.exact_baseline, size.exact_treatment)
        # With an unequal split "per variant" is the harmonic size: equal information at N each.
        harmonic = 2.0 / (1.0 / size.exact_baseline + 1.0 / size.exact_treatment)
        needed = harmonic if smallest != size.exact_baseline or share != self.shares[0] else smallest
        if self.stopping in (None, "group_sequential"):
            needed *= inflation(
                self.significance_level, self.power, self.spending, self.spending_parameter, self.alternative
            )
        return max(2, math.ceil(needed - 1e-9))

    def metric_index(self, name: str | None) -> int:
        """Return the position of a metric; None is the main one."""
        if name is None:
            return 0
        for index, metric in enumerate(self.metrics):
            if metric.name == name:
                return index
        known = ", ".join(repr(metric.name) for metric in self.metrics)
        raise InvalidValueError(f"experiment {self.name!r} has no metric {name!r}; it has {known}")

    def variant_index(self, name: str) -> int:
        """Return the position of a variant; the baseline is 0."""
        if name in self.variants:
            return self.variants.index(name)
        raise InvalidValueError(
            f"experiment {self.name!r} has no variant {name!r}; it has {', '.join(map(repr, self.variants))}"
        )

    def with_split(self, split: float | Mapping[str, float]) -> ExperimentConfig:
        """Return this design with another split."""
        if isinstance(split, Mapping):
            if set(split) != set(self.variants[1:]):
                raise InvalidValueError(f"the split must name exactly {', '.join(map(repr, self.variants[1:]))}")
            ordered = {name: split[name] for name in self.variants[1:]}
            if self.treatments is None:
                return replace(self, traffic_split=ordered["treatment"])
            return replace(self, treatments=ordered)
        if self.treatments is not None:
            raise InvalidValueError("this test has several treatments: give a mapping of their shares")
        return replace(self, traffic_split=split)

    @property
    def needed_sample_size(self) -> int:
        """Subjects per variant at which a fixed-horizon or group-sequential test ends."""
        return max(self.min_sample_size, self.planned_sample_size or 0)

    @property
    def unit(self) -> str:
        """How the main metric's differences are printed: percentage points for rates."""
        return "%" if self.metric_type is MetricType.BINARY else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values, from which `from_dict` makes an equal design."""
        result: dict[str, Any] = {}
        for item in fields(self):
            if not item.init:
                continue
            value = getattr(self, item.name)
            if item.name in ("secondary_metrics", "guardrails"):
                value = [metric.to_dict() for metric in value]
            elif isinstance(value, StrEnum):
                value = str(value.value)
            elif isinstance(value, Mapping):
                value = dict(value)
            result[item.name] = value
        return result

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ExperimentConfig:
        """Return the design that `to_dict` described."""
        known = {item.name for item in fields(cls) if item.init}
        return cls(**{name: value for name, value in stored.items() if name in known})


def inflation(
    alpha: float,
    power: float,
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    alternative: str = "two-sided",
    n_looks: int = DEFAULT_LOOKS,
) -> float:
    """Return how many more subjects a group-sequential test needs at most, for equally spaced looks."""
    from scipy import special

    side = alpha / 2.0 if alternative == "two-sided" else min(alpha, 0.4999)
    fractions = [(look + 1) / n_looks for look in range(n_looks)]
    drift = drift_for_power(fractions, boundaries(fractions, side, spending, parameter), power)
    return float((drift / (special.ndtri(1.0 - side) + special.ndtri(power))) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSizePlan:
    """How large a test must be, and what it can find.

    Attributes
    ----------
    n_per_variant : int
        Subjects in the larger of baseline and treatment for equal splits: in each.
    n_baseline, n_treatment : int
    n_total : int
        Over all variants.
    effect : float
        Absolute effect found with that power.
    power, alpha : float
    alternative : str
    metric_type : str
    formula : str
    days : int or None
        Until the total has arrived, when a daily rate was given.
    curve : list of (int, float)
        Power at other sizes per variant.
    """

    n_per_variant: int
    n_baseline: int
    n_treatment: int
    n_total: int
    effect: float
    power: float
    alpha: float
    alternative: str
    metric_type: str
    formula: str
    days: int | None
    curve: list[tuple[int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        result = {item.name: getattr(self, item.name) for item in fields(self)}
        result["curve"] = [list(point) for point in self.curve]
        return result

    def plot(self) -> go.Figure:
        """Return the power curve as a Plotly figure."""
        from charts.ab_testing import plot_power_curve

        return plot_power_curve(self)


def plan_sample_size(
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    *,
    minimum_detectable_effect: float | None = None,
    relative_effect: float | None = None,
    baseline_value: float | None = None,
    baseline_sd: float | None = None,
    n_per_variant: int | None = None,
    power: float | None = None,
    significance_level: float = 0.05,
    alternative: str = "two-sided",
    traffic_split: float = 0.5,
    n_treatments: int = 1,
    n_comparisons: int | None = None,
    margin: float = 0.0,
    subjects_per_day: float | None = None,
    stopping: str = "fixed_horizon",
) -> SampleSizePlan:
    """Return size, power or smallest detectable effect: whichever was not given.

    Parameters
    ----------
    metric_type : MetricType or str
    minimum_detectable_effect : float or None
        Absolute effect (0.02 is two percentage points for rates); its sign matters only for rates and one-sided
        tests.
    relative_effect : float or None
        Instead of it: share of ``baseline_value``.
    baseline_value : float or None
        Expected rate (binary; required), mean (count: its square root is the standard deviation unless one is given).
    baseline_sd : float or None
        Standard deviation per subject: required for continuous metrics; for ratios that of the linearised ratio.
    n_per_variant : int or None
        Subjects of the baseline. Given: power (or, if that is given too, the effect) is what is computed.
    power : float or None
        0.8 when the size is wanted.
    significance_level : float
    alternative : {"two-sided", "greater", "less"}
    traffic_split : float
        Share of one treatment over that of it and the baseline.
    n_treatments, n_comparisons : int
        alpha is divided by the number of comparisons (the treatments, by default).
    margin : float
        Non-inferiority margin; the effect may then be 0.
    subjects_per_day : float or None
    stopping : {"fixed_horizon", "group_sequential"}
        Group-sequential sizes are inflated for five O'Brien-Fleming looks.

    Returns
    -------
    SampleSizePlan

    Raises
    ------
    ValueError
        If something needed is missing or out of range.

    Examples
    --------
    >>> plan_sample_size("binary", baseline_value=0.2, minimum_detectable_effect=0.05).n_per_variant
    1094
    """
    kind: MetricType = _to_enum(MetricType, metric_type, "metric_type")
    alpha = _between(significance_level, "significance_level", 0.0, 0.5)
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(stopping, "stopping", ("fixed_horizon", "group_sequential"))
    split = _between(traffic_split, "traffic_split", 0.0, 1.0)
    treatments = to_int(n_treatments, "n_treatments", 1, 50)
    comparisons = treatments if n_comparisons is None else to_int(n_comparisons, "n_comparisons", 1, 10_000)
    effect = (
        None if minimum_detectable_effect is None else to_float(minimum_detectable_effect, "minimum_detectable_effect")
    )
    if relative_effect is not None:
        if effect is not None or baseline_value is None:
            raise InvalidValueError("relative_effect needs baseline_value, and no minimum_detectable_effect beside it")
        effect = to_float(relative_effect, "relative_effect") * abs(to_float(baseline_value, "baseline_value"))
    if effect is None and margin > 0.0:
        effect = 0.0
    ratio = split / (1.0 - split)
    common: dict[str, Any] = {"alpha": alpha, "alternative": alternative, "comparisons": comparisons}
    sd = 1.0
    rate = 0.5
    if kind is MetricType.BINARY:
        if baseline_value is None:
            raise InvalidValueError("baseline_value, the expected rate, is required for binary metrics")
        rate = _between(baseline_value, "baseline_value", 0.0, 1.0)
    else:
        if baseline_sd is None and kind is MetricType.COUNT and baseline_value is not None:
            baseline_sd = math.sqrt(_positive(baseline_value, "baseline_value"))
        if baseline_sd is None:
            raise InvalidValueError(f"baseline_sd is required for {kind.value} metrics")
        sd = _positive(baseline_sd, "baseline_sd")

    def power_at(n: float, size: float) -> float:
        if kind is MetricType.BINARY:
            return power_proportions(rate, rate + size, n, n * ratio, margin=margin, **common)
        return power_means(size, sd, n, n * ratio, margin=margin, **common)

    factor = 1.0
    if stopping == "group_sequential":
        factor = inflation(alpha, 0.8 if power is None else power, alternative=alternative)
    found: SampleSize | None = None
    if n_per_variant is None:
        if effect is None:
            raise InvalidValueError("give minimum_detectable_effect or relative_effect to get a size, or n_per_variant")
        wanted = 0.8 if power is None else _between(power, "power", 0.0, 1.0)
        sizes: dict[str, Any] = {
            "power": wanted, "treatment_share": split, "n_treatments": treatments, "margin": margin, **common,
        }  # fmt: skip
        if kind is MetricType.BINARY:
            found = sample_size_proportions(rate, rate + effect, **sizes)
        else:
            found = sample_size_means(effect, sd, **sizes)
        n1, n2 = (math.ceil(n * factor - 1e-9 * max(1.0, n)) for n in (found.exact_baseline, found.exact_treatment))
        formula = found.formula
    else:
        n1 = to_int(n_per_variant, "n_per_variant", 2, 10**12)
        n2 = max(1, round(n1 * ratio))
        formula = "difference of proportions (pooled normal)" if kind is MetricType.BINARY else "difference of means"
        if effect is None:
            wanted = 0.8 if power is None else _between(power, "power", 0.0, 1.0)
            if kind is MetricType.BINARY:
                effect = mde_proportions(rate, n1, n2, power=wanted, **common)
                if effect is None:
                    raise InvalidValueError(f"no rate is far enough from {rate!r} to be found with {n1:,} subjects")
            else:
                effect = mde_means(n1, sd, n2, power=wanted, **common)
            effect = -effect if alternative == "less" else effect
        else:
            wanted = power_at(n1 / factor, effect)
    total = n1 + n2 * treatments
    steps = sorted(
        {max(2, round(n1 * share)) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2)}
    )
    return SampleSizePlan(
        n_per_variant=max(n1, n2),
        n_baseline=n1,
        n_treatment=n2,
        n_total=total,
        effect=effect,
        power=wanted,
        alpha=alpha,
        alternative=alternative,
        metric_type=str(kind.value),
        formula=formula if factor == 1.0 else f"{formula}, times {factor:.4f} for {DEFAULT_LOOKS} looks",
        days=None if subjects_per_day is None else days_needed(total, to_float(subjects_per_day, "subjects_per_day")),
        curve=[(n, power_at(n / factor, effect)) for n in steps if n * ratio > 1.0],
    )


def _within(value: object, name: str, low: float, high: float) -> float:
    number = to_float(value, name)
    if not low <= number <= high:
        raise InvalidValueError(f"{name} must lie between {low:g} and {high:g}, got {number!r}")
    return number


def _between(value: object, name: str, low: float, high: float) -> float:
    number = to_float(value, name)
    if not low < number < high:
        raise InvalidValueError(f"{name} must lie strictly between {low:g} and {high:g}, got {number!r}")
    return number


def _positive(value: object, name: str) -> float:
    number = to_float(value, name)
    if not number > 0.0:
        raise InvalidValueError(f"{name} must be positive, got {number!r}")
    return number
