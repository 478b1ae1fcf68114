"""The two forms of the A/B testing tab: create a test, and size one before it is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import formats
from dashboard.ab_testing_tab import CORRECTION_TEXT, SPENDING_TEXT, TAB, points_text

if TYPE_CHECKING:
    from ab_testing import SampleSizePlan

__all__ = ["create_form", "create_test", "metric_lines", "plan_of", "size_form"]

KINDS = {
    "continuous": "A number per subject",
    "binary": "Yes or no",
    "count": "A count",
    "ratio": "A ratio of two sums",
}
STOPPING = {
    "Group-sequential: may end early": "group_sequential",
    "Always valid: look whenever you like": "always_valid",
    "Fixed horizon: one look at the end": "fixed_horizon",
}
AGGREGATIONS = {  # the first is what the module would choose
    "continuous": ("mean", "sum", "max", "last", "first"),
    "binary": ("any", "last", "first"),
    "count": ("sum", "max", "last", "first"),
    "ratio": ("sum",),
}
AGGREGATION_TEXT = {
    "mean": "their mean",
    "sum": "their sum",
    "any": "yes if any is",
    "max": "the largest",
    "last": "the last",
    "first": "the first",
}
FUTILITY_RULES = {
    "conditional_power": "Chance of success under the planned effect",
    "beta_spending": "Beta spending: keeps the power if obeyed",
}
SEQUENTIAL_TESTS = {
    "confidence_sequence": "Asymptotic confidence sequence",
    "msprt": "Mixture sequential test (mSPRT)",
}
SOURCES = ("Registered versions", "Free names")


# -- create ------------------------------------------------------------------------------------------


def create_form(app: ui.App) -> None:
    """Draw the form that creates a test. What is typed stays while other tabs are looked at."""
    with st.expander("Create a test", icon=":material/add:", key=f"{TAB}.create", on_change="rerun") as box:
        if not box.open:
            return
        if not app.can_edit:
            ui.note("Viewers cannot create tests.")
            return
        n = st.session_state.setdefault(f"{TAB}.create.number", 0)

        def key(name: str) -> dict[str, Any]:
            return {"key": f"{TAB}.create.{n}.{name}", "persist_state": "page"}

        left, right = st.columns(2, gap="medium")
        with left:
            name = st.text_input("Name", placeholder="churn 1.3 against 1.2", **key("name"))
            versions, models = _who(app, key)
            metric = st.text_input("Metric", placeholder="accuracy", **key("metric"))
            kind = st.selectbox("Kind of metric", list(KINDS), format_func=lambda k: f"{k}: {KINDS[k]}", **key("kind"))
            direction = st.segmented_control(
                "Better is", ["higher", "lower"], default="higher", required=True, **key("direction")
            )
            split = st.slider("Share of the treatment", 0.0, 1.0, 0.5, 0.01, **key("split"))
        with right:
            mde = st.number_input(
                "Smallest effect that matters", min_value=0.0, value=None, format="%g",
                help="Absolute: 0.02 is two percentage points of a rate", **key("mde"),
            )  # fmt: skip
            base = st.number_input("Expected value of the baseline", value=None, format="%g", **key("base"))
            sd = (
                st.number_input("Standard deviation per subject", min_value=0.0, value=None, format="%g", **key("sd"))
                if kind != "binary"
                else None
            )
            least = st.number_input("Subjects per variant, at least", 2, 10**9, 100, 50, **key("least"))
            stopping = st.selectbox("Stopping", list(STOPPING), index=None, placeholder="By the plan",
                                    help="Group-sequential when a planned size is known, else fixed horizon",
                                    **key("stopping"))  # fmt: skip
            alpha = st.number_input(
                "Significance level", min_value=0.001, max_value=0.5, value=0.05, format="%g", **key("alpha")
            )
            power = st.number_input("Power", min_value=0.05, max_value=0.999, value=0.8, format="%g", **key("power"))
        config: dict[str, Any] = {
            "metric_name": metric or "", "metric_type": kind, "direction": direction, "traffic_split": split,
            "min_sample_size": int(least), "significance_level": alpha, "power": power,
            "minimum_detectable_effect": mde or None, "baseline_value": base, "baseline_sd": sd or None,
            "stopping": STOPPING.get(stopping or ""),
        } | _more(key, kind, STOPPING.get(stopping or ""))  # fmt: skip
        if not versions:
            config |= {label: value for label, value in models.items() if value}
        if metric:
            ui.note(preview(config))
        if st.button("Create test", key=f"{TAB}.create.submit", type="primary"):

            def create() -> str:
                exp_id = create_test(app, name or "", versions, config)
                st.session_state[f"{TAB}.create.number"] = n + 1
                ui.select("test", [exp_id])
                return exp_id

            ui.act(app, "create test", create, done=f"Created {formats.markdown(name or '')}")


def _who(app: ui.App, key: Any) -> tuple[tuple[str, str] | None, dict[str, str]]:
    """Draw what is compared: ids of two registered versions, or two free names."""
    registered = app.registry.search(limit=500)
    ids = registered["model_id"].tolist() if len(registered) else []
    source = SOURCES[1]
    if len(ids) > 1:
        source = st.segmented_control("Compare", SOURCES, default=SOURCES[0], required=True, **key("source"))
    if source == SOURCES[0]:
        names = dict(zip(ids, registered["name"] + " " + registered["version"], strict=True))
        stages = dict(zip(ids, registered["stage"].astype(str), strict=True))
        production = next((i for i in ids if stages[i] == "Production"), ids[0])

        def label(model_id: str) -> str:
            return f"{names.get(model_id, 'deleted')} ({stages.get(model_id, '')})"

        first = st.selectbox("Baseline", ids, index=ids.index(production), format_func=label, **key("baseline"))
        second = st.selectbox("Treatment", ids, index=None, format_func=label, placeholder="Choose a version",
                              **key("treatment"))  # fmt: skip
        return (first or "", second or ""), {}
    left, right = st.columns(2)
    with left:
        first = st.text_input("Baseline", placeholder="v1", **key("baseline_name"))
    with right:
        second = st.text_input("Treatment", placeholder="v2", **key("treatment_name"))
    return None, {"baseline_model": first or "", "treatment_model": second or ""}


def _more(key: Any, kind: str, rule: str | None) -> dict[str, Any]:
    """Draw what few tests need under a stopping rule (None is by the plan); return the fields that were filled in."""
    with st.expander("More: several treatments, guardrails, covariate, coverage, stopping"):
        left, right = st.columns(2, gap="medium")
        with left:
            treatments = st.text_area(
                "Several treatments, one a line: name = share", placeholder="small = 0.25\nlarge = 0.25", height=68,
                help="The baseline gets the rest; the share of the treatment above is then not used",
                **key("treatments"),
            )  # fmt: skip
            secondary = st.text_area(
                "Secondary metrics, one a line: name = kind", placeholder="latency_ms = continuous", height=68,
                **key("secondary"),
            )  # fmt: skip
            guardrails = st.text_area(
                "Guardrails, one a line: name = kind, lower is better, margin", height=68,
                placeholder="errors = binary, lower, 0.01", **key("guardrails"),
            )  # fmt: skip
            correction = st.selectbox(
                "Correction for several comparisons", list(CORRECTION_TEXT), format_func=lambda c: CORRECTION_TEXT[c],
                help="Among treatments and among secondary metrics; guardrails stand outside", **key("correction"),
            )  # fmt: skip
            hypothesis = st.text_area("Hypothesis", height=68, **key("hypothesis"))
            owner = st.text_input("Owner", **key("owner"))
        with right:
            aggregation = st.selectbox(
                "Events of one subject become", AGGREGATIONS[kind], format_func=lambda a: AGGREGATION_TEXT[a],
                **key(f"aggregation.{kind}"),
            )  # fmt: skip
            planned = st.number_input(
                "Planned subjects per variant", min_value=2, max_value=10**9, value=None, step=100,
                help="Empty: computed from the smallest effect that matters", **key("planned"),
            )  # fmt: skip
            alternative = st.selectbox("Alternative", ["two-sided", "greater", "less"], **key("alternative"))
            spending = st.selectbox(
                "Spending of the error rate",
                list(SPENDING_TEXT),
                format_func=lambda s: SPENDING_TEXT[s],
                **key("spending"),
            )
            futility = st.toggle("Report futility", value=True, help="Says when success became unlikely; non-binding",
                                 **key("futility"))  # fmt: skip
            stopping = _stopping_options(key, rule, futility=futility)
            covariate = winsorize = None
            if kind == "continuous":
                covariate = st.text_input(
                    "Covariate (CUPED)", help="Name of an attribute from before the test that reduces variance; upload "
                    "it as attributes", **key("covariate"),
                )  # fmt: skip
                winsorize = st.number_input(
                    "Cap values at the quantile", min_value=0.5, max_value=0.9999, value=None, format="%g",
                    help="0.99 caps the largest percent of values: a few giants no longer decide", **key("winsorize"),
                )  # fmt: skip
            coverage = st.slider("Coverage of all subjects", 0.01, 1.0, 1.0, 0.01, **key("coverage"))
            namespace = st.text_input("Namespace", help="Tests in one namespace share no subject", **key("namespace"))
            share = st.slider("Share of the namespace", 0.01, 1.0, 1.0, 0.01, **key("share"))
    return {
        "treatments": treatments or "", "secondary_metrics": secondary or "", "guardrails": guardrails or "",
        "aggregation": aggregation, "planned_sample_size": planned, "correction": correction,
        "alternative": alternative, "spending": spending, "futility": futility,
        "covariate": covariate or None, "winsorize_quantile": winsorize, "coverage": coverage,
        "namespace": namespace or None, "namespace_share": share, "hypothesis": hypothesis or "", "owner": owner or "",
        **stopping,
    }  # fmt: skip


def _stopping_options(key: Any, rule: str | None, *, futility: bool) -> dict[str, Any]:
    """Draw the options that go with the stopping rule; return their fields."""
    if rule in (None, "group_sequential"):
        if not futility:
            return {}
        how = st.selectbox(
            "Futility is judged by", list(FUTILITY_RULES), format_func=lambda r: FUTILITY_RULES[r],
            help="Beta spending plans more subjects, so that stopping every futile test costs no power; it needs a "
            "planned size", **key("futility_rule"),
        )  # fmt: skip
        return {"futility_rule": how}
    if rule != "always_valid":
        return {}
    test = st.selectbox(
        "Always-valid test", list(SEQUENTIAL_TESTS), format_func=lambda t: SEQUENTIAL_TESTS[t],
        **key("sequential_test"),
    )  # fmt: skip
    if test != "msprt":
        return {"sequential_test": test}
    spread = st.number_input(
        "Spread of the effects it looks for", min_value=0.0, value=None, format="%g",
        help="Standard deviation of the mixture: about the size of the effects that matter, fixed before the data are "
        "seen. Empty: the smallest effect that matters", **key("mixing_sd"),
    )  # fmt: skip
    return {"sequential_test": test, "mixing_sd": spread or None}


def metric_lines(text: str) -> list[dict[str, Any]]:
    """Return metrics written one a line as `name = kind, lower, margin`; all but the name may be left out.

    >>> metric_lines("errors = binary, lower, 0.01")
    [{'name': 'errors', 'metric_type': 'binary', 'direction': 'lower', 'margin': 0.01}]

    Raises
    ------
    ValueError
        If a word is neither a kind, a direction nor a number.
    """
    found: list[dict[str, Any]] = []
    for count, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, rest = line.partition("=")
        metric: dict[str, Any] = {"name": name.strip()}
        for word in (part.strip() for part in rest.split(",")):
            if not word:
                continue
            if word in KINDS:
                metric["metric_type"] = word
            elif word in {"higher", "lower"}:
                metric["direction"] = word
            else:
                try:
                    metric["margin"] = float(word)
                except ValueError as error:
                    raise ValueError(
                        f"line {count}: {formats.shorten(word, 40)!r} is neither a kind ({', '.join(KINDS)}), nor "
                        " higher or lower, nor a margin"
                    ) from error
        found.append(metric)
    return found


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the design, the lines of metrics and treatments read."""
    return {
        **config,
        "treatments": formats.parse_numbers(config.get("treatments") or "") or None,
        "secondary_metrics": [_metric(m) for m in metric_lines(config.get("secondary_metrics", ""))],
        "guardrails": [_metric(m) for m in metric_lines(config.get("guardrails", ""))],
    }


def _metric(fields: Mapping[str, Any]) -> Any:
    from ab_testing import Metric

    return Metric(**fields)


def preview(config: Mapping[str, Any]) -> str:
    """Return what a design comes to before it is created, or what is wrong with it, in one sentence."""
    from ab_testing import ExperimentConfig

    try:
        design = ExperimentConfig(name="preview", **_fields(config))
    except (ValueError, TypeError) as error:
        return f"Not complete: {formats.markdown(str(error))}."
    rule = str(design.stopping).replace("_", " ")
    if design.planned_sample_size is None:
        return (
            f"No planned size: {rule}, a verdict from {design.min_sample_size:,} subjects per variant. With the "
            "smallest effect that matters and the expected baseline the size is computed."
        )
    return f"Plans {design.planned_sample_size:,} subjects per variant for a power of {design.power:g}; {rule}."


def create_test(app: ui.App, name: str, versions: tuple[str, str] | None, config: Mapping[str, Any]) -> str:
    """Create a test from the form's values, tied to versions when they were chosen; return its id.

    Raises
    ------
    ValueError
        If a version was not chosen, or the design is refused.
    """
    from ab_testing import ExperimentConfig

    fields = _fields(config)
    if versions is None:
        return app.testing.create_experiment(ExperimentConfig(name=name, **fields))
    found = [app.registry.find_version_by_id(model_id) if model_id else None for model_id in versions]
    if found[0] is None or found[1] is None:
        raise ValueError("choose a baseline and a treatment that are registered")
    pair = [(version.name, version.version) for version in found if version is not None]
    return chain.create_test_between_versions(app.testing, app.registry, name, pair[0], pair[1], **fields)


# -- size --------------------------------------------------------------------------------------------


def size_form(app: ui.App) -> None:
    """Draw the calculator: size, power or smallest effect, whichever is asked for, with the power curve."""
    with st.expander("Size a test", icon=":material/calculate:", key=f"{TAB}.size", on_change="rerun") as box:
        if not box.open:
            return

        def key(name: str) -> dict[str, Any]:
            return {"key": f"{TAB}.size.{name}", "persist_state": "page"}

        left, middle, right = st.columns(3, gap="medium")
        with left:
            wanted = st.segmented_control(
                "Compute", ["Size", "Power", "Effect"], default="Size", required=True, **key("wanted")
            )
            kind = st.selectbox("Kind of metric", list(KINDS), index=1, format_func=lambda k: f"{k}: {KINDS[k]}",
                                **key("kind"))  # fmt: skip
            base = st.number_input("Expected value of the baseline", value=0.1, format="%g", **key("base"))
            sd = (
                st.number_input("Standard deviation per subject", min_value=0.0, value=1.0, format="%g", **key("sd"))
                if kind != "binary"
                else None
            )
        with middle:
            effect = (
                st.number_input("Effect to find (absolute)", value=0.02, format="%g", **key("effect"))
                if wanted != "Effect"
                else None
            )
            n = (
                st.number_input("Subjects in the baseline", 2, 10**9, 2_000, 100, **key("n"))
                if wanted != "Size"
                else None
            )
            power = (
                st.number_input("Power", min_value=0.05, max_value=0.999, value=0.8, format="%g", **key("power"))
                if wanted != "Power"
                else None
            )
            alpha = st.number_input(
                "Significance level", min_value=0.001, max_value=0.5, value=0.05, format="%g", **key("alpha")
            )
        with right:
            alternative = st.selectbox("Alternative", ["two-sided", "greater", "less"], **key("alternative"))
            split = st.slider("Share of the treatment", 0.05, 0.95, 0.5, 0.01, **key("split"))
            treatments = st.number_input("Treatments", 1, 20, 1, **key("treatments"))
            daily = st.number_input("Subjects a day", min_value=0.0, value=None, format="%g", **key("daily"))
            sequential = st.toggle("Room for looks on the way", help="Group-sequential stopping", **key("sequential"))
        with ui.errors("size a test"):
            plan = plan_of(
                kind, base=base, sd=sd, effect=effect, n=n, power=power, alpha=alpha, alternative=alternative,
                split=split, treatments=int(treatments), daily=daily, sequential=sequential,
            )  # fmt: skip
            ui.kpis(plan_kpis(plan))
            ui.note(f"Formula: {formats.markdown(plan.formula)}.")
            from charts.ab_testing import plot_power_curve

            ui.chart(app, plot_power_curve(plan), key=f"{TAB}.power_curve")


def plan_of(
    kind: str,
    *,
    base: float | None,
    sd: float | None,
    effect: float | None,
    n: float | None,
    power: float | None,
    alpha: float,
    alternative: str,
    split: float,
    treatments: int,
    daily: float | None,
    sequential: bool,
) -> SampleSizePlan:
    """Return the plan for what the calculator was given; what is None is computed."""
    from ab_testing import calculate_sample_size

    return calculate_sample_size(
        kind,
        minimum_detectable_effect=effect,
        baseline_value=base,
        baseline_sd=sd,
        n_per_variant=None if n is None else int(n),
        power=power,
        significance_level=alpha,
        alternative=alternative,
        traffic_split=split,
        n_treatments=treatments,
        subjects_per_day=daily or None,
        stopping="group_sequential" if sequential else "fixed_horizon",
    )


def plan_kpis(plan: SampleSizePlan) -> list[tuple[str, str, str]]:
    """Return what the calculator says."""
    number = points_text if plan.metric_type == "binary" else formats.number
    cards = [
        ("Baseline", formats.whole(plan.n_baseline), "Subjects"),
        ("Each treatment", formats.whole(plan.n_treatment), "Subjects"),
        ("All", formats.whole(plan.n_total), "Subjects of all variants together"),
        ("Effect", number(abs(plan.effect)), "Smallest absolute effect found with that power"),
        ("Power", formats.percent(plan.power), "Chance of a significant result if the effect is that large"),
    ]
    if plan.days is not None:
        cards.append(("Days", formats.whole(plan.days), "Until all have arrived at the given rate"))
    return cards
