"""axe-core finds nothing serious on any tab in either theme, and the keyboard alone gets a job done."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.dashboard.conftest import ARTIFACTS, TABS

pytestmark = pytest.mark.browser
RUN = """async () => (await axe.run(document)).violations
    .filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${v.impact} ${v.id}: ${v.nodes.map(n => n.html.slice(0, 200)).slice(0, 3).join(' | ')}`)"""


@pytest.fixture(scope="session")
def axe() -> str:
    folder = ARTIFACTS.parent / "npm"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed; it fetches axe-core")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()[-200:]}")
    return script.read_text()


def ids(database):
    from ab_testing import ABTestingFramework
    from experiment_tracking import ExperimentTracking
    from model_registry import ModelRegistryManager

    registry = ModelRegistryManager(database)
    name = registry.list_models()[0].name
    return {
        "Registry": {"version": registry.get_production(name).model_id},
        "A/B testing": {"test": ABTestingFramework(database).list_experiments()[0].exp_id},
        "Tracking": {"run": list(ExperimentTracking(database).search_runs(limit=3)["run_id"])},
        "Monitoring": {"watch": f"{name}:{registry.get_production(name).version}"},
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_on_any_tab_empty(open_app, axe, dark):
    screen = open_app(dark=dark)
    for tab in TABS:
        screen.go(tab=tab).see("Load example data")
        screen.page.evaluate(axe)
        assert screen.page.evaluate(RUN) == [], tab


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_on_any_tab_with_example_data(example_store, open_app, axe, dark):
    chosen = ids(example_store)
    screen = open_app(dark=dark)
    for tab in TABS:
        screen.go(tab=tab, **chosen[tab])
        screen.page.wait_for_timeout(1500)
        screen.idle().shot(f"example-{tab.replace('/', '-')}-{'dark' if dark else 'light'}")
        screen.page.evaluate(axe)
        assert screen.page.evaluate(RUN) == [], tab


def test_the_keyboard_alone_switches_tabs_filters_selects_and_promotes(open_app, seed):
    screen = open_app(tab="Tracking", version=seed.versions[2])
    keys = screen.page.keyboard

    def reach(description, found, limit=80):
        for _ in range(limit):
            keys.press("Tab")
            if screen.page.evaluate(f"() => {{ const e = document.activeElement; return {found} }}"):
                return
        raise AssertionError(f"Tab never reached {description}")

    reach("the tabs", "e.getAttribute('role') === 'tab'")
    keys.press("ArrowLeft")
    keys.press("ArrowLeft")
    keys.press("Enter")
    screen.see("Models")
    assert "tab=Registry" in screen.page.url
    reach("the search", "e.getAttribute('aria-label') === 'Search'")
    keys.type("1.2")
    keys.press("Enter")
    screen.see("1 of 3 versions")
    reach("the table", "e.closest('[data-testid=stDataFrame]') && e.tagName === 'CANVAS'")
    keys.press("ArrowLeft")
    keys.press("ArrowDown")
    keys.press("Space")
    screen.page.wait_for_timeout(500)
    screen.idle()
    keys.press("Shift+Space")
    screen.see("churn 1.2.0")
    screen.page.get_by_role("button", name="Change stage").focus()
    keys.press("Enter")
    screen.see("now in Development")
    reach("the stages", "e.closest('[role=dialog]') && e.getAttribute('role') === 'radio'")
    keys.press("ArrowRight")
    keys.press("Space")
    screen.see("leaves Production for Archived")
    reach("the button", "e.closest('[role=dialog]') && e.tagName === 'BUTTON' && e.innerText.includes('Change stage')")
    keys.press("Enter")
    screen.see("churn 1.2.0 is in Production")
    assert seed.registry.get_production("churn").version == "1.2.0"
