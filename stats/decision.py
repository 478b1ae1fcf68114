"""From numbers to one decision: which rule comes first, and one plain sentence that says why.

The order is fixed: a broken test has no verdict; a test that is not finished goes on; a crossed boundary ends it
early; then futility; then the planned end, where an effect may be wanted, harmful, real but too small, or not shown.

    >>> verdict = decide(Evidence(metric="accuracy", variant="treatment", effect=0.02, ci_lower=0.01,
    ...                           ci_upper=0.03, p_value=1e-4, significant=True,
    ...                           finished=True, n_now=1000, n_needed=1000))
    >>> verdict.decision
    'ship'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from scipy import special

from stats.formatting import format_number, format_p_value, format_percent
from stats.means import upper_quantile
from stats.sequential import boundaries, conditional_power, side_error, spent_alpha

__all__ = [
    "DECISIONS",
    "TWYMAN_LIFT",
    "Decision",
    "Evidence",
    "LookVerdict",
    "Verdict",
    "decide",
    "judge_looks",
    "planned_drift",
]

Decision = Literal[
    "invalid",
    "insufficient_data",
    "keep_running",
    "ship",
    "keep_baseline",
    "stop_futile",
    "too_small",
    "inconclusive",
]
DECISIONS: tuple[Decision, ...] = get_args(Decision)

TWYMAN_LIFT = 0.5  # a significant lift of half the baseline is more often a bug than a discovery
FUTILITY_POWER = 0.1  # below this chance of success under the planned effect, going on is called futile


@dataclass(frozen=True, slots=True, kw_only=True)
class LookVerdict:
    """What the looks so far mean under the group-sequential design.

    Attributes
    ----------
    bounds : list of float, shape (n_looks,)
        |z| needed at each look (for one-sided tests, z in the direction of the alternative).
    crossed : int or None
        Index of the first look that crossed.
    sign : int
        +1 or -1, the side that was crossed; 0 when none.
    alpha_spent : float
        Error spent so far, both sides together for two-sided tests.

    References
    ----------
    .. [1] See `judge_looks`.
    """

    bounds: list[float]
    crossed: int | None
    sign: int
    alpha_spent: float


def judge_looks(
    fractions: Sequence[float],
    z_values: Sequence[float],
    *,
    alpha: float,
    alternative: str = "two-sided",
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    final: bool = False,
) -> LookVerdict:
    """Compare every look with its boundary.

    Parameters
    ----------
    fractions, z_values : sequence of float, shape (n_looks,)
        Strictly increasing information fractions, and z at each.
    alpha : float
        Of the whole test, two-sided unless the alternative is not.
    alternative : {"two-sided", "greater", "less"}
    spending, parameter
        See `stats.sequential.spent_alpha`.
    final : bool
        Whether the last look is the last of all.

    Returns
    -------
    LookVerdict

    Raises
    ------
    ValueError
        As `stats.sequential.boundaries`.

    Notes
    -----
    Two-sided tests spend ``alpha / 2`` on either side.

    References
    ----------
    .. [1] Lan, K. K. G. and DeMets, D. L. (1983). Biometrika 70, 659-663.

    Examples
    --------
    >>> judge_looks([0.5], [2.97], alpha=0.05).crossed
    0
    """
    if any(math.isnan(z) for z in z_values):
        raise ValueError(f"z_values must be numbers, got {list(z_values)!r}")
    side = side_error(alpha, alternative)
    bounds = boundaries(fractions, side, spending, parameter, final=final)
    crossed, sign = None, 0
    for index, (z, bound) in enumerate(zip(z_values, bounds, strict=True)):
        score = abs(z) if alternative == "two-sided" else z if alternative == "greater" else -z
        if score >= bound:
            crossed, sign = index, 1 if z > 0 else -1
            break
    spent = side if final else spent_alpha(fractions[-1], side, spending, parameter)
    return LookVerdict(
        bounds=bounds, crossed=crossed, sign=sign, alpha_spent=spent * (2.0 if alternative == "two-sided" else 1.0)
    )


def planned_drift(alpha: float, power: float, alternative: str = "two-sided") -> float:
    """Return the expected final z under the effect the test was planned for.

    Parameters
    ----------
    alpha, power : float
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    float
        ``z_{1-alpha/2} + z_power`` (one-sided: ``z_{1-alpha} + z_power``).

    Notes
    -----
    This is the drift for which futility is judged: under the current trend, noise at an early look would stop good
    tests.

    References
    ----------
    .. [1] Lan, K. K. G. and Wittes, J. (1988). Biometrics 44, 579-585.
    """
    side = alpha / 2.0 if alternative == "two-sided" else alpha
    return upper_quantile(side) + float(special.ndtri(power))


def futility_power(
    z: float, fraction: float, *, alpha: float, power: float, alternative: str, direction: str
) -> float | None:
    """Return the chance of a final success in the wanted direction, under the planned effect; None at the end.

    Parameters
    ----------
    z, fraction : float
        Current statistic and information fraction.
    alpha, power : float
        Of the plan.
    alternative : str
    direction : {"higher", "lower"}
        Which values are better.

    Returns
    -------
    float or None

    Notes
    -----
    `stats.sequential.conditional_power` with `planned_drift`; two-sided tests count the wanted side only.

    References
    ----------
    .. [1] Lan, K. K. G., Simon, R. and Halperin, M. (1982). Stochastically curtailed tests in long-term clinical
       trials. Sequential Analysis 1, 207-219.
    """
    if not 0.0 < fraction < 1.0:
        return None
    side = alpha / 2.0 if alternative == "two-sided" else alpha
    score = z if direction == "higher" else -z
    return conditional_power(score, fraction, planned_drift(alpha, power, alternative), upper_quantile(side))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the decision depends on.

    Attributes
    ----------
    metric, variant : str
        Names for the sentence.
    effect, ci_lower, ci_upper, p_value : float or None
        Of the main comparison; the interval and p-value that belong to the stopping rule.
    relative_effect : float or None
    significant : bool
        By the stopping rule, after correction for several comparisons.
    finished : bool
        Whether the planned size is reached.
    n_now, n_needed : int
        Subjects in the smallest variant, and what is needed there.
    days_left : float or None
        At the observed rate.
    blocked : sequence of str
        Reasons why no verdict is possible.
    missing : str or None
        Why there is no p-value.
    stopped : {"success", "harm"} or None
        A boundary was crossed before the end.
    futile : bool
    success_chance : float or None
        Conditional power under the planned effect.
    direction : {"higher", "lower"}
    confidence : float
        Level of the interval: with k treatments, a stopping rule's interval is one at ``1 - alpha / k``.
    mde : float or None
    unit : {"", "%"}
        "%" prints differences of rates in percentage points.
    guardrails_failed, guardrails_open : sequence of str
        Guardrails that are shown to be worse, and those not yet shown to be safe, each with what is missing.
    about_means : bool
        False when the p-value is about order (Mann-Whitney).
    continuous_monitoring : bool
        The stopping rule allows a verdict at any time.
    running : bool
        Whether more data may come.

    References
    ----------
    .. [1] See `decide`.
    """

    metric: str
    variant: str
    effect: float | None
    ci_lower: float | None
    ci_upper: float | None
    p_value: float | None
    significant: bool
    finished: bool
    n_now: int
    n_needed: int
    relative_effect: float | None = None
    days_left: float | None = None
    blocked: Sequence[str] = ()
    missing: str | None = None
    stopped: str | None = None
    futile: bool = False
    success_chance: float | None = None
    direction: str = "higher"
    confidence: float = 0.95
    mde: float | None = None
    unit: str = ""
    guardrails_failed: Sequence[str] = ()
    guardrails_open: Sequence[str] = ()
    about_means: bool = True
    superiority: float | None = None
    means_disagree: bool = False
    continuous_monitoring: bool = False
    running: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision and the sentence that explains it.

    Attributes
    ----------
    decision : str
        One of `DECISIONS`.
    recommendation : str

    References
    ----------
    .. [1] See `decide`.
    """

    decision: Decision
    recommendation: str


def decide(evidence: Evidence) -> Verdict:
    """Return the one decision that the evidence supports.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    Verdict

    Notes
    -----
    Order: invalid; not computable; stopped early for success or harm; futile; keep running; at the end: harm,
    guardrails, real but smaller than the effect that matters, ship, inconclusive. "No difference" is never said: an
    interval rules out what is outside it, nothing more.

    References
    ----------
    .. [1] Kohavi, R., Tang, D. and Xu, Y. (2020). Trustworthy Online Controlled Experiments, ch. 2 and 3.
    """
    e = evidence
    if e.blocked:
        return Verdict(decision="invalid", recommendation=f"Do not use these results: {'; '.join(e.blocked)}.")
    progress = f"{e.n_now:,} of {e.n_needed:,} subjects in the smallest variant"
    if e.p_value is None or e.effect is None:
        missing = e.missing or "no subjects yet"
        text = f"There is not enough data to compare: {missing} ({progress})."
        if e.n_now >= e.n_needed:
            text = f"The variants cannot be compared: {missing}."
        return Verdict(decision="insufficient_data", recommendation=text)
    better = e.effect > 0 if e.direction == "higher" else e.effect < 0
    finding = _finding(e)
    if e.significant and (e.stopped or e.continuous_monitoring) and not (e.finished and not e.continuous_monitoring):
        early = "" if e.finished else " before its planned end"
        if (e.stopped == "harm") or (e.stopped is None and not better):
            text = f"Keep the baseline; the test may stop{early} for harm: {finding}."
            return Verdict(decision="keep_baseline", recommendation=text)
        return _success(e, finding, f"the test may stop{early} for success: ")
    if e.futile and not e.finished:
        chance = "" if e.success_chance is None else f" ({format_percent(e.success_chance)})"
        planned = "" if e.mde is None else f" of {format_number(e.mde, e.unit)}"
        text = (
            f"Stop: even if the planned effect{planned} were true, success by the end is unlikely{chance}; "
            f"so far {finding}."
        )
        return Verdict(decision="stop_futile", recommendation=text)
    if not e.finished and e.running:
        text = (
            f"Keep running: {progress}{_days(e.days_left)}; so far {finding}; this is an interim result, not a verdict."
        )
        return Verdict(decision="keep_running", recommendation=text)
    if e.significant and not better:
        return Verdict(decision="keep_baseline", recommendation=f"Keep the baseline: {finding}.")
    if e.significant:
        return _success(e, finding, "")
    return Verdict(decision="inconclusive", recommendation=_ruled_out(e, finding))


def _success(e: Evidence, finding: str, prefix: str) -> Verdict:
    if e.guardrails_failed:
        text = f"Keep the baseline: {finding}, but guardrails got worse: {', '.join(e.guardrails_failed)}."
        return Verdict(decision="keep_baseline", recommendation=text)
    bound = e.ci_upper if e.direction == "higher" else e.ci_lower
    if e.mde is not None and bound is not None and abs(bound) < e.mde and e.about_means:
        text = f"Real but too small to matter: {finding}; all of the interval is below {format_number(e.mde, e.unit)}."
        return Verdict(decision="too_small", recommendation=text)
    if e.guardrails_open:
        text = (
            f"Not yet: {finding}, but these guardrails are not shown to be safe: {'; '.join(e.guardrails_open)}: "
            "collect more data or accept the risk on purpose."
        )
        return Verdict(decision="keep_running" if e.running else "inconclusive", recommendation=text)
    return Verdict(decision="ship", recommendation=f"Ship {e.variant}: {prefix}{finding}.")


def _finding(e: Evidence) -> str:
    assert e.effect is not None
    assert e.p_value is not None
    word = "higher" if e.effect > 0 else "lower"
    size = format_number(abs(e.effect), e.unit)
    change = f"{size} {word}" if e.effect else "as high"  # two equal estimates, which is not "no difference"
    lift = "" if e.relative_effect is None or not e.effect else f", {format_percent(e.relative_effect, signed=True)}"
    sure = f"{100.0 * e.confidence:.6g} %"  # .9999 is not 100 %
    if e.ci_lower is not None and e.ci_upper is not None:
        interval = f"{sure} interval {format_number(e.ci_lower, e.unit)} to {format_number(e.ci_upper, e.unit)}"
    elif e.ci_lower is not None:
        interval = f"{sure} lower bound {format_number(e.ci_lower, e.unit)}"
    elif e.ci_upper is not None:
        interval = f"{sure} upper bound {format_number(e.ci_upper, e.unit)}"
    else:
        interval = "no interval"
    p = format_p_value(e.p_value)
    if e.about_means:
        compared = f"{change} with {e.variant}" + ("" if e.effect else " as with the baseline")
        return f"{e.metric} is {compared} ({interval}{lift}), {p}"
    chance = (
        ""
        if e.superiority is None
        else f" (a subject of {e.variant} exceeds one of the baseline with probability {e.superiority:.3f})"
    )
    note = "; the test of ranks and the test of means disagree, so read both" if e.means_disagree else ""
    return (
        f"by ranks the distributions of {e.metric} differ with {p}{chance}; "
        f"its mean is {change} ({interval}{lift}){note}"
        if (e.significant)
        else f"by ranks {p}{chance}; the mean of {e.metric} is {change} ({interval}{lift}){note}"
    )


def _ruled_out(e: Evidence, finding: str) -> str:
    ends = [bound for bound in (e.ci_lower, e.ci_upper) if bound is not None]
    size = format_number(max(abs(bound) for bound in ends), e.unit) if ends else None
    if len(ends) == 2:
        ruled = f"effects beyond ±{size} are ruled out, smaller ones are not"
    elif e.ci_lower is not None:
        ruled = f"effects below {format_number(e.ci_lower, e.unit)} are ruled out, higher ones are not"
    elif e.ci_upper is not None:
        ruled = f"effects above {format_number(e.ci_upper, e.unit)} are ruled out, lower ones are not"
    else:
        ruled = "nothing is ruled out"
    return f"Inconclusive: {ruled}; {finding}."


def _days(days_left: float | None) -> str:
    if days_left is None or not math.isfinite(days_left):
        return ""
    days = math.ceil(days_left)
    return f", about {days:,} more day{'s' if days != 1 else ''} at the present rate"
