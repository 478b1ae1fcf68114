"""Simulation of a design in the A/B testing tab: what it does over many invented tests, before a real one is begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.ab_testing_forms import KINDS, STOPPING
from dashboard.ab_testing_tab import DECISION_TEXT, TAB

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import ExperimentConfig, SimulationResult

__all__ = ["decisions_frame", "merge_simulations", "simulate_in_parts", "simulation_form", "simulation_kpis"]

TESTS = (100, 400, 1_000)
PARTS = 20  # between which the bar of progress moves
MAX_SUBJECTS = 50_000  # per variant; more of them take minutes


def simulation_form(app: ui.App) -> None:
    """Draw the form, and what the last simulation found. It runs only when asked to."""
    with st.expander("Simulate a design", icon=":material/casino:", key=f"{TAB}.simulation", on_change="rerun") as box:
        if not box.open:
            return
        ui.note(
            "Invents many tests and judges each with the code that judges real ones. An effect of 0 shows how often "
            "the design cries wolf; the effect that matters shows how often it finds it, and how early."
        )
        design, settings = _draw_design()
        with ui.errors("simulate a design"):
            config = config_of(design)
            if st.button(
                "Run the simulation", key=f"{TAB}.simulation.run", type="primary", icon=":material/play_arrow:"
            ):
                bar = st.progress(0.0, "Simulating")

                def show(done: float) -> None:
                    bar.progress(done, f"Simulated {formats.percent(done)} of the tests")

                result = simulate_in_parts(config, show, **settings)
                bar.empty()
                st.session_state[f"{TAB}.simulated"] = (design, settings, result)
        found = st.session_state.get(f"{TAB}.simulated")
        if found is None:
            return
        if found[:2] != (design, settings):
            ui.note("The form was changed since: these are the results of the earlier design.")
        _draw_result(app, found[2])


def _draw_design() -> tuple[dict[str, Any], dict[str, Any]]:
    def key(name: str) -> dict[str, Any]:
        return {"key": f"{TAB}.simulation.{name}", "persist_state": "page"}

    left, middle, right = st.columns(3, gap="medium")
    with left:
        kinds = [kind for kind in KINDS if kind != "ratio"]
        kind = st.selectbox("Kind of metric", kinds, index=1, format_func=lambda k: f"{k}: {KINDS[k]}", **key("kind"))
        base = st.number_input("Value of the baseline", value=0.1, format="%g", help="Rate or mean", **key("base"))
        sd = (
            st.number_input("Standard deviation per subject", min_value=0.0, value=1.0, format="%g", **key("sd"))
            if kind == "continuous"
            else None
        )
    with middle:
        effect = st.number_input(
            "True effect", value=0.02, format="%g", help="Absolute, of the invented treatment; 0 is an A/A test",
            **key("effect"),
        )  # fmt: skip
        n = st.number_input("Subjects per variant at the end", 20, MAX_SUBJECTS, 2_000, 100, **key("n"))
        alpha = st.number_input(
            "Significance level", min_value=0.001, max_value=0.5, value=0.05, format="%g", **key("alpha")
        )
    with right:
        stopping = st.selectbox("Stopping", list(STOPPING), **key("stopping"))
        looks = st.number_input("Looks", 1, 20, 5, **key("looks"))
        tests = st.selectbox("Invented tests", TESTS, index=1, format_func=formats.whole, **key("tests"))
    design = {
        "metric_type": kind, "baseline_value": base, "baseline_sd": sd or None, "planned_sample_size": int(n),
        "significance_level": alpha, "stopping": STOPPING[stopping],
    }  # fmt: skip
    return design, {"effect": effect, "n_looks": int(looks), "n_simulations": int(tests)}


def config_of(design: Mapping[str, Any]) -> ExperimentConfig:
    """Return the design that is simulated.

    Raises
    ------
    ValueError
        If a field breaks a rule.
    """
    from ab_testing import ExperimentConfig

    return ExperimentConfig(name="simulation", metric_name="value", min_sample_size=2, **design)


def simulate_in_parts(
    config: ExperimentConfig,
    progress: Callable[[float], Any],
    *,
    effect: float,
    n_looks: int,
    n_simulations: int,
    seed: int = 1,
) -> SimulationResult:
    """Simulate in parts, telling `progress` the share that is done after each; the same seed gives the same result."""
    from ab_testing import simulate_experiment

    size = max(1, n_simulations // PARTS)
    parts: list[SimulationResult] = []
    done = 0
    while done < n_simulations:
        count = min(size, n_simulations - done)
        parts.append(
            simulate_experiment(
                config, effect=effect, n_simulations=count, n_per_variant=config.planned_sample_size, n_looks=n_looks,
                seed=seed + len(parts),
            )
        )  # fmt: skip
        done += count
        progress(done / n_simulations)
    return merge_simulations(parts)


def merge_simulations(parts: Sequence[SimulationResult]) -> SimulationResult:
    """Return one result for several simulations of one design: rates are weighted by the number of tests."""
    if len(parts) == 1:
        return parts[0]
    total = sum(part.n_simulations for part in parts)

    def mean(values: Sequence[float | None]) -> float | None:
        known = [(value, part.n_simulations) for value, part in zip(values, parts, strict=True) if value is not None]
        return sum(value * n for value, n in known) / sum(n for _, n in known) if known else None

    def rate(name: str) -> float:
        return mean([getattr(part, name) for part in parts]) or 0.0

    codes = sorted({code for part in parts for code in part.decisions})
    return replace(
        parts[0],
        n_simulations=total,
        coverage=mean([part.coverage for part in parts]),
        decisions={code: mean([part.decisions.get(code, 0.0) for part in parts]) or 0.0 for code in codes},
        estimates=[value for part in parts for value in part.estimates],
        significant_rate=rate("significant_rate"),
        success_rate=rate("success_rate"),
        harm_rate=rate("harm_rate"),
        futile_rate=rate("futile_rate"),
        mean_subjects=rate("mean_subjects"),
        stopped_early_rate=rate("stopped_early_rate"),
    )


def simulation_kpis(result: SimulationResult) -> list[tuple[str, str, str]]:
    """Return the rates of a simulation, with what each means and how sure it is."""
    error = (result.significant_rate * (1 - result.significant_rate) / result.n_simulations) ** 0.5
    what = "False alarms: there was no effect" if result.effect == 0 else "Power: tests that found the effect"
    return [
        (
            "Significant",
            formats.percent(result.significant_rate),
            f"{what}. Standard error {formats.number(100 * error)} percentage points of "
            f"{formats.plural(result.n_simulations, 'test')}",
        ),
        ("Stopped early", formats.percent(result.stopped_early_rate), "Tests that ended before the last look"),
        (
            "Subjects per variant",
            formats.whole(round(result.mean_subjects)),
            f"On average when the test ended; {result.n_per_variant:,} at most",
        ),
        ("Interval holds the effect", formats.percent(result.coverage), "Coverage of the interval at the end"),
    ]


def decisions_frame(result: SimulationResult) -> pd.DataFrame:
    """Return a row a decision, the most frequent first."""
    import pandas as pd

    rows = sorted(result.decisions.items(), key=lambda item: -item[1])
    return pd.DataFrame(
        {
            "Decision": [DECISION_TEXT.get(code, code.replace("_", " ")) for code, _ in rows],
            "Tests": [round(share * result.n_simulations) for _, share in rows],
            "Share": [formats.percent(share) for _, share in rows],
        }
    )


def _draw_result(app: ui.App, result: SimulationResult) -> None:
    ui.kpis(simulation_kpis(result))
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.dataframe(
            decisions_frame(result), hide_index=True, placeholder=formats.DASH, key=f"{TAB}.simulation.decisions",
            alt="Decisions of the tests",
            column_config={"Share": st.column_config.TextColumn(alignment="right")},
        )  # fmt: skip
    with right:
        from charts.ab_testing import plot_simulation

        ui.chart(app, plot_simulation(result.estimates, result.effect), key=f"{TAB}.simulation.chart")
