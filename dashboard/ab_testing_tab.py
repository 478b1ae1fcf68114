"""The A/B testing tab: the list of tests, the exposure and the verdict of one, its figures, and the size of the next.

`build_view` reads the list, `build_test_view` one test; `render` draws them. The list shows every running test as it
was at the last look: opening a test is a look, and is stored as one. What is drawn of one test, the forms and the
dialogs are in `dashboard.ab_testing_details`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

import streamlit as st

from dashboard import components as ui
from dashboard import first_visit, formats

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import ABTestingFramework, Experiment, ExperimentAnalysis, Exposure, Look, VariantComparison

__all__ = [
    "ABTestingView",
    "Choices",
    "TestView",
    "build_test_view",
    "build_view",
    "remembered",
    "render",
    "unseen_analysis",
    "unseen_exposure",
]

T = TypeVar("T")
TAB = "ab_testing"
PAGER = f"{TAB}.page"
STATUSES = ("Running", "Paused", "Concluded", "Archived")
PAGE_TESTS = 50  # rows of the list that are read at once, each with its last look
REMEMBERED_SECONDS = 60.0  # how long what was read of a test may be shown again while nothing was written
UNSEEN = "not looked at yet"
MAX_CHECKED = 10  # running tests without a look whose exposure is checked

SPENDING_TEXT = {
    "obrien_fleming": "O’Brien-Fleming",
    "pocock": "Pocock",
    "hwang_shih_decani": "Hwang-Shih-DeCani",
    "power": "power family",
}
CORRECTION_TEXT = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "hochberg": "Hochberg",
    "bh": "Benjamini-Hochberg (false discovery rate)",
    "by": "Benjamini-Yekutieli (false discovery rate)",
    "none": "None",
}
STATUS_TEXT = {
    "running": "▶ running",
    "paused": "❚❚ paused",
    "concluded": "■ concluded",
    "archived": "□ archived",
}
DECISION_TEXT = {
    "invalid": "✗ invalid",
    "insufficient_data": "– not enough data",
    "keep_running": "▶ keep running",
    "ship": "✓ ship",
    "keep_baseline": "■ keep the baseline",
    "stop_futile": "■ stop, futile",
    "too_small": "≈ too small to matter",
    "inconclusive": "? inconclusive",
}
DECISION_LOOK = {  # icon and colour of the verdict
    "invalid": (":material/block:", "red"),
    "insufficient_data": (":material/hourglass_empty:", "gray"),
    "keep_running": (":material/play_circle:", "blue"),
    "ship": (":material/check_circle:", "green"),
    "keep_baseline": (":material/undo:", "orange"),
    "stop_futile": (":material/stop_circle:", "orange"),
    "too_small": (":material/density_small:", "orange"),
    "inconclusive": (":material/help:", "gray"),
}
OUTCOME_TEXT = {  # of a look; of several treatments the first of these is the one that the list names
    "stop_success": "✓ success",
    "continue": "▶ keep running",
    "stop_final": "■ planned size reached",
    "stop_futile": "■ futile",
    "stop_harm": "■ harm",
}

EMPTY = (
    "**Every A/B test of your models appears here**: who was exposed to what, whether the split held, the effect with "
    "its interval, and one recommendation that survives looking at it every day."
)
SNIPPET = """
from ab_testing import ABTestingFramework, ExperimentConfig
testing = ABTestingFramework()
design = ExperimentConfig(name="v2 against v1", metric_name="accuracy")
exp_id = testing.create_experiment(design)
testing.record_event(exp_id, "user-7", 0.93)
"""


# -- the view ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the reader chose.

    Attributes
    ----------
    text : str
        Part of a name, metric, model, owner or namespace.
    status : str or None
        One of `STATUSES`; None is all but the archived.
    offset, limit : int
        Which rows.
    """

    text: str = ""
    status: str | None = None
    offset: int = 0
    limit: int = PAGE_TESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ABTestingView:
    """What the upper part of the screen shows.

    Attributes
    ----------
    kpis : tuple of (label, value, meaning)
    n_all, n_found : int
        Tests, and those that match.
    frame : DataFrame
        A row a test.
    ids : tuple of str
        The test of each row.
    """

    kpis: tuple[tuple[str, str, str], ...]
    n_all: int
    n_found: int
    frame: pd.DataFrame
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestView:
    """What is shown of one test.

    Attributes
    ----------
    experiment : Experiment
    analysis : ExperimentAnalysis
    exposure : DataFrame
        A row a variant: planned and observed share, assigned, with data.
    split : str
        What the test of the split says, in one sentence.
    is_blocked : bool
        Whether results must not be shown.
    verdict, reason : str
        The recommendation or what was decided, in a few words; the sentence that says why.
    progress : str
        Where the test stands: look, information, days left.
    results : DataFrame
        A row a metric and treatment; empty when blocked.
    """

    experiment: Experiment
    analysis: ExperimentAnalysis
    exposure: pd.DataFrame
    split: str
    is_blocked: bool
    verdict: str
    reason: str
    progress: str
    results: pd.DataFrame


def build_view(
    testing: ABTestingFramework,
    choices: Choices,
    now: datetime | None = None,
    check: Callable[[str], Exposure | None] | None = None,
) -> ABTestingView:
    """Read the list of tests for these choices.

    `check` counts who is in a test nobody has looked at yet; it returns None where that is about to be shown anyway.
    """
    now = now or datetime.now(UTC)
    listed = testing.list_experiments()
    archived = testing.list_experiments(status="archived") if choices.status == "Archived" else []
    found = [test for test in archived or listed if _matches(test, choices)]
    if choices.status == "Archived" and not archived:
        found = []
    start = choices.offset if choices.offset < len(found) else 0
    page = found[start : start + choices.limit]
    return ABTestingView(
        kpis=_kpis(listed),
        n_all=len(archived) if choices.status == "Archived" else len(listed),
        n_found=len(found),
        frame=list_frame(testing, page, now, check),
        ids=tuple(test.exp_id for test in page),
    )


def _matches(test: Experiment, choices: Choices) -> bool:
    config = test.config
    models = [config.baseline_model, config.treatment_model, *(config.treatments or ())]
    words = " ".join([test.name, config.metric_name, *models, config.owner, config.namespace or ""])
    return choices.text.casefold() in words.casefold() and choices.status in {None, test.status.capitalize()}


def _kpis(listed: Sequence[Experiment]) -> tuple[tuple[str, str, str], ...]:
    by_status = {status: sum(test.status == status for test in listed) for status in STATUS_TEXT}
    shipped = sum(test.decision == "ship" for test in listed)
    decided = by_status["concluded"]
    return (
        ("Running", formats.whole(by_status["running"]), "Tests that take new subjects"),
        ("Paused", formats.whole(by_status["paused"]), "Tests that assign and record nothing for now"),
        ("Concluded", formats.whole(decided), "Tests with a recorded decision"),
        (
            "Shipped",
            f"{shipped} of {decided}" if decided else formats.DASH,
            "Concluded tests whose treatment was the better one",
        ),
    )


def list_frame(
    testing: ABTestingFramework,
    tests: Sequence[Experiment],
    now: datetime,
    check: Callable[[str], Exposure | None] | None = None,
) -> pd.DataFrame:
    """Return a row a test; results are those of the conclusion, or of the last look."""
    import pandas as pd

    check = check or testing.check_exposure
    rows, n_checked = [], 0
    for test in tests:
        looks = testing.looks(test.exp_id) if test.evidence is None else []
        if test.evidence is not None:
            result = _row_of_evidence(test)
        elif looks:
            result = _row_of_looks(test, looks)
        else:
            result = _row_of_unseen(test, check if n_checked < MAX_CHECKED else None)
            n_checked += 1
        rows.append(_row_of_design(test, now) | result)
    columns = [
        "Test", "Status", "Verdict", "Subjects", "Days", "Effect", "Lift", "Metric", "Baseline", "Treatment",
        "Seen (UTC)",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns)
    frame["Lift"] = frame["Lift"].astype("float64")
    frame["Days"] = frame["Days"].astype("float64")
    frame["Subjects"] = frame["Subjects"].astype("Int64")
    frame["Seen (UTC)"] = pd.to_datetime(frame["Seen (UTC)"], utc=True)
    return frame


def _row_of_design(test: Experiment, now: datetime) -> dict[str, Any]:
    return {
        "Test": test.name,
        "Status": STATUS_TEXT.get(test.status, test.status),
        "Baseline": test.config.baseline_model,
        "Treatment": test.config.treatment_model if test.config.treatments is None else "several",
        "Metric": test.config.metric_name,
        "Effect": "",
        "Days": ((test.ended_at or now) - test.created_at).total_seconds() / 86_400,
    }


def _row_of_unseen(test: Experiment, check: Callable[[str], Exposure | None] | None) -> dict[str, Any]:
    """Return what may be said of a test nobody has looked at: who is in it, and no result."""
    exposure = None if check is None else check(test.exp_id)
    if exposure is None:
        return {"Verdict": UNSEEN if check is None else "opened now"}
    return {
        "Subjects": sum(exposure.n_assigned.values()),
        "Verdict": DECISION_TEXT["invalid"] if exposure.problems else UNSEEN,  # a broken split is no result
    }


def _row_of_evidence(test: Experiment) -> dict[str, Any]:
    evidence: Mapping[str, Any] = test.evidence or {}
    lift = evidence.get("relative_effect")
    return {
        "Subjects": sum(evidence.get("n_subjects", {}).values()),
        "Effect": "" if evidence.get("status") == "invalid" else _effect_text(test, evidence.get("effect")),
        "Lift": None if lift is None or evidence.get("status") == "invalid" else 100 * lift,
        "Verdict": DECISION_TEXT.get(test.decision or "", test.decision or ""),
        "Seen (UTC)": test.ended_at,
    }


def _row_of_looks(test: Experiment, looks: Sequence[Look]) -> dict[str, Any]:
    """Return what the last look saw; of several treatments it names the one that stands best."""
    last = [look for look in looks if look.number == looks[-1].number]
    sign = 1 if test.config.direction == "higher" else -1
    best = min(last, key=lambda look: (list(OUTCOME_TEXT).index(look.outcome), -sign * look.z))
    name = "" if len(last) == 1 else f": {best.variant}"
    return {
        "Subjects": best.n_baseline + sum(look.n_treatment for look in last),
        "Effect": _effect_text(test, best.effect),
        "Lift": _lift_of_look(test, best),
        "Verdict": f"{OUTCOME_TEXT[best.outcome]}{name}",
        "Seen (UTC)": best.at,
    }


def _effect_text(test: Experiment, effect: float | None) -> str:
    number = points_text if test.config.unit == "%" else formats.number
    return "" if effect is None else _with_sign(effect, number)


def _lift_of_look(test: Experiment, look: Look) -> float | None:
    """Return the lift of a look in percent of the planned baseline value, which is all a look knows of the baseline."""
    base = test.config.baseline_value
    return None if not base else 100 * look.effect / abs(base)


def build_test_view(
    testing: ABTestingFramework, exp_id: str, *, record_look: bool = True, segment: str | None = None
) -> TestView:
    """Read one test. While it runs this is a look, stored as such when there were new data.

    Parameters
    ----------
    segment : str or None
        A text attribute of the subjects: results are also given by its values.

    Raises
    ------
    NotFoundError
        If there is no such test.
    """
    analysis = testing.analyze_experiment(exp_id, record_look=record_look, segment=segment)
    experiment = testing.get_experiment(exp_id)
    blocked = analysis.status == "invalid"
    verdict, reason = verdict_words(experiment, analysis)
    return TestView(
        experiment=experiment,
        analysis=analysis,
        exposure=exposure_frame(experiment, analysis),
        split=split_sentence(analysis),
        is_blocked=blocked,
        verdict=verdict,
        reason=reason,
        progress=progress_sentence(analysis),
        results=results_frame([] if blocked else analysis.comparisons, analysis),
    )


def exposure_frame(experiment: Experiment, analysis: ExperimentAnalysis) -> pd.DataFrame:
    """Return a row a variant: what was planned, who was assigned, who has data."""
    import pandas as pd

    total = sum(analysis.n_assigned.values())
    shares = experiment.phases[-1]["shares"] if experiment.phases else {}
    # After a change of the split the counts are of all phases, the plan is of the present one.
    planned, observed = ("Planned", "Observed")
    if len(experiment.phases) > 1:
        planned, observed = f"Planned, phase {experiment.phase}", "Observed, all phases"
    rows = [
        {
            "Variant": variant if model == variant else f"{variant}: {model}",
            planned: 100 * float(shares.get(variant, 0.0)),
            observed: 100 * assigned / total if total else None,
            "Assigned": assigned,
            "With data": analysis.n_subjects.get(variant, 0),
            "Without data": 100 * (1 - analysis.n_subjects.get(variant, 0) / assigned) if assigned else None,
        }
        for (variant, assigned), model in zip(analysis.n_assigned.items(), _models(experiment), strict=True)
    ]
    frame = pd.DataFrame(rows)
    for column in (planned, observed, "Without data"):
        frame[column] = frame[column].astype("float64")
    return frame


def _models(experiment: Experiment) -> list[str]:
    """Return the model behind each variant; several treatments are named after theirs."""
    config = experiment.config
    rivals = [config.treatment_model] if config.treatments is None else config.variants[1:]
    return [config.baseline_model, *rivals]


def split_sentence(analysis: ExperimentAnalysis) -> str:
    """Return what the test of the split says, before any result is read."""
    if not sum(analysis.n_assigned.values()):
        return "Nobody was assigned yet."
    if analysis.status == "invalid":
        return analysis.recommendation
    if analysis.srm_p_value is None:
        return "The split cannot be tested: only one variant has a share."
    return (
        f"The split is as planned (sample ratio test, {p_equals(analysis.srm_p_value)}; below 0.001 it would "
        f"block the verdict), and nobody is in two variants."
    )


def verdict_words(experiment: Experiment, analysis: ExperimentAnalysis) -> tuple[str, str]:
    """Return the verdict in a few words, and the sentence that says why; of a decision also who made it, and when."""
    if experiment.decision is None:
        words = _decision_words(analysis.decision)
        head, _, rest = analysis.recommendation.partition(": ")
        # "Ship treatment: ...": said once, as the heading.
        head, rest = (head, rest) if rest and head.startswith(words) else (words, analysis.recommendation)
        is_name = rest.startswith(analysis.metric)  # said as it is written
        return head, rest if is_name else f"{rest[:1].upper()}{rest[1:]}"
    who = f" by {experiment.decided_by}" if experiment.decided_by else ""
    when = f" on {experiment.ended_at:%Y-%m-%d}" if experiment.ended_at else ""
    reason = (experiment.decision_reason or "").strip()
    return _decision_words(experiment.decision), f"Decided{when}{who}. {reason}".strip()


def _decision_words(code: str) -> str:
    """Return what a decision is called where no mark stands before it."""
    return DECISION_TEXT.get(code, code).split(" ", 1)[-1].capitalize()


def progress_sentence(analysis: ExperimentAnalysis) -> str:
    """Return where a test stands, in words."""
    smallest = min(analysis.n_subjects.values(), default=0)
    size = f"{smallest:,} of {analysis.n_needed:,} subjects in the smallest variant"
    is_said = size in analysis.recommendation  # with the days that are left
    if smallest >= analysis.n_needed:
        size = f"{smallest:,} subjects in the smallest variant, {analysis.n_needed:,} were needed"
    parts = [] if is_said else [size]
    fraction = analysis.stopping.information_fraction
    if fraction is not None:
        reached = "the planned size is reached"
        parts.append(reached if fraction >= 1 else f"{formats.percent(fraction)} of the planned information")
    days = analysis.days_left or 0.0
    if not is_said and analysis.experiment_status == "running" and days > 0:
        parts.append(f"about {formats.plural(max(1, round(days)), 'day')} left at the present rate")
    looks = len({look.number for look in analysis.looks})
    parts.append(f"{formats.plural(looks, 'look')} so far" if looks else "no look yet")
    rules = {
        "group_sequential": "group-sequential stopping: may end early at any look",
        "always_valid": "always-valid intervals: may end at any time",
        "fixed_horizon": "fixed horizon: the verdict comes at the planned size",
    }
    parts.append(rules.get(analysis.stopping.rule, analysis.stopping.rule))
    words = " · ".join(parts)
    return words[:1].upper() + words[1:]


def results_frame(comparisons: Sequence[VariantComparison], analysis: ExperimentAnalysis) -> pd.DataFrame:
    """Return a row a comparison, its numbers as finished text: metrics of one table differ in unit and size."""
    import pandas as pd

    level = formats.percent(1 - analysis.significance_level)
    columns = [
        "Metric", "Role", "Variant", "n", "Baseline", "Treatment", "Difference", f"{level} interval", "Lift",
        f"{level} interval of the lift", "p", "p adjusted", "Chance to be better", "Test", "Notes",
    ]  # fmt: skip
    rows = []
    for item in comparisons:
        is_rate = item.metric_type == "binary"
        number, difference = (formats.percent, points_text) if is_rate else (formats.number, formats.number)
        rows.append(
            [
                item.metric if item.segment is None else f"{item.metric}, {item.segment}",
                _role_text(item),
                item.variant,
                f"{item.n_baseline:,} / {item.n_treatment:,}",
                number(item.baseline),
                number(item.treatment),
                _with_sign(item.effect, difference),
                _interval(item.ci_lower, item.ci_upper, difference),
                formats.percent(item.relative_effect, sign=True),
                _interval(item.relative_ci_lower, item.relative_ci_upper, formats.percent),
                p_text(item.p_value),
                p_text(item.p_adjusted),
                chance_text(item.chance_to_beat),
                item.method,
                "; ".join([*([item.reason] if item.reason else []), *item.notes]),
            ]
        )
    frame = pd.DataFrame(rows, columns=columns)
    if (frame["p"] == frame["p adjusted"]).all():
        frame = frame.drop(columns="p adjusted")
    return frame if len(analysis.n_assigned) > 2 else frame.drop(columns="Variant")


def _role_text(item: VariantComparison) -> str:
    """Return the part a metric plays, with the state of a guardrail; one without data is not safe."""
    if item.guardrail_status is None:
        return item.role
    has_data = min(item.n_baseline, item.n_treatment) > 0
    return f"{item.role}: {item.guardrail_status if has_data else 'no data'}"


def points_text(value: float | None) -> str:
    """Return a difference of rates in percentage points, which are not percent: 0.02 is `2 pp`."""
    return formats.number(None if value is None else 100 * value, "" if value is None else "pp")


def chance_text(share: float | None) -> str:
    """Return a probability in percent; one that rounds to certainty is a bound: `> 99.9 %`."""
    if share is not None and not 0.001 <= share <= 0.999:
        return "> 99.9 %" if share > 0.5 else "< 0.1 %"
    return formats.percent(share)


def _with_sign(value: float | None, number: Any) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value > 0 else str(text)


def _interval(lower: float | None, upper: float | None, number: Any) -> str:
    if lower is None and upper is None:
        return formats.DASH
    low, high = str(number(lower)), str(number(upper))
    unit = low.rpartition(" ")[1:]  # named once: "0.5 to 2 pp"
    return f"{low.removesuffix(''.join(unit)) if high.endswith(''.join(unit)) else low} to {high}"


def p_text(value: float | None) -> str:
    """Return a p-value as people print it: small ones as a bound."""
    if value is None:
        return formats.DASH
    return "< 0.0001" if value < 0.0001 else formats.number(value)


def p_equals(value: float | None) -> str:
    """Return a p-value within a sentence: `p = 0.031`, `p < 0.0001`.

    >>> p_equals(0.03), p_equals(1e-9)
    ('p = 0.0300', 'p < 0.0001')
    """
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


# -- drawing -----------------------------------------------------------------------------------------


def remembered(what: tuple[Any, ...], read: Callable[[], T], token_after: Callable[[], str] | None = None) -> T:
    """Return what `read` returned for the same ids while the store has not changed; a minute at most.

    Going from section to section of a test with a million subjects then reads it once, not each time. The key is of
    ids and the change token of the store that the header took before anything was read. Where `read` itself writes (a
    look), `token_after` gives the token that stands then: its own write does not make it read everything again.
    """
    token, now = st.session_state.get("ui.token"), time.monotonic()
    kept = st.session_state.get(f"{TAB}.remembered")
    if kept is None or kept[0] != token or now - kept[1] > REMEMBERED_SECONDS:
        kept = (token, now, {})
        st.session_state[f"{TAB}.remembered"] = kept
    found: dict[tuple[Any, ...], T] = kept[2]
    if what not in found:
        found[what] = read()
        after = token if token_after is None else token_after()
        if after != token:  # what else was read is older, and forgotten
            st.session_state[f"{TAB}.remembered"] = (after, now, {what: found[what]})
    return found[what]


def _remembered_now() -> dict[tuple[Any, ...], Any]:
    """Return what is remembered of the store as it stands."""
    kept = st.session_state.get(f"{TAB}.remembered")
    return kept[2] if kept and kept[0] == st.session_state.get("ui.token") else {}


def unseen_analysis(app: ui.App, exp_id: str) -> ExperimentAnalysis:
    """Return the analysis of a test for something that is no look at its results: the one on the page, if it stands."""
    shown: TestView | None = _remembered_now().get(("test", exp_id, None))
    if shown is not None:
        return shown.analysis
    return remembered(("unseen", exp_id), lambda: app.testing.analyze_experiment(exp_id, record_look=False))


@overload
def unseen_exposure(app: ui.App, exp_id: str) -> Exposure: ...


@overload
def unseen_exposure(app: ui.App, exp_id: str, *, only_remembered: bool) -> Exposure | None: ...


def unseen_exposure(app: ui.App, exp_id: str, *, only_remembered: bool = False) -> Exposure | None:
    """Return who is in a test, which is no look at its results; remembered, and None if only that is wanted."""
    if only_remembered:
        return _remembered_now().get(("exposure", exp_id))
    return remembered(("exposure", exp_id), lambda: app.testing.check_exposure(exp_id))


def render(app: ui.App) -> None:
    """Draw the tab."""
    from dashboard import ab_testing_details as details
    from dashboard import ab_testing_forms as forms
    from dashboard.ab_testing_dialogs import dialogs
    from dashboard.ab_testing_simulation import simulation_form

    chosen = next(iter(ui.selected("test")), None)
    with ui.part("Tests"):
        _draw_list(app, chosen)
    if chosen is not None:
        with ui.part("Test"):
            details.render_test(app, chosen)
    for where, draw in (
        ("Create a test", forms.create_form), ("Size a test", forms.size_form), ("Simulate a design", simulation_form),
        ("Dialog", dialogs),
    ):  # fmt: skip
        with ui.part(where):
            draw(app)


def _draw_list(app: ui.App, chosen: str | None) -> None:
    if not (app.testing.list_experiments() or app.testing.list_experiments(status="archived")):
        ui.empty_state(app, EMPTY, SNIPPET, key=f"{TAB}.load_examples")
        return
    choices, widgets = _read_choices()
    # The open test is counted below, with its results: counting a million subjects twice takes a tenth of a second.
    view = build_view(
        app.testing, choices,
        check=lambda exp_id: unseen_exposure(app, exp_id, only_remembered=exp_id == chosen),
    )  # fmt: skip
    # The table is what people came for: it is sent first, into its place below what is drawn after it.
    with first_visit.above_the_table(TAB):
        numbers, filters, bar = st.container(), st.container(), st.container()
    with st.container():
        _draw_table(view)
    with filters, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Search", placeholder="Name, metric, model or owner", **widgets["search"])
        st.pills("Status", STATUSES, **widgets["status"])
    with bar, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"**{formats.count_of(view.n_found, view.n_all, 'test')}**", width="stretch")
        if chosen is not None:
            st.button("Close the test", key=f"{TAB}.clear", on_click=ui.select, args=("test", []),
                      icon=":material/close:")  # fmt: skip
        every = replace(choices, offset=0, limit=view.n_found)
        ui.csv_download(lambda: build_view(app.testing, every).frame, "tests.csv", key=f"{TAB}.csv")
    with numbers:
        ui.kpis(view.kpis)
    if chosen is None and view.ids:
        ui.note("Select a test for its exposure, results and figures. While it runs, opening it is a look.")


def _read_choices() -> tuple[Choices, dict[str, dict[str, Any]]]:
    """Return what the reader has chosen, and by name the arguments of the filters that are drawn afterwards."""
    widgets = {
        "search": ui.in_url(f"{TAB}.search", default="", pager=PAGER),
        "status": ui.in_url(f"{TAB}.status", default=None, options=[*STATUSES, None], pager=PAGER),
    }
    choices = Choices(
        text=st.session_state[f"{TAB}.search"] or "",
        status=st.session_state[f"{TAB}.status"],
        offset=ui.page_offset(PAGER, rows=PAGE_TESTS),
        limit=PAGE_TESTS,
    )
    return choices, widgets


def _draw_table(view: ABTestingView) -> None:
    if not view.ids:
        ui.note("No test matches. Change the search or the status.")
        return
    config: dict[str, Any] = {
        "Test": st.column_config.TextColumn(width=205),
        "Verdict": st.column_config.TextColumn(
            width=145, help="Recorded at the conclusion; while a test runs, what its last look said of the main metric"
        ),
        "Subjects": st.column_config.NumberColumn(format="localized", help="At the last look, or at the conclusion"),
        "Days": st.column_config.NumberColumn(format="%.1f", help="Since the test was created, or until it ended"),
        "Effect": st.column_config.TextColumn(
            width=80, alignment="right", help="Treatment minus baseline, at the last look or at the conclusion"
        ),
        "Lift": st.column_config.NumberColumn(
            width=80,
            format="%+.2f %%",
            help="At the conclusion; while it runs, at the last look and by the planned baseline",
        ),
        "Seen (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC", help="The last look"),
    }
    ui.table(
        view.frame, view.ids, key=f"{TAB}.table", name="test", alt="A/B tests", columns=config, multiple=False,
        rows_shown=8,
    )  # fmt: skip
    ui.page(view.n_found, key=PAGER, rows=PAGE_TESTS)
