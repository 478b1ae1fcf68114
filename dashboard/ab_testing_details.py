"""One A/B test in the dashboard: exposure before results, verdict, figures, design, and what can be done with it.

Every dialog acts on the id it was opened with, and names the test.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import formats, uploads
from dashboard.ab_testing_tab import (
    DECISION_LOOK,
    DECISION_TEXT,
    OUTCOME_TEXT,
    STATUS_TEXT,
    TAB,
    TestView,
    build_test_view,
    p_text,
    points_text,
)

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import Experiment, ExperimentAnalysis, Metric

__all__ = ["dialogs", "events_from_table", "render_test"]

SECTIONS = ("Results", "Over time", "Distribution", "Design")
SCALES = ("Lift", "Difference")
EVENT_TEXT_COLUMNS = ("user_id", "event_id", "variant", "metric")
EVENT_NUMBERS = ("value", "denominator")


# -- one test ----------------------------------------------------------------------------------------


def render_test(app: ui.App, exp_id: str) -> None:
    """Draw a test: exposure first, then the verdict, then results and figures unless the exposure forbids them."""
    view = build_test_view(app.testing, exp_id)
    test, analysis = view.experiment, view.analysis
    with st.container(border=True):
        status = STATUS_TEXT.get(test.status, test.status)
        st.markdown(f"#### {formats.markdown(test.name)}&ensp;:gray[{status}]")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _draw_links(app, test)
        _draw_exposure(view)
        _draw_verdict(view)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _draw_actions(app, view)
        section = st.segmented_control(
            "Show", SECTIONS, required=True, label_visibility="collapsed",
            **ui.in_url(f"{TAB}.section", default=SECTIONS[0], options=SECTIONS),
        )  # fmt: skip
        if section == "Design":
            _draw_design(app, test)
        elif view.is_blocked:
            ui.note("Results are withheld: an effect measured on a broken split or on mixed subjects means nothing.")
        elif section == "Results":
            _draw_results(app, view)
        elif section == "Over time":
            _draw_over_time(app, test, analysis)
        else:
            _draw_distribution(app, test)


def _draw_links(app: ui.App, test: Experiment) -> None:
    """Draw one click to the versions that are compared, and to the monitoring of the one in production."""
    links = chain.links_of_test(app.database, test.exp_id)
    if not links:
        models = (
            f"{formats.markdown(test.config.baseline_model)} against {formats.markdown(test.config.treatment_model)}"
        )
        ui.note(f"{models}: not tied to registered versions.")
    for link in links:
        words = f"{link.relation.capitalize()} {formats.markdown(formats.shorten(link.label, 40))}"
        ui.jump_button(words, f"{TAB}.link.{link.kind}.{link.id}", link.tab, link.url_name, [link.id])
        for found in chain.links_of_version(app.database, link.id):
            if found.kind in {"run", "watch"}:
                verb = "Run of the" if found.kind == "run" else "Monitoring of the"
                ui.jump_button(
                    f"{verb} {link.relation}",
                    f"{TAB}.link.{link.id}.{found.kind}",
                    found.tab,
                    found.url_name,
                    [found.id],
                )


def _draw_exposure(view: TestView) -> None:
    st.markdown("**Exposure**")
    icon, color = (":material/block:", "red") if view.is_blocked else (":material/balance:", "gray")
    st.markdown(f":{color}[{icon}] {formats.markdown(view.split)}")
    st.dataframe(
        view.exposure, hide_index=True, key=f"{TAB}.exposure", alt="Exposure by variant",
        column_config={
            "Planned share": st.column_config.NumberColumn(format="%.1f %%"),
            "Observed share": st.column_config.NumberColumn(format="%.1f %%"),
            "Assigned": st.column_config.NumberColumn(format="localized", help="Subjects"),
            "With data": st.column_config.NumberColumn(format="localized", help="Subjects with a value of the metric"),
            "Without data": st.column_config.NumberColumn(format="%.1f %%", help="Share of the assigned"),
        },
    )  # fmt: skip


def _draw_verdict(view: TestView) -> None:
    code = view.experiment.decision or view.analysis.decision
    icon, color = DECISION_LOOK.get(code, DECISION_LOOK["inconclusive"])
    words = DECISION_TEXT.get(code, code).split(" ", 1)[-1].capitalize()
    label = "Decision" if view.experiment.decision else "Verdict"
    st.markdown(f"**{label}**")
    st.markdown(f"##### :{color}[{icon} {words}]")
    if not view.is_blocked or view.experiment.decision:
        st.markdown(formats.markdown(view.verdict))
    if not view.is_blocked:
        ui.note(view.progress)
        for warning in view.analysis.warnings:
            st.caption(f":material/warning: {formats.markdown(warning[:1].upper() + warning[1:])}.")


def _draw_actions(app: ui.App, view: TestView) -> None:
    test = view.experiment
    of = {"exp_id": test.exp_id}
    running, ended = test.status == "running", test.status in {"concluded", "archived"}
    busy = not app.can_edit
    _open("Record an event", "event", of, ":material/add:", disabled=busy or not running)
    _open("Upload events", "upload", of, ":material/upload:", disabled=busy or not running)
    if running:
        st.button("Pause", key=f"{TAB}.pause", icon=":material/pause:", disabled=busy,
                  on_click=_move, args=(app, test.exp_id, "pause", test.name))  # fmt: skip
    elif test.status == "paused":
        st.button("Resume", key=f"{TAB}.resume", icon=":material/play_arrow:", disabled=busy,
                  on_click=_move, args=(app, test.exp_id, "resume", test.name))  # fmt: skip
    if not ended:
        _open("New phase", "phase", of, ":material/tune:", disabled=busy)
        _open("Conclude", "conclude", of, ":material/flag:", disabled=busy)
    elif test.status == "concluded":
        if test.baseline_version_id or test.treatment_version_id:
            _open("Promote the winner", "promote", of, ":material/rocket_launch:",
                  disabled=busy or chain.winner_of(test.decision) is None)  # fmt: skip
        _open("Archive", "archive", of, ":material/archive:", disabled=busy)
    with st.popover("Export", icon=":material/download:", key=f"{TAB}.export"):
        _downloads(app, view)


def _open(label: str, name: str, payload: dict[str, Any], icon: str, *, disabled: bool) -> None:
    st.button(label, key=f"{TAB}.{name}.open", icon=icon, disabled=disabled, on_click=ui.open_dialog,
              args=(f"{TAB}.{name}",), kwargs=payload)  # fmt: skip


def _move(app: ui.App, exp_id: str, verb: str, name: str) -> None:
    with ui.errors(f"{verb} test"):
        getattr(app.testing, verb)(exp_id, reason=f"{verb}d by {app.actor}")
        ui.flash(f"{verb.capitalize()}d {formats.markdown(name)}")


def _downloads(app: ui.App, view: TestView) -> None:
    analysis = view.analysis
    if view.is_blocked:
        ui.note("Results are withheld; the report says why.")

    def report() -> bytes:
        from charts.ab_testing import report_html

        points = [] if view.is_blocked else app.testing.daily_series(view.experiment.exp_id)
        return report_html(analysis, points).encode("utf-8", "replace")

    stem = "".join(c if (c.isalnum() and c.isascii()) or c in "-_." else "-" for c in analysis.name)[:80].strip("-.")
    st.download_button(
        "Report (HTML)", data=report, file_name=f"ab-test-{stem or 'report'}.html", mime="text/html",
        key=f"{TAB}.report_html", icon=":material/description:", on_click="ignore", width="stretch",
        help="One page with all figures; opens anywhere, asks no other host",
    )  # fmt: skip
    if not view.is_blocked:
        ui.csv_download(analysis.to_frame, f"ab-test-{stem or 'results'}.csv", key=f"{TAB}.results_csv",
                        label="Results (CSV)")  # fmt: skip


# -- sections ----------------------------------------------------------------------------------------


def _draw_results(app: ui.App, view: TestView) -> None:
    left = {"Metric", "Role", "Variant", "Test", "Notes"}
    one_look = "Right for one planned look; the verdict uses an interval that stays right over all looks"
    config: dict[str, Any] = {
        name: st.column_config.TextColumn(alignment="right", help=one_look if "interval" in name else None)
        for name in view.results.columns
        if name not in left
    }
    config |= {
        "Metric": st.column_config.TextColumn(width="small"),
        "n": st.column_config.TextColumn(help="Subjects of baseline / treatment", alignment="right"),
        "Chance to be better": st.column_config.TextColumn(
            help="Bayesian, with flat priors; beside the verdict", alignment="right"
        ),
        "Notes": st.column_config.TextColumn(width="large"),
    }
    st.dataframe(
        view.results, hide_index=True, key=f"{TAB}.results", column_config=config,
        alt="Results by metric and treatment",
    )  # fmt: skip
    scale = st.segmented_control(
        "Scale", SCALES, required=True, **ui.in_url(f"{TAB}.scale", default=SCALES[0], options=SCALES)
    )
    from charts.ab_testing import plot_forest

    ui.chart(app, plot_forest(view.analysis, relative=scale == "Lift"), key=f"{TAB}.forest.{scale}")


def _draw_over_time(app: ui.App, test: Experiment, analysis: ExperimentAnalysis) -> None:
    metrics = [metric.name for metric in test.config.metrics]
    treatments = list(test.config.variants[1:])
    metric, variant = metrics[0], treatments[0]
    if len(metrics) > 1 or len(treatments) > 1:
        with st.container(horizontal=True, gap="small"):
            if len(metrics) > 1:
                metric = st.selectbox(
                    "Metric", metrics, width=260, **ui.in_url(f"{TAB}.metric", default=metric, options=metrics)
                )
            if len(treatments) > 1:
                variant = st.selectbox(
                    "Treatment", treatments, width=260,
                    **ui.in_url(f"{TAB}.variant", default=variant, options=treatments),
                )  # fmt: skip
    points = app.testing.daily_series(test.exp_id, metric=metric, variant=variant)
    from charts.ab_testing import plot_cumulative_effect, plot_looks

    ui.chart(app, plot_cumulative_effect(points, metric=metric), key=f"{TAB}.cumulative")
    ui.note(
        "The band is a confidence sequence: it may be read every day. The dotted line is the interval of one planned "
        "look; stopping when it leaves zero would promise far fewer false alarms than it keeps."
    )
    ui.chart(app, plot_looks(analysis), key=f"{TAB}.looks_chart")
    frame = looks_frame(analysis)
    if len(frame):
        st.markdown(f"**{formats.plural(len(frame), 'look')}**, the newest first")
        st.dataframe(
            frame, hide_index=True, key=f"{TAB}.looks", alt="Stored looks",
            column_config={
                "Time (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
                "Information": st.column_config.NumberColumn(format="%.1f %%", help="Share of the plan"),
                "z": st.column_config.NumberColumn(format="%+.2f"),
                "Boundary": st.column_config.NumberColumn(format="%.2f", help="What |z| needed at this look"),
                "Subjects": st.column_config.NumberColumn(format="localized"),
            },
        )  # fmt: skip


def looks_frame(analysis: ExperimentAnalysis) -> pd.DataFrame:
    """Return a row a stored look, the newest first."""
    import pandas as pd

    looks = [*analysis.looks][::-1]
    return pd.DataFrame(
        {
            "Look": [look.number for look in looks],
            "Time (UTC)": pd.to_datetime([look.at for look in looks], utc=True),
            "Treatment": [look.variant for look in looks],
            "Subjects": [look.n_baseline + look.n_treatment for look in looks],
            "Information": pd.Series(
                [None if look.information_fraction is None else 100 * look.information_fraction for look in looks],
                dtype="float64",
            ),
            "z": pd.Series([look.z for look in looks], dtype="float64"),
            "Boundary": pd.Series([look.boundary for look in looks], dtype="float64"),
            "p": [p_text(look.p_value) for look in looks],
            "Outcome": [OUTCOME_TEXT.get(look.outcome, look.outcome) for look in looks],
        }
    )


def _draw_distribution(app: ui.App, test: Experiment) -> None:
    metrics = [metric.name for metric in test.config.metrics]
    metric = metrics[0]
    if len(metrics) > 1:
        metric = st.selectbox(
            "Metric", metrics, width=260, **ui.in_url(f"{TAB}.metric", default=metric, options=metrics)
        )
    from charts.ab_testing import plot_distribution

    ui.chart(app, plot_distribution(app.testing.distribution(test.exp_id, metric=metric), metric=metric),
             key=f"{TAB}.distribution")  # fmt: skip


def _draw_design(app: ui.App, test: Experiment) -> None:
    left, right = st.columns(2, gap="medium")
    rows = design_facts(test)
    half = -(-len(rows) // 2)
    with left:
        ui.facts({label: formats.markdown(value) for label, value in rows[:half]})
    with right:
        ui.facts({label: formats.markdown(value) for label, value in rows[half:]})
    if len(test.phases) > 1:
        st.markdown(f"**{formats.plural(len(test.phases), 'phase')}**: results are compared within each, never pooled")
        st.dataframe(phases_frame(test), hide_index=True, key=f"{TAB}.phases", alt="Phases")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        subject = st.text_input("Who gets what", placeholder="A user id", key=f"{TAB}.whose", width=260)
        if subject:
            variant = app.testing.assign(test.exp_id, subject, store=False)
            words = "takes no part" if variant is None else f"gets **{formats.markdown(variant)}**"
            st.markdown(f"{formats.markdown(subject)} {words}")


def design_facts(test: Experiment) -> list[tuple[str, str]]:
    """Return the design in labelled words; what was not asked for is left out."""
    config = test.config
    shares = ", ".join(f"{v} {formats.percent(s)}" for v, s in zip(config.variants, config.shares, strict=True))
    better = "higher is better" if config.direction == "higher" else "lower is better"
    rule = str(config.stopping).replace("_", " ")
    if config.stopping == "group_sequential":
        rule += f", {config.spending.replace('_', ' ')} spending"
    facts = [
        ("Metric", f"{config.metric_name} ({config.metric_type}, {config.aggregation} per subject, {better})"),
        ("Split", shares),
        ("Stopping", rule),
        ("Significance level", f"{formats.percent(config.significance_level)}, {config.alternative}"),
        ("Subjects per variant", f"at least {config.min_sample_size:,}"),
    ]
    if config.planned_sample_size is not None:
        facts.append(("Planned per variant", f"{config.planned_sample_size:,} for a power of {config.power:g}"))
    if config.minimum_detectable_effect is not None:
        number = points_text if config.unit == "%" else formats.number
        facts.append(("Smallest effect that matters", number(config.minimum_detectable_effect)))
    if config.coverage < 1:
        facts.append(("Coverage", formats.percent(config.coverage)))
    if config.namespace:
        facts.append(("Namespace", f"{config.namespace}, {formats.percent(config.namespace_share)} of it"))
    for label, metrics in (("Secondary metrics", config.secondary_metrics), ("Guardrails", config.guardrails)):
        if metrics:
            facts.append((label, ", ".join(_metric_words(metric) for metric in metrics)))
    for label, value in (
        ("Covariate", config.covariate), ("Hypothesis", config.hypothesis), ("Description", config.description),
        ("Owner", config.owner),
    ):  # fmt: skip
        if value:
            facts.append((label, value))
    facts.append(("Created", formats.instant(test.created_at)))
    if test.ended_at is not None:
        facts.append(("Ended", formats.instant(test.ended_at)))
    return facts


def _metric_words(metric: Any) -> str:
    found: Metric = metric
    margin = f", at most {formats.number(found.margin)} worse" if found.margin is not None else ""
    return f"{found.name} ({found.metric_type}{margin})"


def phases_frame(test: Experiment) -> pd.DataFrame:
    """Return a row a phase."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Phase": phase["number"],
                "Began": formats.instant(phase["started_at"]),
                "Split": ", ".join(f"{name} {formats.percent(share)}" for name, share in phase["shares"].items()),
                "Coverage": formats.percent(phase["coverage"]),
                "Reason": phase["reason"] or "",
            }
            for phase in test.phases
        ]
    )


# -- events from a file ------------------------------------------------------------------------------


def events_from_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return an uploaded table as `record_events` takes it: numbers as numbers, empty columns dropped.

    Raises
    ------
    ValueError
        If a needed column is missing, or a value is no number; naming the row as the file counts it.
    """
    for column in ("user_id", "value"):
        if column not in frame.columns:
            named = ", ".join(repr(formats.shorten(str(name), 30)) for name in frame.columns[:8])
            raise ValueError(f"the column {column!r} is missing; the file has {named}")
    kept = frame[[name for name in frame.columns if not frame[name].isna().all()]].copy()
    for column in EVENT_NUMBERS:
        if column in kept.columns and kept[column].dtype.kind not in "fiub":
            kept[column] = _numbers(kept[column].tolist(), column)
    missing = frame["user_id"].isna()
    if missing.any():
        raise ValueError(f"row {int(missing.to_numpy().argmax()) + 1} has no user_id")
    return kept


def _numbers(cells: list[Any], column: str) -> list[float | None]:
    found: list[float | None] = []
    for row, cell in enumerate(cells, 1):
        if cell is None or cell != cell:
            found.append(None)
            continue
        try:
            found.append(float(cell))
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {row}: {column} must be a number, got {formats.shorten(str(cell), 40)!r}") from error
    return found


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of this tab."""
    for name, draw in (
        ("event", _event_dialog), ("upload", _upload_dialog), ("phase", _phase_dialog), ("conclude", _conclude_dialog),
        ("promote", _promote_dialog), ("archive", _archive_dialog),
    ):  # fmt: skip
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


def _about(app: ui.App, exp_id: str) -> Experiment:
    test = app.testing.get_experiment(exp_id)
    st.caption(f"Of **{formats.markdown(test.name)}**")
    return test


@st.dialog("Record an event", on_dismiss=ui.close_dialog)
def _event_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("record an event"):
        test = _about(app, exp_id)
        names = [metric.name for metric in test.config.metrics]
        subject = st.text_input("User id", key=f"{TAB}.event.user", help="The subject: a user, request or document")
        metric = st.selectbox("Metric", names, key=f"{TAB}.event.metric") if len(names) > 1 else names[0]
        kind = str(test.config.metrics[names.index(metric)].metric_type)
        left, right = st.columns(2)
        with left:
            value: float | None
            if kind == "binary":
                value = float(
                    st.segmented_control("Value", [0, 1], default=1, required=True, key=f"{TAB}.event.binary")
                )
            else:
                value = st.number_input(
                    "Numerator" if kind == "ratio" else "Value", value=None, format="%g", key=f"{TAB}.event.value"
                )
        with right:
            below = (
                st.number_input("Denominator", value=None, format="%g", key=f"{TAB}.event.below")
                if kind == "ratio"
                else None
            )
        variants = ["As the test assigns", *test.config.variants]
        variant = st.selectbox(
            "Variant", variants, key=f"{TAB}.event.variant", help="Choose one only if it was assigned elsewhere"
        )
        event_id = st.text_input(
            "Event id (optional)", key=f"{TAB}.event.id", help="The same id again is not stored a second time"
        )
        if st.button("Record", type="primary", key=f"{TAB}.event.confirm"):

            def record() -> bool:
                if not subject:
                    raise ValueError("enter a user id first")
                if value is None:
                    raise ValueError("enter a value first")
                return app.testing.record_event(
                    exp_id, subject, value, metric=metric, denominator=below, event_id=event_id or None,
                    variant=None if variant == variants[0] else variant,
                )  # fmt: skip

            ui.act(
                app,
                "record an event",
                record,
                done=lambda new: (
                    "Recorded the event"
                    if new
                    else "Nothing was stored: this event id is known, or the subject takes no part in the test"
                ),
            )


@st.dialog("Upload events", on_dismiss=ui.close_dialog, width="large")
def _upload_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("upload events"):
        test = _about(app, exp_id)
        what = st.segmented_control(
            "The rows are", ["Events", "Attributes"], default="Events", required=True, key=f"{TAB}.upload.what",
            help="Attributes are known from before the test: a covariate that reduces variance, or a segment",
        )  # fmt: skip
        if what == "Events":
            ratio = any(str(metric.metric_type) == "ratio" for metric in test.config.metrics)
            optional = ["metric", "at", "event_id", "variant", *(["denominator"] if ratio else [])]
            st.markdown(
                "Columns `user_id` and `value`, and if wanted "
                + ", ".join(f"`{name}`" for name in optional)
                + ". Rows "
                "whose `event_id` is known are not stored again. All rows are stored, or none."
            )
            st.code("user_id,value,event_id\nuser-1,0.93,e1\nuser-2,0.88,e2", language=None)
        else:
            st.markdown("Column `user_id`, and a column for each attribute: numbers are covariates, text is segments.")
        upload = st.file_uploader("File", type=uploads.FILE_TYPES, key=f"{TAB}.upload.file")
        if st.button("Upload", type="primary", key=f"{TAB}.upload.confirm"):

            def record() -> tuple[int, int]:
                if upload is None:
                    raise ValueError("choose a file first")
                if what == "Attributes":
                    frame = uploads.read_table(upload.name, upload.getbuffer(), text=("user_id",))
                    return app.testing.record_attributes(exp_id, frame), len(frame)
                frame = uploads.read_table(upload.name, upload.getbuffer(), text=EVENT_TEXT_COLUMNS)
                return app.testing.record_events(exp_id, events_from_table(frame)), len(frame)

            def said(counts: tuple[int, int]) -> str:
                if what == "Attributes":
                    return f"Stored {formats.plural(counts[0], 'attribute')}"
                return f"Stored {counts[0]:,} new of {formats.plural(counts[1], 'event')}"

            ui.act(app, "upload events", record, done=said)


@st.dialog("Start a new phase", on_dismiss=ui.close_dialog)
def _phase_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("start a phase"):
        test = _about(app, exp_id)
        st.markdown("Subjects that were assigned keep their variant; results are compared within phases, never pooled.")
        present = test.phases[-1]
        split: Any = None
        if test.config.treatments is None:
            split = st.slider(
                "Share of the treatment",
                0.0,
                1.0,
                float(present["shares"]["treatment"]),
                0.01,
                key=f"{TAB}.phase.split",
            )
        coverage = st.slider("Coverage of all subjects", 0.01, 1.0, float(present["coverage"]), 0.01,
                             key=f"{TAB}.phase.coverage")  # fmt: skip
        reason = st.text_input("Reason", key=f"{TAB}.phase.reason")
        if st.button("Start phase", type="primary", key=f"{TAB}.phase.confirm"):
            ui.act(
                app,
                "start a phase",
                lambda: app.testing.start_phase(exp_id, traffic_split=split, coverage=coverage, reason=reason or None),
                done=lambda number: f"Phase {number} has begun",
            )


@st.dialog("Conclude the test", on_dismiss=ui.close_dialog)
def _conclude_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("conclude test"):
        test = _about(app, exp_id)
        analysis = app.testing.analyze_experiment(exp_id, record_look=False)
        st.markdown(formats.markdown(analysis.recommendation))
        choices = [code for code in DECISION_TEXT if code not in {"keep_running", "insufficient_data"}]
        suggested = analysis.decision if analysis.decision in choices else "inconclusive"
        decision = st.selectbox(
            "Decision", choices, index=choices.index(suggested), key=f"{TAB}.conclude.decision",
            format_func=lambda code: DECISION_TEXT[code].split(" ", 1)[-1].capitalize(),
        )  # fmt: skip
        if decision != suggested:
            ui.note("This is not what the analysis recommends: say why.")
        reason = st.text_area(
            "Reason", key=f"{TAB}.conclude.reason", placeholder="Without one the recommendation is recorded"
        )
        ui.note("The test takes no more subjects or events; the analysis as of now is stored as evidence.")
        if st.button("Conclude", type="primary", key=f"{TAB}.conclude.confirm"):

            def conclude() -> Any:
                if decision != suggested and not (reason or "").strip():
                    raise ValueError("give a reason for deciding against the analysis")
                return app.testing.conclude(exp_id, decision=decision, reason=reason or None, actor=app.actor)

            ui.act(app, "conclude test", conclude, done=f"Concluded {formats.markdown(test.name)}")


@st.dialog("Promote the winner", on_dismiss=ui.close_dialog)
def _promote_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("promote the winner"):
        test = _about(app, exp_id)
        winner = chain.winner_of(test.decision)
        version_id = test.treatment_version_id if winner == "treatment" else test.baseline_version_id
        version = app.registry.find_version_by_id(version_id) if version_id else None
        if version is None:
            st.error("The winner is no longer registered.", icon=":material/error:")
            return
        st.markdown(f"**{formats.markdown(str(version))}** moves to Production; the audit trail names this test.")
        reason = st.text_input("Reason", f"won the A/B test {test.name}", key=f"{TAB}.promote.reason")
        if st.button("Promote", type="primary", key=f"{TAB}.promote.confirm"):
            ui.act(
                app,
                "promote the winner",
                lambda: chain.promote_winner(app.testing, app.registry, exp_id, actor=app.actor, reason=reason or None),
                done=f"{formats.markdown(str(version))} is in Production",
            )


@st.dialog("Archive the test", on_dismiss=ui.close_dialog)
def _archive_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("archive test"):
        test = _about(app, exp_id)
        st.markdown("It leaves the list; nothing is deleted. The status “Archived” shows it again.")
        if st.button("Archive", type="primary", key=f"{TAB}.archive.confirm"):

            def archive() -> None:
                app.testing.archive(exp_id, reason=f"archived by {app.actor} on {dt.date.today():%Y-%m-%d}")
                ui.select("test", [])

            ui.act(app, "archive test", archive, done=f"Archived {formats.markdown(test.name)}")
