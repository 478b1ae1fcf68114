"""axe-core finds nothing serious on any tab in either theme, and the keyboard alone gets a job done."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.dashboard.conftest import TABS

pytestmark = pytest.mark.browser
RUN = """async () => (await axe.run(document)).violations
    .filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${v.impact} ${v.id}: ${v.nodes.map(n => n.html.slice(0, 200)).slice(0, 3).join(' | ')}`)"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core; of the Python package that carries it, nothing else is used."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


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


def keyboard(screen):
    """Return what presses Tab until a condition on the focused element `e` holds."""

    def reach(description, found, limit=120):
        for _ in range(limit):
            screen.page.keyboard.press("Tab")
            if screen.page.evaluate(f"() => {{ const e = document.activeElement; return {found} }}"):
                return
        raise AssertionError(f"Tab never reached {description}")

    return reach


def button(label, where="!"):
    """Return the condition of a button, in the open dialog or outside any."""
    return f"{where}e.closest('[role=dialog]') && e.tagName === 'BUTTON' && e.innerText.trim().endsWith('{label}')"


IN_DIALOG = "!!"
TABLE = "e.tagName === 'CANVAS' && e.closest('[data-testid=stDataFrame]')"


def test_the_keyboard_alone_switches_tabs_filters_selects_and_promotes(open_app, seed):
    screen = open_app(tab="Tracking", version=seed.versions[2])
    keys, reach = screen.page.keyboard, keyboard(screen)

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


def test_the_keyboard_alone_registers_an_uploaded_model(open_app, seed, tmp_path):
    upload = tmp_path / "model.onnx"
    upload.write_bytes(b"bytes that are never opened")
    screen = open_app(tab="Registry")
    page, keys, reach = screen.page, screen.page.keyboard, keyboard(screen)
    screen.see("3 versions")
    reach("the form", "e.innerText && e.innerText.length < 40 && e.innerText.trim().endsWith('Register a model')")
    keys.press("Enter")
    screen.see("The file is stored and hashed")
    reach("the upload", button("Upload"))
    with page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files(str(upload))
    screen.see("model.onnx")
    reach(
        "the name",
        "e.getAttribute('role') === 'combobox' && /^Name/.test(e.closest('[data-testid=stSelectbox]').innerText)",
    )
    keys.type("fraud")
    keys.press("Enter")
    screen.idle()
    reach("the metrics", "e.tagName === 'TEXTAREA' && e.getAttribute('aria-label').startsWith('Metrics')")
    keys.type("accuracy = 0.9")
    reach("the button", button("Register"))
    keys.press("Enter")
    screen.see("Registered fraud")
    (version,) = seed.registry.list_versions("fraud")
    assert version.performance_metrics == {"accuracy": 0.9}


def test_the_keyboard_alone_rolls_back_deletes_and_restores(open_app, seed):
    screen = open_app(tab="Registry", version=seed.versions[1])
    keys, reach = screen.page.keyboard, keyboard(screen)
    screen.see("trained by run-1")
    reach("Roll back", button("Roll back"))
    keys.press("Enter")
    screen.see("comes back")
    reach("the confirmation", button("Roll back", IN_DIALOG))
    keys.press("Enter")
    screen.see("churn 1.0.0 is in Production again")
    assert seed.registry.get_production("churn").version == "1.0.0"
    screen.go(tab="Registry", version=seed.versions[2]).see("trained by run-2")
    reach("Delete", button("Delete"))
    keys.press("Enter")
    screen.see("Type churn 1.2.0 to confirm")
    reach("the name", "e.closest('[role=dialog]') && (e.getAttribute('aria-label') || '').startsWith('Type churn')")
    keys.type("churn 1.2.0")
    screen.page.locator("[role=dialog] button:not([disabled])", has_text="Delete").wait_for()
    reach("the confirmation", button("Delete", IN_DIALOG))
    keys.press("Enter")
    screen.see("Deleted churn 1.2.0")
    screen.go(tab="Registry", version=seed.versions[2], **{"registry.shown": "Deleted"}).see("trained by run-2")
    reach("Restore", button("Restore"))
    keys.press("Enter")
    screen.see("Restored churn 1.2.0")
    assert seed.registry.get_version("churn", "1.2.0").deleted_at is None


def test_the_keyboard_alone_filters_compares_opens_a_file_and_registers_the_model(open_app, seed):
    screen = open_app(tab="Tracking")
    page, keys, reach = screen.page, screen.page.keyboard, keyboard(screen)
    screen.see("7 runs")
    reach("the filter", "e.getAttribute('aria-label') === 'Filter'")
    keys.type("metrics.accuracy > 0.75")
    keys.press("Enter")
    screen.see("4 of 7 runs")
    page.locator("td:text-is('run-5')").wait_for(state="attached")
    reach("the table", TABLE)
    keys.press("ArrowLeft")
    keys.press("ArrowDown")
    keys.press("Space")
    page.wait_for_timeout(500)
    screen.idle()
    keys.press("Shift+Space")
    screen.see("Open a file")
    reach(
        "the files",
        "e.getAttribute('role') === 'combobox' && /Open a file/.test(e.closest('[data-testid=stSelectbox]').innerText)",
    )
    keys.type("report")
    page.get_by_role("option", name="report.txt").wait_for()
    keys.press("ArrowDown")
    keys.press("Enter")
    screen.see("report of run")
    screen.page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0) }")
    reach("Register model", button("Register model"))
    keys.press("Enter")
    screen.see("Carries over")
    reach("the version", "e.closest('[role=dialog]') && e.getAttribute('aria-label') === 'Version'")
    keys.type("4.0.0")
    reach("the confirmation", button("Register", IN_DIALOG))
    keys.press("Enter")
    screen.see("Registered churn 4.0.0")
    assert seed.registry.get_version("churn", "4.0.0").run_id in seed.runs
    screen.go(tab="Tracking", run=seed.runs[:2]).see("2 runs compared")
    reach("the charts", "e.getAttribute('role') === 'radio' && e.innerText.trim() === 'Curves'")
    keys.press("ArrowRight")
    keys.press("Space")
    page.locator(".gtitle", has_text="Params and accuracy").first.wait_for()
    assert "tracking.chart=Parallel" in page.url
