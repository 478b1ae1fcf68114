"""One A/B test in the dashboard: exposure before results, verdict, what can be done with it, and its sections.

What a section draws is in `dashboard.ab_testing_sections` and `dashboard.ab_testing_subjects`, the dialogs are in
`dashboard.ab_testing_dialogs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import ab_testing_sections as sections
from dashboard import components as ui
from dashboard import formats
from dashboard.ab_testing_subjects import draw_subjects
from dashboard.ab_testing_tab import (
    DECISION_LOOK,
    STATUS_TEXT,
    TAB,
    TestView,
    build_test_view,
    remembered,
)
from db import NotFoundError

if TYPE_CHECKING:
    from ab_testing import Experiment

__all__ = ["SECTIONS", "render_test"]

SECTIONS = ("Results", "Segments", "Over time", "Distribution", "Subjects", "Design")


# -- one test ----------------------------------------------------------------------------------------


def render_test(app: ui.App, exp_id: str) -> None:
    """Draw a test: exposure first, then the verdict, then results and figures unless the exposure forbids them."""
    try:
        test = app.testing.get_experiment(exp_id)
    except (NotFoundError, ValueError):
        ui.note("The selected test does not exist.")
        return
    section = (ui.selected(f"{TAB}.section") or [SECTIONS[0]])[-1]
    attributes: dict[str, str] = {}
    view: TestView | None = None
    with st.container(border=True):
        st.markdown(f"#### {formats.markdown(test.name)}&ensp;:gray[{STATUS_TEXT.get(test.status, test.status)}]")
        with ui.part("Links"), st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _draw_links(app, test)
        with ui.part("Analysis"):
            attributes = app.testing.list_attributes(exp_id) if section == "Segments" else {}
            view = _read(app, exp_id, sections.chosen_segment(attributes))
        if view is not None:
            with ui.part("Exposure"):
                _draw_exposure(view)
            with ui.part("Verdict"):
                _draw_verdict(view)
        with ui.part("Actions"), st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _draw_actions(app, test, view)
        chosen = st.segmented_control(
            "Show", SECTIONS, required=True, label_visibility="collapsed",
            **ui.in_url(f"{TAB}.section", default=SECTIONS[0], options=SECTIONS),
        )  # fmt: skip
        with ui.part(chosen or SECTIONS[0]):
            _draw_section(app, test, view, chosen or SECTIONS[0], attributes)


def _read(app: ui.App, exp_id: str, segment: str | None) -> TestView:
    """Read a test, which is a look at it while it runs."""
    # A look of ours locks an SQLite file until it is stored, so that nothing else was written before this token.
    token_after = app.database.change_token if app.database.path is not None else None
    return remembered(
        ("test", exp_id, segment), lambda: build_test_view(app.testing, exp_id, segment=segment), token_after
    )


def _draw_section(
    app: ui.App, test: Experiment, view: TestView | None, section: str, attributes: Mapping[str, str]
) -> None:
    if section == "Subjects":
        draw_subjects(app, test)
    elif section == "Design":
        sections.draw_design(app, test)
    elif view is None:
        ui.note("Without the analysis there is nothing to show here.")
    elif view.is_blocked:
        ui.note("Results are withheld: an effect measured on a broken split or on mixed subjects means nothing.")
    elif section == "Results":
        sections.draw_results(app, view)
    elif section == "Segments":
        sections.draw_segments(app, view, attributes)
    elif section == "Over time":
        sections.draw_over_time(app, test, view.analysis)
    else:
        sections.draw_distribution(app, test)


def _draw_links(app: ui.App, test: Experiment) -> None:
    """Draw one click to the versions that are compared, and to the monitoring of the one in production."""
    links = chain.links_of_test(app.database, test.exp_id)
    if not links:
        config = test.config
        rivals = [config.treatment_model] if config.treatments is None else list(config.treatments)
        models = f"{formats.markdown(config.baseline_model)} against {formats.markdown(', '.join(rivals))}"
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
        view.exposure, hide_index=True, placeholder=formats.DASH, key=f"{TAB}.exposure", alt="Exposure by variant",
        column_config={
            "Variant": st.column_config.TextColumn(width=250),
            **{
                name: st.column_config.NumberColumn(format="%.1f %%", help="Share of the assigned subjects")
                for name in view.exposure.columns
                if name.startswith(("Planned", "Observed"))
            },
            "Assigned": st.column_config.NumberColumn(format="localized", help="Subjects"),
            "With data": st.column_config.NumberColumn(format="localized", help="Subjects with a value of the metric"),
            "Without data": st.column_config.NumberColumn(format="%.1f %%", help="Share of the assigned"),
        },
    )  # fmt: skip


def _draw_verdict(view: TestView) -> None:
    code = view.experiment.decision or view.analysis.decision
    icon, color = DECISION_LOOK.get(code, DECISION_LOOK["inconclusive"])
    label = "Decision" if view.experiment.decision else "Verdict"
    st.markdown(f"**{label}**")
    st.markdown(f"##### :{color}[{icon} {formats.markdown(view.verdict)}]")
    if not view.is_blocked or view.experiment.decision:
        st.markdown(formats.markdown(view.reason))
    if not view.is_blocked:
        ui.note(view.progress)
        if view.analysis.warnings:
            lines = (formats.markdown(f"{words[:1].upper()}{words[1:]}.") for words in view.analysis.warnings)
            st.caption("  \n".join(f":material/info: {line}" for line in lines))


def _draw_actions(app: ui.App, test: Experiment, view: TestView | None) -> None:
    of = {"exp_id": test.exp_id}
    running, ended = test.status == "running", test.status in {"concluded", "archived"}
    busy = not app.can_edit
    if not ended:
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
    if ended:
        _open("Delete", "delete", of, ":material/delete:", disabled=busy)
    if view is not None:
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
                        label="Results (CSV)", width="stretch")  # fmt: skip
