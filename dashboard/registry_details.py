"""One version in the Registry tab: what is known of it, and the form and the dialogs that change versions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import drafts, formats, registry_models
from dashboard.registry_models import about_version

if TYPE_CHECKING:
    import pandas as pd

    from model_registry import ModelVersion, StageEvent

__all__ = [
    "dialogs",
    "history_frame",
    "import_name",
    "register_form",
    "render_history",
    "render_version",
    "selection_buttons",
]

TAB = "registry"
SECTIONS = ("Overview", "Model card", "Dependencies", "Files", "History")
STAGES = ("Development", "Staging", "Production", "Archived")
OWN_NUMBER = "Own number"
BUMPS = {"Minor": "minor", "Major": "major", "Patch": "patch", OWN_NUMBER: None}
MAX_COMPARED = 5
MAX_HISTORY = 200  # events shown; the export has all


# -- what is shown -----------------------------------------------------------------------------------


def history_frame(events: Sequence[StageEvent], tests: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the audit trail as a table, the latest first; `tests` has the names of tests by id."""
    import pandas as pd

    rows = [
        (
            formats.instant(event.at, seconds=True).removesuffix(" UTC"), event.version, event.kind,
            event.from_stage.value if event.from_stage else formats.DASH, event.to_stage.value,
            event.displaced or formats.DASH, event.actor, event.reason or formats.DASH,
            evidence_text(event.evidence, tests),
        )
        for event in sorted(events, key=lambda event: -event.sequence)
    ]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["at (UTC)", "version", "what", "from", "to", "displaced", "by", "reason", "evidence"]
    )


def evidence_text(evidence: Mapping[str, Any], tests: Mapping[str, str] | None = None) -> str:
    """Return the evidence of a change of stage in a few words: its test and p-value, its gates, an override."""
    words = []
    name = evidence.get("experiment_name") or (tests or {}).get(str(evidence.get("experiment_id")))
    if name:
        p_value = evidence.get("p_value")
        exact = isinstance(p_value, int | float) and not isinstance(p_value, bool)
        words.append(f"test {name}" + (f" (p = {formats.number(p_value)})" if exact else ""))
    gates = evidence.get("gates")
    if isinstance(gates, list) and gates:
        passed = sum(bool(gate.get("passed")) for gate in gates)
        words.append(f"{passed} of {len(gates)} gates passed")
    if evidence.get("override"):
        words.append("gates overridden")
    if evidence.get("rolled_back_from"):
        words.append(f"rolled back from {evidence['rolled_back_from']}")
    return "; ".join(words) or formats.DASH


def _test_names(app: ui.App, events: Sequence[StageEvent]) -> dict[str, str]:
    """Return the names of the tests that the events name by id alone."""
    names = {}
    for test_id in {str(e.evidence["experiment_id"]) for e in events if e.evidence.get("experiment_id")}:
        try:
            names[test_id] = app.testing.get_experiment(test_id).name
        except (LookupError, ValueError):
            continue  # the test was deleted since
    return names


def signature_text(output: Any) -> str:
    """Return what a model gives back in words: `class, int64, 10 classes`."""
    if not isinstance(output, dict):
        return formats.value_text(output)
    words = [str(output[key]) for key in ("kind", "dtype") if output.get(key)]
    if output.get("n_classes"):
        words.append(formats.plural(int(output["n_classes"]), "class", "classes"))
    shape = output.get("shape")
    if isinstance(shape, list | tuple) and len(shape) > 1:
        words.append(" × ".join("any" if size is None else str(size) for size in shape))
    known = {"kind", "dtype", "n_classes", "shape"}
    words += [f"{key}: {formats.value_text(value)}" for key, value in output.items() if key not in known]
    return ", ".join(words) or formats.DASH


def _values_frame(values: dict[str, Any], key: str, value: str, text: Callable[[Any], str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([(name, text(item)) for name, item in sorted(values.items())], columns=[key, value])


def render_version(app: ui.App, version: ModelVersion) -> None:
    """Draw the details of the one selected version."""
    with st.container(border=True):
        st.markdown(f"#### {formats.markdown(version.name)} {formats.markdown(version.version)}")
        stage = "deleted" if version.deleted_at else version.stage.value
        parts = [
            f"**{stage}**",
            version.model_type.value.replace("_", " "),
            f"registered {formats.instant(version.created_at)} by {formats.markdown(version.created_by)}",
            f"{formats.size(version.size_bytes)} as {formats.markdown(version.serializer)}",
        ]
        if version.aliases:
            parts.append("alias " + ", ".join(formats.markdown(alias) for alias in version.aliases))
        if version.owner:
            parts.append(f"owner {formats.markdown(version.owner)}")
        st.caption(" · ".join(parts))
        _draw_links(app, version)
        if version.description:
            st.text(version.description)
        section = st.segmented_control(
            "Section", SECTIONS, required=True, label_visibility="collapsed",
            **ui.in_url(f"{TAB}.section", default=SECTIONS[0], options=SECTIONS),
        )  # fmt: skip
        if section == "Overview":
            _draw_overview(version)
            if not version.deleted_at:
                registry_models.record_button(app, version.model_id)
        elif section == "Model card":
            text = app.registry.model_card(version.name, version.version)
            st.markdown(formats.card(text))
            st.download_button("Markdown", text, "model-card.md", "text/markdown", key=f"{TAB}.card",
                               icon=":material/download:", on_click="ignore")  # fmt: skip
        elif section == "Dependencies":
            _draw_dependencies(version)
        elif section == "Files":
            _draw_files(app, version)
        else:
            _draw_history(app, version)
    if section == "Overview":
        _draw_course(app, version)


def _draw_links(app: ui.App, version: ModelVersion) -> None:
    """Draw one click to the run, the tests and the monitoring of this version."""
    links = chain.links_of_version(app.database, version.model_id)
    if not links:
        ui.note("Tied to no run, test or monitoring yet.")
        return
    with st.container(horizontal=True, gap="small"):
        for link in links:
            words = f"{link.relation} {formats.markdown(formats.shorten(link.label, 40))}"
            ui.jump_button(words, f"{TAB}.link.{link.kind}.{link.id}", link.tab, link.url_name, [link.id])


def _draw_overview(version: ModelVersion) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        if version.performance_metrics:
            ui.plain_table(
                _values_frame(version.performance_metrics, "metric", "value", formats.number),
                f"{TAB}.metrics", alt="Metrics at registration", right=("value",),
            )  # fmt: skip
        else:
            ui.note("No metrics were given at registration.")
        if version.tags:
            ui.plain_table(
                _values_frame(dict(version.tags), "tag", "value", formats.value_text),
                f"{TAB}.tags", alt="Tags",
            )  # fmt: skip
    with right:
        if version.hyperparameters:
            ui.plain_table(
                _values_frame(version.hyperparameters, "hyperparameter", "value", formats.value_text),
                f"{TAB}.hyperparameters", alt="Hyperparameters",
            )  # fmt: skip
        else:
            ui.note("No hyperparameters were given at registration.")
        _draw_signature(version)


def _draw_signature(version: ModelVersion) -> None:
    if not version.signature:
        return
    import pandas as pd

    inputs = version.signature.get("inputs") or []
    if inputs:
        frame = pd.DataFrame([(str(i.get("name", n)), str(i.get("dtype", ""))) for n, i in enumerate(inputs)],
                             columns=["input", "type"])  # fmt: skip
        ui.plain_table(frame, f"{TAB}.signature", alt="Inputs of the model", rows_shown=6)
    output = version.signature.get("output")
    if output:
        st.caption(f"Output: {formats.markdown(signature_text(output))}")


def _draw_dependencies(version: ModelVersion) -> None:
    if version.dependencies:
        ui.plain_table(
            _values_frame(dict(version.dependencies), "package", "version", str),
                f"{TAB}.dependencies", alt="Packages the model needs",
        )  # fmt: skip
        lines = "\n".join(f"{name}=={number}" for name, number in sorted(version.dependencies.items()))
        st.download_button("requirements.txt", lines, "requirements.txt", "text/plain", key=f"{TAB}.requirements",
                           icon=":material/download:", on_click="ignore")  # fmt: skip
    else:
        ui.note("No dependencies were recorded.")
    environment = {key: value for key, value in version.environment.items() if value not in (None, "", [], {})}
    if environment:
        ui.plain_table(
            _values_frame(environment, "environment", "value", formats.value_text),
                f"{TAB}.environment", alt="Environment",
        )  # fmt: skip


def _draw_files(app: ui.App, version: ModelVersion) -> None:
    import pandas as pd

    if version.is_purged:
        ui.note("The files were given back; only this record is left.")
        return
    frame = pd.DataFrame(
        [(path, formats.size(size), sha256) for path, sha256, size in version.files],
        columns=["path", "size", "SHA-256"],
    )
    ui.plain_table(frame, f"{TAB}.files", alt="Files of the version", right=("size",))
    inspection = app.registry.inspect_artifact(version.name, version.version) if not version.deleted_at else None
    if inspection is not None:
        runs = "Loading it runs code" if inspection.executes_code else "Loading it runs no code"
        found = formats.plural(len(inspection.imports), "import") if inspection.imports else "no import"
        st.markdown(f"{runs}; {found} found without opening it.")
        if inspection.dangerous:
            st.warning(
                "Listed as dangerous: " + ", ".join(formats.markdown(import_name(i)) for i in inspection.dangerous),
                icon=":material/warning:",
            )
        for sentence in inspection.notes:
            ui.note(formats.markdown(sentence))
        st.download_button(
            "Export with everything", data=lambda: _export(app, version), mime="application/zip", key=f"{TAB}.export",
            file_name=f"{version.name}-{version.version}.zip", icon=":material/archive:", on_click="ignore",
            help="The files, metrics, hyperparameters and card in one archive, for import into another registry.",
        )  # fmt: skip


def import_name(found: Any) -> str:
    """Return what a file would import as `module.name`."""
    parts = [getattr(found, "module", ""), getattr(found, "name", "")]
    return ".".join(str(part) for part in parts if part) or str(found)


def _export(app: ui.App, version: ModelVersion) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = app.registry.export_version(version.name, version.version, Path(folder) / "version.zip")
        return Path(path).read_bytes()


def _draw_history(app: ui.App, version: ModelVersion) -> None:
    events = app.registry.stage_history(version.name)
    tests = _test_names(app, events)
    ui.plain_table(history_frame(events[-MAX_HISTORY:], tests), f"{TAB}.history", alt="Audit history of the model")
    with st.container(horizontal=True):
        ui.csv_download(
            lambda: history_frame(events, tests), "history.csv", key=f"{TAB}.history_csv", label="CSV of the history"
        )


def _draw_course(app: ui.App, version: ModelVersion) -> None:
    """Draw the model's Production timeline and the recorded performance of this version."""
    history = app.registry.performance_history(version.name, version.version)
    registry_models.render_performance(app, history, f"{TAB}.performance")
    render_history(app, version.name)


def render_history(app: ui.App, name: str) -> None:
    """Draw which version of a model was in Production when."""
    events = app.registry.stage_history(name)
    if any(event.to_stage.value == "Production" for event in events):
        from charts import registry as figures

        ui.chart(app, figures.plot_stage_timeline(events), key=f"{TAB}.timeline")


# -- buttons -----------------------------------------------------------------------------------------


def selection_buttons(app: ui.App, versions: Sequence[ModelVersion]) -> None:
    """Draw what can be done with the selected versions."""
    locked = not app.can_edit

    def button(label: str, name: str, icon: str, *, kind: str = "secondary", **payload: Any) -> None:
        st.button(label, key=f"{TAB}.do.{name}", icon=f":material/{icon}:", disabled=locked, type=kind,  # type: ignore[arg-type]
                  on_click=ui.open_dialog, args=(f"{TAB}.{name}",), kwargs=payload)  # fmt: skip

    if len(versions) == 2 and not any(version.deleted_at for version in versions):
        button("A/B test these two", "test", "science", kind="primary", model_ids=[v.model_id for v in versions])
    if len(versions) != 1:
        return
    version = versions[0]
    if version.deleted_at:
        if not version.is_purged:
            st.button("Restore", key=f"{TAB}.restore", icon=":material/restore_from_trash:", disabled=locked,
                      on_click=_restore, args=(app, version.name, version.version))  # fmt: skip
        return
    button("Change stage", "stage", "swap_vert", kind="primary", model_id=version.model_id)
    if version.stage.value == "Production":
        button("Roll back", "rollback", "undo", model_id=version.model_id)
    button("Edit", "edit", "edit", model_id=version.model_id)
    button("Gates", "gates", "rule", model_id=version.model_id)
    button("Delete", "delete", "delete", model_id=version.model_id)


def _restore(app: ui.App, name: str, version: str) -> None:
    with ui.errors("restore version"):
        app.registry.restore_version(name, version, actor=app.actor)
        ui.flash(f"Restored {formats.markdown(name)} {formats.markdown(version)}")


# -- the form ----------------------------------------------------------------------------------------


def register_form(app: ui.App) -> None:
    """Draw the form that registers an uploaded file. What is typed stays while other tabs are looked at."""
    # Whether it is open is kept apart from the widget, which forgets it when another tab is opened.
    is_open = f"{TAB}.form.is_open"

    def toggled() -> None:
        st.session_state[is_open] = bool(st.session_state[f"{TAB}.form"])

    with st.expander(
        "Register a model",
        icon=":material/add:",
        expanded=st.session_state.get(is_open, False),
        key=f"{TAB}.form",
        on_change=toggled,
    ) as box:
        if not box.open:
            return
        if not app.can_edit:
            ui.note("Viewers cannot register models.")
            return
        # A new number after each registration empties the form.
        n = st.session_state.setdefault(f"{TAB}.form.number", 0)

        def key(name: str) -> dict[str, Any]:
            return {"key": f"{TAB}.form.{n}.{name}", "persist_state": "page"}

        ui.note(
            "The file is stored and hashed, never opened: nothing in it runs here. A pickle from outside is loaded "
            "later only by those who say they trust it."
        )
        names = [model.name for model in app.registry.list_models()]
        left, right = st.columns(2, gap="medium")
        with left:
            upload = st.file_uploader(
                "Model file", key=f"{TAB}.form.{n}.file", help="joblib, skops, ONNX, or any other file"
            )
            name = st.selectbox("Name", names, index=None, accept_new_options=True,
                                placeholder="Choose a model, or type a new name", **key("name"))  # fmt: skip
            bump = st.segmented_control("Next version", list(BUMPS), default="Minor", required=True, **key("bump"))
            version = (
                st.text_input("Version number", placeholder="1.2.0", **key("version")) if bump == OWN_NUMBER else None
            )
            kind = st.selectbox("Type", chain.model_types(), format_func=lambda k: k.replace("_", " "), **key("type"))
            stage = st.segmented_control("Stage", STAGES[:2], default=STAGES[0], required=True, **key("stage"))
        with right:
            metrics = st.text_area(
                "Metrics, one a line: name = number", placeholder="accuracy = 0.92\nf1 = 0.89", **key("metrics")
            )
            hyper = st.text_area(
                "Hyperparameters, one a line: name = value", placeholder="learning_rate = 0.001", **key("hyper")
            )
            tags = st.text_area("Tags, one a line: key = value", placeholder="team = vision", height=68, **key("tags"))
            description = st.text_area("Description", height=68, **key("description"))
        if st.button("Register", key=f"{TAB}.form.submit", type="primary"):

            def register() -> str:
                if upload is None:
                    raise ValueError("choose the model's file first")
                with tempfile.TemporaryDirectory(prefix="modeldesk-") as folder:
                    path = Path(folder) / "upload"
                    path.write_bytes(upload.getbuffer())
                    model_id = app.registry.register_file(
                        path, name or "", version or None, model_type=kind, stage=stage, bump=BUMPS.get(bump),
                        performance_metrics=formats.parse_numbers(metrics or ""),
                        hyperparameters=formats.parse_values(hyper or ""), tags=formats.parse_pairs(tags or ""),
                        description=description or "", file_name=upload.name, actor=app.actor,
                    )  # fmt: skip
                st.session_state[f"{TAB}.form.number"] = n + 1
                ui.select("version", [model_id])
                return model_id

            ui.act(app, "register model", register, done=f"Registered {formats.markdown(name or '')}")


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of this tab."""
    known: dict[str, Callable[..., None]] = {
        "stage": _stage_dialog, "rollback": _rollback_dialog, "edit": _edit_dialog, "gates": _gates_dialog,
        "delete": _delete_dialog, "test": _test_dialog,
    }  # fmt: skip
    for name, draw in known.items():
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


@st.dialog("Change stage", on_dismiss=ui.close_dialog)
@about_version("change stage")
def _stage_dialog(app: ui.App, version: ModelVersion) -> None:
    from model_registry import ALLOWED_TRANSITIONS, ModelStage

    seen = drafts.as_opened(lambda: Seen.now(app, version))
    if seen != Seen.now(app, version):
        production = seen.production or "no version"
        ui.warn(f"When you opened this, {version} was in {seen.stage}, and {production} in Production")
        st.button("Look again", key=f"{TAB}.stage.again", on_click=ui.open_dialog, args=(f"{TAB}.stage",),
                  kwargs={"model_id": version.model_id})  # fmt: skip
    allowed = [stage for stage in STAGES if ModelStage(stage) in ALLOWED_TRANSITIONS[version.stage]]
    stage = st.segmented_control(
        "To", allowed, default=allowed[0], required=True, key=f"{TAB}.stage.to.{version.model_id}"
    )
    evidence: dict[str, Any] = {}
    override = False
    if stage == "Production":
        evidence, override = _ask_for_production(app, version)
    reason = st.text_input(
        "Reason", key=f"{TAB}.stage.reason.{version.model_id}", placeholder="Why, for the audit history"
    )
    if st.button("Change stage", type="primary", key=f"{TAB}.stage.confirm"):
        ui.act(
            app,
            "change stage",
            lambda: app.registry.transition_stage(
                version.name, version.version, stage or "", reason=reason or "", actor=app.actor, evidence=evidence,
                override=override, from_stage=seen.stage, displacing=seen.production,
            ),
            done=lambda moved: f"{formats.markdown(str(moved))} is in {moved.stage.value}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What someone saw before they moved a version: its stage, and who is in Production ("" for none)."""

    stage: str
    production: str

    @classmethod
    def now(cls, app: ui.App, version: ModelVersion) -> Seen:
        """Return how it is at this moment."""
        return cls(stage=version.stage.value, production=app.registry.get_model(version.name).production_version or "")


def _ask_for_production(app: ui.App, version: ModelVersion) -> tuple[dict[str, Any], bool]:
    """Show what would be displaced and what the gates say; return the evidence, and whether to override."""
    production = app.registry.get_model(version.name).production_version
    if production is not None:
        st.caption(f"{formats.markdown(production)} leaves Production for Archived in the same moment.")
    tests = [link for link in chain.links_of_version(app.database, version.model_id) if link.kind == "test"]
    evidence: dict[str, Any] = {}
    if tests:
        labels = {link.id: link.label for link in tests}
        chosen = st.selectbox(
            "Test that justifies it", [None, *labels], key=f"{TAB}.stage.test.{version.model_id}",
            format_func=lambda i: "none" if i is None else labels[i],
        )  # fmt: skip
        if chosen is not None:
            evidence = {"experiment_id": chosen, "experiment_name": labels[chosen]}
    gates = app.registry.check_promotion(version.name, version.version, evidence=evidence)
    for gate in gates:
        mark = "✓ passed" if gate["passed"] else "✗ failed"
        st.markdown(f"{mark}: {formats.markdown(gate['message'])}")
    if all(gate["passed"] for gate in gates):
        return evidence, False
    return evidence, st.checkbox(
        "Promote although a gate fails (recorded, needs a reason)", key=f"{TAB}.stage.override.{version.model_id}"
    )


@st.dialog("Roll back", on_dismiss=ui.close_dialog)
@about_version("roll back")
def _rollback_dialog(app: ui.App, version: ModelVersion) -> None:
    target = drafts.as_opened(lambda: app.registry.find_rollback_target(version.name))
    if target is None:
        ui.note("No earlier version was in Production: there is nothing to roll back to.")
        return
    ui.note(
        f"{formats.markdown(target.version)} comes back to Production, and {formats.markdown(version.version)} "
        "is archived."
    )
    reason = st.text_input("Reason", key=f"{TAB}.rollback.reason", placeholder="Why, for the audit history")
    if st.button("Roll back", type="primary", key=f"{TAB}.rollback.confirm"):
        ui.act(
            app,
            "roll back",
            lambda: app.registry.rollback(
                version.name,
                reason=reason or "",
                actor=app.actor,
                from_version=version.version,
                to_version=target.version,
            ),
            done=lambda back: f"{formats.markdown(str(back))} is in Production again",
        )


@st.dialog("Edit version", on_dismiss=ui.close_dialog)
@about_version("edit version")
def _edit_dialog(app: ui.App, version: ModelVersion) -> None:
    shown = drafts.as_opened(lambda: _editable(app, version))
    with st.form(f"{TAB}.edit.form", border=False):
        description = st.text_area(
            "Description", shown["description"], key=f"{TAB}.edit.description.{version.model_id}"
        )
        owner = st.text_input("Owner", shown["owner"], key=f"{TAB}.edit.owner.{version.model_id}")
        alias = st.text_input(
            "Aliases, with commas between",
            ", ".join(sorted(shown["aliases"])),
            key=f"{TAB}.edit.aliases.{version.model_id}",
        )
        tags = drafts.tags_box(shown["tags"], f"{TAB}.edit.tags.{version.model_id}")
        card = st.text_area(
            "Model card (Markdown)", shown["card"], height=240, key=f"{TAB}.edit.card.{version.model_id}"
        )
        saved = st.form_submit_button("Save", type="primary", key=f"{TAB}.edit.save")
    if saved:
        wanted = {"description": description, "owner": owner, "card": card}
        ui.act(app, "edit version", lambda: _save(app, version, shown, wanted, alias, tags), done="Saved")


def _editable(app: ui.App, version: ModelVersion) -> dict[str, Any]:
    """Return what the form changes of a version, as it is now."""
    return {
        "description": version.description, "owner": version.owner or "", "aliases": set(version.aliases),
        "tags": dict(version.tags), "card": app.registry.model_card(version.name, version.version),
    }  # fmt: skip


def _save(
    app: ui.App, version: ModelVersion, shown: dict[str, Any], wanted: dict[str, Any], aliases: str, tags: str
) -> None:
    """Store what was changed in the form, and only that: others may have changed the rest meanwhile."""
    stored = _editable(app, version)
    changed = drafts.changes(shown, wanted, stored)
    changed_tags = drafts.pair_changes(shown["tags"], tags, stored["tags"])
    wanted_aliases = {alias.strip() for alias in aliases.split(",") if alias.strip()}
    if "owner" in changed:
        changed["owner"] = changed["owner"] or None
    if changed:
        app.registry.update_version(version.name, version.version, **changed)
    if changed_tags:
        app.registry.set_tags(version.name, version.version, changed_tags)
    for alias in wanted_aliases - shown["aliases"]:
        app.registry.set_alias(version.name, alias, version.version, actor=app.actor)
    for alias in (shown["aliases"] - wanted_aliases) & stored["aliases"]:
        app.registry.delete_alias(version.name, alias)


@st.dialog("Gates before Production", on_dismiss=ui.close_dialog)
@about_version("gates")
def _gates_dialog(app: ui.App, version: ModelVersion) -> None:
    gates = drafts.as_opened(lambda: app.registry.get_model(version.name).gates)
    ui.note("What any version of this model must show before it moves to Production.")
    least = {m: rule["min"] for m, rule in gates.get("metrics", {}).items() if "min" in rule}
    most = {m: rule["max"] for m, rule in gates.get("metrics", {}).items() if "max" in rule}
    against = {m: rule["tolerance"] for m, rule in gates.get("not_worse_than_production", {}).items()}
    with st.form(f"{TAB}.gates.form", border=False):
        minimum = st.text_area("At least, one a line: metric = number", _lines(least), key=f"{TAB}.gates.min")
        maximum = st.text_area("At most, one a line: metric = number", _lines(most), key=f"{TAB}.gates.max")
        tolerance = st.text_area(
            "Not worse than Production by more than, one a line: metric = number",
            _lines(against),
            key=f"{TAB}.gates.tolerance",
        )
        test = st.checkbox("A test that decided for it", bool(gates.get("experiment")), key=f"{TAB}.gates.test")
        saved = st.form_submit_button("Save", type="primary", key=f"{TAB}.gates.save")
    if saved:

        def save() -> None:
            metrics: dict[str, dict[str, float]] = {}
            for bound, text in (("min", minimum), ("max", maximum)):
                for metric, value in formats.parse_numbers(text).items():
                    metrics.setdefault(metric, {})[bound] = value
            wanted: dict[str, Any] = {"metrics": metrics} if metrics else {}
            known = gates.get("not_worse_than_production", {})  # the form leaves the direction of each alone
            losses = formats.parse_numbers(tolerance)
            if losses:
                wanted["not_worse_than_production"] = {
                    metric: {**known.get(metric, {}), "tolerance": loss} for metric, loss in losses.items()
                }
            if test:
                wanted["experiment"] = gates.get("experiment") or True
            drafts.changes({"gates": gates}, {"gates": wanted}, {"gates": app.registry.get_model(version.name).gates})
            app.registry.set_gates(version.name, wanted or None)

        ui.act(app, "gates", save, done=f"Gates of {formats.markdown(version.name)} are set")


def _lines(values: dict[str, float]) -> str:
    return "\n".join(f"{key} = {value}" for key, value in values.items())


@st.dialog("Delete version", on_dismiss=ui.close_dialog)
@about_version("delete version")
def _delete_dialog(app: ui.App, version: ModelVersion) -> None:
    ui.note("It can be restored under Show: Deleted until storage is cleaned up. Its number is never used again.")
    # As it was when the dialog was opened: a version that was promoted meanwhile is not deleted unseen.
    in_production = drafts.as_opened(lambda: version.stage.value == "Production")
    if in_production:
        st.warning("This version is in Production.", icon=":material/warning:")
    reason = st.text_input("Reason", key=f"{TAB}.delete.reason", placeholder="Why, for the audit history")
    if ui.confirm_by_typing(str(version), "Delete", key=f"{TAB}.delete"):

        def delete() -> None:
            app.registry.delete_version(
                version.name, version.version, allow_production=in_production, reason=reason or "", actor=app.actor
            )
            ui.select("version", [])

        ui.act(app, "delete version", delete, done=f"Deleted {formats.markdown(str(version))}")


@st.dialog("A/B test two versions", on_dismiss=ui.close_dialog)
def _test_dialog(app: ui.App, model_ids: list[str]) -> None:
    with ui.errors("create test"):
        versions = [
            v for v in (app.registry.find_version_by_id(i) for i in model_ids) if v is not None and not v.deleted_at
        ]
        if len(versions) != 2:
            st.error("One of the versions was deleted meanwhile.", icon=":material/error:")
            return
        from ab_testing import MetricType

        by_id = {version.model_id: version for version in versions}
        # The version in Production is what a new one has to beat.
        versions.sort(key=lambda version: version.stage.value != "Production")
        baseline = st.selectbox(
            "Baseline", [v.model_id for v in versions], format_func=lambda i: str(by_id[i]), key=f"{TAB}.test.baseline"
        )
        treatment = next(i for i in by_id if i != baseline)
        st.caption(f"Treatment: {formats.markdown(str(by_id[treatment]))}")
        suggestion = f"{by_id[baseline].name} {by_id[baseline].version} against {by_id[treatment].version}"
        name = st.text_input("Name", suggestion, key=f"{TAB}.test.name")
        metric = st.text_input("Metric", "accuracy", key=f"{TAB}.test.metric")
        kind = st.selectbox("Kind of metric", [k.value for k in MetricType], key=f"{TAB}.test.kind")
        split = st.slider("Share of the treatment", 0.05, 0.95, 0.5, 0.05, key=f"{TAB}.test.split")
        size = st.number_input("Subjects wanted at least", 1, 10_000_000, 1_000, 100, key=f"{TAB}.test.size")
        if st.button("Create test", type="primary", key=f"{TAB}.test.confirm"):

            def create() -> str:
                first, second = by_id[baseline], by_id[treatment]
                exp_id = chain.create_test_between_versions(
                    app.testing, app.registry, name, (first.name, first.version), (second.name, second.version),
                    metric_name=metric, metric_type=MetricType(kind), traffic_split=split, min_sample_size=int(size),
                )  # fmt: skip
                ui.close_dialog()
                ui.jump_next("A/B testing", "test", [exp_id])
                return exp_id

            ui.act(app, "create test", create, done=f"Created the test {formats.markdown(name)}")
