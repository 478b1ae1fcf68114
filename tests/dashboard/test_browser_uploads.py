"""A button that needs a file waits for the file: no click is lost while it is on its way."""

from __future__ import annotations

import pytest

from model_monitoring import ModelMonitoring
from tests.dashboard.test_browser_ab_monitoring import feed
from tests.dashboard.test_monitoring_tab import features

pytestmark = pytest.mark.browser


def hold_uploads(page):
    """Keep files on their way; return the list of what is held."""
    held = []
    page.route("**/upload_file/**", lambda route: held.append(route))
    return held


def test_a_batch_cannot_be_added_before_its_file_has_arrived(open_app, seed, store):
    monitoring = ModelMonitoring(store)
    feed(monitoring)
    monitoring.set_reference("churn", "1.1.0", features(500))
    screen = open_app(tab="Monitoring")
    screen.press("Upload a batch").see("Rows as the model saw them")
    dialog = screen.page.get_by_test_id("stDialog")
    held = hold_uploads(screen.page)
    content = features(300, 9.0, 2).to_csv(index=False).encode()
    dialog.locator("input[type=file]").set_input_files({"name": "b.csv", "mimeType": "text/csv", "buffer": content})
    dialog.get_by_text("b.csv").first.wait_for()
    button = dialog.get_by_role("button", name="Add batch", exact=True)
    assert button.is_disabled()
    while not held:
        screen.page.wait_for_timeout(50)
    held[0].continue_()
    button.click()  # waits until it can be clicked, as a person does
    screen.see("Added 300 rows")
