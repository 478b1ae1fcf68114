"""The dashboard: a shell (`streamlit_app.py`), one file a tab, and what tabs share (`components`, `formats`, `access`).

`server` says how it is served: what a first visit needs is imported and kept in memory before anyone visits.

How a tab is built
------------------
Each tab has two public functions and no state of its own:

    def build_view(testing: ABTestingFramework, choices: Choices) -> View
        Gathers from the module and decides what is shown, as frozen dataclasses, DataFrames and finished text.
        Pure: no Streamlit, so that tests call it directly. Fetches only what is shown (limits, offsets, counts).

    def render(app: ui.App) -> None
        Widgets, one `build_view`, display. No arithmetic, no SQL. The order in every tab: numbers (`ui.kpis`), filters,
        table (`ui.table`), actions and details of what is selected, charts last (`ui.chart`), so that numbers and
        tables stand before Plotly is loaded. Import `charts.*` inside the function that draws.

    import streamlit as st
    from dashboard import components as ui, formats

    def render(app: ui.App) -> None:
        with ui.errors("A/B testing"):                       # expected errors: one sentence and an id, trace in the log
            status = st.pills("Status", STATUSES, **ui.in_url("ab_testing.status", options=STATUSES))
            view = build_view(app.testing, Choices(status=status))
            if view.is_empty:
                ui.empty_state(app, "Tests appear here ...", SNIPPET, key="ab_testing.load_examples")
                return
            ui.kpis([("Running", formats.whole(view.n_running), "Tests that take new subjects")])
            chosen = ui.table(view.frame, view.ids, key="ab_testing.table", name="test", alt="Tests")
            ...
            st.button("Delete", key="ab_testing.delete", disabled=not app.can_edit,
                      on_click=ui.open_dialog, args=("ab_testing.delete",), kwargs={"exp_id": chosen[0]})
        payload = ui.dialog_payload("ab_testing.delete")     # dialogs last; they survive reruns
        if payload:
            _delete_dialog(app, **payload)

    @st.dialog("Delete test", on_dismiss=ui.close_dialog)
    def _delete_dialog(app: ui.App, exp_id: str) -> None:
        if ui.confirm_by_typing(name, "Delete", key="ab_testing.delete"):
            ui.act(app, "delete test", lambda: app.testing.delete(exp_id), done="Deleted")   # closes, says so, reruns

Rules
-----
Keys        Every widget has `key="<tab>.<name>"` (`registry.`, `ab_testing.`, `tracking.`, `monitoring.`).
URL         Selections are ids under `version`, `test`, `run`, `watch` (`ui.selected`, `ui.select`); filters use
            `**ui.in_url(key, ...)`, with `pager=` where they choose the rows of a table with pages. Both survive tab
            switches, reloads, and Back. Drafts that do not belong into a link get `persist_state="page"`.
Jumps       `ui.jump_button(label, key, tab, name, ids)`, or `on_click=ui.jump` of any button.
Text        What people typed passes `formats.markdown(...)` before any label, metric, caption, toast, option of pills,
            or message; table cells and select boxes take it as it is. In figures it passes `charts.theme.escape` or
            `shorten_label`. Never `unsafe_allow_html`, never `st.html`.
Numbers     `formats.number`, `percent`, `whole`, `duration`, `size`, `instant`, `ago`; in tables floats get one format
            a column by themselves. Nothing prints None, NaN, or an id where there is a name.
Writes      Only through `ui.act(app, where, function, done)`: it refuses viewers, shows errors, closes the dialog,
            says what was done and draws the page again. Buttons that write are `disabled=not app.can_edit`.
            Pass `actor=app.actor` to every method that takes it.
First row   What people came for is sent first: read the choices from the session (`ui.in_url` puts them there), draw
            the table into its place, then the filters and numbers above it (`tracking_tab.render`).
Parts       Each part below the choices stands in `ui.part("where")`: one that fails, by an expected error or by a bug,
            hides no other.
Ids         Act on the ids captured when the dialog opened, never on row positions, and on the facts that it showed
            (`drafts.as_opened`). If another person was faster, the module's error says so and nothing changes; a form
            that replaces something refuses when it is no longer what was shown (`drafts.changes`,
            `drafts.refuse_when_changed`).
Fresh       The header redraws the page when the store changes (not while a dialog is open). Nothing is cached,
            except what the sections of one A/B test share, by ids and change token (`ab_testing_tab.remembered`).
Joins       What needs two modules (register a run's model, open a test between versions) is in `chain`, not in a tab.
"""
