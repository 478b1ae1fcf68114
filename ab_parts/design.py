"""The design of an A/B test: what is measured, how subjects are split, when the test may stop.

    >>> config = ExperimentConfig(name="v2", metric_name="clicked", metric_type="binary", baseline_value=0.10,
    ...                           minimum_detectable_effect=0.02)
    >>> config.planned_sample_size, config.stopping
    (3936, 'group_sequential')

Everything here is plain values, validated when they are made; `ab_testing` stores and runs them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Any

from ab_parts.metrics import Aggregation, Metric, MetricType, between, positive, within
from ab_parts.record import to_plain
from ab_parts.sizing import inflation
from lazy_dataclass import dataclass
from stats.means import ALTERNATIVES
from stats.multiplicity import METHODS
from stats.power import sample_size_means, sample_size_proportions
from stats.power_counts import sample_size_counts
from stats.sequential import SPENDING_FUNCTIONS
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

__all__ = ["ExperimentConfig"]

STOPPING_RULES = ("group_sequential", "always_valid", "fixed_horizon")
FUTILITY_RULES = ("conditional_power", "beta_spending")
SEQUENTIAL_TESTS = ("confidence_sequence", "msprt")


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
        Several treatments share alpha by Bonferroni in the sequential rules: each is watched at alpha over their
        number, which holds for any dependence between them and is conservative.
    spending : {"obrien_fleming", "pocock", "hwang_shih_decani", "power"}
        Of "group_sequential": how alpha is spent over the looks.
    spending_parameter : float or None
    futility : bool
        Whether a non-binding futility rule is reported.
    futility_rule : {"conditional_power", "beta_spending"}
        When a test counts as futile: success by the end has little chance under the *planned* effect, or z lies at
        or below a boundary that spends the type II error (Hwang-Shih-DeCani, gamma -2; "group_sequential" only).
    sequential_test : {"confidence_sequence", "msprt"}
        Of "always_valid": the asymptotic confidence sequence, or the mixture sequential probability ratio test.
    mixing_sd : float or None
        Of "msprt": standard deviation of the effects it mixes over; ``minimum_detectable_effect`` by default.
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
    futility_rule: str = "conditional_power"
    sequential_test: str = "confidence_sequence"
    mixing_sd: float | None = None
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
        put(self, "traffic_split", within(self.traffic_split, "traffic_split", 0.0, 1.0))
        put(self, "min_sample_size", to_int(self.min_sample_size, "min_sample_size", 2, 10**12))
        alpha = within(self.significance_level, "significance_level", 0.0, 0.5)
        if alpha == 0.0:
            raise InvalidValueError("significance_level must be above 0 and at most 0.5, got 0.0")
        put(self, "significance_level", alpha)
        put(self, "power", between(self.power, "power", 0.0, 1.0))
        put(self, "alternative", check_choice(self.alternative, "alternative", ALTERNATIVES))
        put(self, "spending", check_choice(self.spending, "spending", SPENDING_FUNCTIONS))
        put(self, "futility_rule", check_choice(self.futility_rule, "futility_rule", FUTILITY_RULES))
        put(self, "sequential_test", check_choice(self.sequential_test, "sequential_test", SEQUENTIAL_TESTS))
        put(self, "correction", check_choice(self.correction, "correction", [*METHODS, "none"]))
        if self.spending_parameter is not None:
            put(self, "spending_parameter", to_float(self.spending_parameter, "spending_parameter"))
        if not isinstance(self.futility, bool):
            raise InvalidTypeError(f"futility must be True or False, got {self.futility!r}")
        put(self, "coverage", within(self.coverage, "coverage", 0.0, 1.0))
        put(self, "namespace_share", within(self.namespace_share, "namespace_share", 0.0, 1.0))
        for label in ("coverage", "namespace_share"):
            if getattr(self, label) == 0.0:
                raise InvalidValueError(f"{label} must be above 0 and at most 1, got 0.0")
        if self.winsorize_quantile is not None:
            put(self, "winsorize_quantile", between(self.winsorize_quantile, "winsorize_quantile", 0.5, 1.0))
        for label in ("minimum_detectable_effect", "baseline_sd", "mixing_sd"):
            if getattr(self, label) is not None:
                put(self, label, positive(getattr(self, label), label))
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
            given = getattr(self, label)
            if isinstance(given, str | Mapping | Metric):
                raise InvalidTypeError(f"{label} must be a list of metrics, got {given!r}; write [{given!r}]")
            for item in given:
                if isinstance(item, str):
                    listed.append(Metric(name=item))
                elif isinstance(item, Mapping):
                    known = [part.name for part in fields(Metric)]
                    if "name" not in item or not set(item) <= set(known):
                        raise InvalidValueError(
                            f"{label}: {dict(item)!r} is no metric; it needs a name and may have {', '.join(known[1:])}"
                        )
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
            parts = [within(share, f"share of {name!r}", 0.0, 1.0) for name, share in listed.items()]
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
        self._check_rule()
        if self.stopping == "group_sequential":  # a bad spending parameter is refused now, not at the first look
            from stats.sequential import spent_alpha

            spent_alpha(0.5, self.significance_level / 2.0, self.spending, self.spending_parameter)

    def _check_rule(self) -> None:
        """Refuse an option of one stopping rule under another one, where it would be ignored."""
        if self.futility_rule == "beta_spending" and self.stopping != "group_sequential":
            raise InvalidValueError(
                f"futility_rule 'beta_spending' is for stopping 'group_sequential', which needs a planned size; "
                f"stopping is {self.stopping!r}"
            )
        if self.futility_rule == "beta_spending" and self.power <= 0.5:
            raise InvalidValueError(
                f"futility_rule 'beta_spending' spends a type II error below 0.5: power must be above 0.5, got "
                f"{self.power!r}"
            )
        if self.sequential_test == "confidence_sequence":
            if self.mixing_sd is not None:
                raise InvalidValueError(
                    f"mixing_sd {self.mixing_sd!r} is for sequential_test 'msprt', got 'confidence_sequence'"
                )
            return
        if self.stopping != "always_valid":
            raise InvalidValueError(
                f"sequential_test 'msprt' is for stopping 'always_valid', stopping is {self.stopping!r}"
            )
        if self.mixing_sd is None and self.minimum_detectable_effect is None:
            raise InvalidValueError(
                "sequential_test 'msprt' needs mixing_sd or minimum_detectable_effect: about the size of the effects "
                "that matter, fixed before the data are seen"
            )

    @property
    def mixing_spread(self) -> float:
        """Standard deviation of the effects that the mixture test mixes over."""
        spread = self.mixing_sd if self.mixing_sd is not None else self.minimum_detectable_effect
        assert spread is not None, "checked with the design"
        return spread

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
            if self.minimum_detectable_effect >= 1.0:
                raise InvalidValueError(
                    f"minimum_detectable_effect {self.minimum_detectable_effect!r} of a binary metric must be below 1: "
                    "it is a difference of rates"
                )
            rate = self.baseline_value
            if rate is None:  # the rates around one half need most subjects
                rate = 0.5 - effect / 2.0
            if not (0.0 < rate < 1.0 and 0.0 < rate + effect < 1.0):
                raise InvalidValueError(
                    f"baseline_value {rate!r} and minimum_detectable_effect {self.minimum_detectable_effect!r} "
                    "give rates outside (0, 1)"
                )
            size = sample_size_proportions(rate, rate + effect, **common)
        elif self.metric_type is MetricType.COUNT and (self.baseline_value or self.baseline_sd or 0.0) > 0.0:
            mean = self.baseline_value or (self.baseline_sd or 0.0) ** 2  # Poisson
            if mean + effect <= 0.0:
                raise InvalidValueError(
                    f"baseline_value {mean!r} and minimum_detectable_effect "
                    f"{self.minimum_detectable_effect!r} give a mean of 0 or less"
                )
            size = sample_size_counts(effect, mean, sd=self.baseline_sd, **common)
        else:
            if self.baseline_sd is None:
                return None
            size = sample_size_means(effect, self.baseline_sd, **common)
        smallest = min(size.exact_baseline, size.exact_treatment)
        # With an unequal split "per variant" is the harmonic size: equal information at N each.
        harmonic = 2.0 / (1.0 / size.exact_baseline + 1.0 / size.exact_treatment)
        needed = harmonic if smallest != size.exact_baseline or share != self.shares[0] else smallest
        if self.stopping in (None, "group_sequential"):
            needed *= inflation(
                self.significance_level / (len(self.variants) - 1),
                self.power,
                self.spending,
                self.spending_parameter,
                self.alternative,
                futility_rule=self.futility_rule if self.futility else "conditional_power",
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
        return {item.name: to_plain(getattr(self, item.name)) for item in fields(self) if item.init}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ExperimentConfig:
        """Return the design that `to_dict` described."""
        known = {item.name for item in fields(cls) if item.init}
        return cls(**{name: value for name, value in stored.items() if name in known})
