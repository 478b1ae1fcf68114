"""Sign-in and roles: off by default, strict when on, and a warning for a dashboard that strangers can reach."""

from __future__ import annotations

import logging

import pytest

from dashboard import access
from tests.dashboard.conftest import healthy, texts

SETTINGS = {"editors": ["ada@example.com", "@ml.example.com"], "viewers": ["@example.com"]}


@pytest.mark.parametrize(
    ("email", "verified", "role"),
    [
        ("ada@example.com", True, "editor"),
        ("ADA@Example.com", True, "editor"),
        ("bob@ml.example.com", True, "editor"),
        ("eve@example.com", True, "viewer"),
        ("eve@evil-example.com", True, None),
        ("x@example.com.evil", True, None),
        ("ada@example.com", False, None),
        ("", True, None),
        (None, True, None),
        ("mallory@other.org", True, None),
    ],
)
def test_roles_follow_addresses_that_the_provider_verified(email, verified, role):
    assert access.role_of(email, verified, SETTINGS) == role


def test_without_lists_everyone_who_signs_in_views_and_nobody_edits():
    assert access.role_of("eve@anywhere.org", True, {}) == "viewer"
    assert access.role_of("eve@anywhere.org", True, {"editors": ["@"]}) == "viewer"


@pytest.mark.parametrize(
    ("address", "exposed"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("[::1]", False), ("0.0.0.0", True), ("::", True),
     ("10.0.0.5", True), ("", True), (None, True), ("example.com", True)],
)  # fmt: skip
def test_only_loopback_addresses_are_private(address, exposed):
    assert access.is_exposed(address) is exposed


def test_a_dashboard_that_strangers_can_reach_says_so_on_the_page_and_in_the_log(app_test, store, monkeypatch, caplog):
    import streamlit

    real = streamlit.get_option
    monkeypatch.setattr(streamlit, "get_option", lambda name: "0.0.0.0" if name == "server.address" else real(name))
    with caplog.at_level(logging.WARNING, logger="modeldesk.dashboard"):
        test = app_test()
    assert "listens on 0.0.0.0 without sign-in" in test.warning[0].value
    assert "listens on 0.0.0.0 without sign-in" in caplog.text


def test_the_shipped_settings_listen_on_this_machine_only(app_test, store):
    assert len(app_test().warning) == 0


class Somebody(dict):
    """Stands in for `st.user`."""

    @property
    def is_logged_in(self):
        return bool(self)


@pytest.fixture
def signed_in(monkeypatch):
    import streamlit

    def sign_in(**claims):
        secrets = {"auth": {"client_secret": "TOP-SECRET", "cookie_secret": "ALSO-SECRET"}, "modeldesk": SETTINGS}
        monkeypatch.setattr(streamlit, "secrets", secrets)
        monkeypatch.setattr(streamlit, "user", Somebody(claims))

    return sign_in


def test_nothing_of_the_store_is_shown_before_sign_in(app_test, seed, signed_in):
    signed_in()
    test = app_test(tab="Tracking")
    assert [button.label for button in test.button] == ["Sign in"]
    assert "run-1" not in texts(test)
    assert len(test.dataframe) == 0


def test_an_account_on_no_list_sees_nothing(app_test, seed, signed_in):
    signed_in(email="mallory@other.org", email_verified=True)
    test = app_test(tab="Tracking")
    assert "not on the list" in test.error[0].value
    assert len(test.dataframe) == 0


def test_an_unverified_address_counts_as_nobody(app_test, seed, signed_in):
    signed_in(email="ada@example.com")
    assert "not on the list" in app_test().error[0].value


@pytest.mark.parametrize(("email", "locked"), [("ada@example.com", False), ("eve@example.com", True)])
def test_viewers_find_every_changing_button_locked(app_test, seed, signed_in, email, locked):
    signed_in(email=email, email_verified=True)
    test = app_test(tab="Registry", query={"version": [seed.versions[1]]})
    buttons = {button.label: button.disabled for button in test.button}
    for label in ("Change stage", "Roll back", "Edit", "Gates", "Delete"):
        assert buttons[label] is locked, label
    page = texts(test)
    assert email in page
    assert ("(viewer)" in page) is locked
    assert "SECRET" not in page
    healthy(test)


def test_the_audit_trail_names_who_signed_in(app_test, seed, signed_in):
    signed_in(email="ada@example.com", email_verified=True)
    dialog = ("registry.rollback", {"model_id": seed.versions[1]})
    test = app_test(tab="Registry", query={"version": [seed.versions[1]]}, ui__dialog=dialog)
    healthy(test.button(key="registry.rollback.confirm").click().run())
    assert max(seed.registry.stage_history("churn"), key=lambda event: event.sequence).actor == "ada@example.com"
