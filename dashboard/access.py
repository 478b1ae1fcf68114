"""Who looks at the dashboard, and whether they may change things.

Without an `[auth]` section in `.streamlit/secrets.toml` everyone who can reach the dashboard may do everything: it
listens on this machine only. With one (Streamlit's own OpenID Connect settings), people sign in first, and a
`[modeldesk]` section says who may edit:

    [auth]
    redirect_uri = "https://models.example.com/oauth2callback"
    cookie_secret = "..."
    client_id = "..."
    client_secret = "..."
    server_metadata_url = "https://accounts.example.com/.well-known/openid-configuration"

    [modeldesk]
    editors = ["ada@example.com", "@ml.example.com"]   # addresses, or whole domains with a leading @
    viewers = ["@example.com"]                          # without this line: everyone who can sign in
    # trust_unverified_addresses = true                 # only for a provider that never sends `email_verified`

Vocabulary: a *viewer* sees everything and changes nothing; an *editor* does both; anyone else sees nothing.
"""

from __future__ import annotations

import getpass
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

__all__ = ["Person", "is_exposed", "require_person", "role_of", "sign_in_is_set_up", "warn_when_exposed"]

logger = logging.getLogger("modeldesk.dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The one at the screen.

    Attributes
    ----------
    name : str
        What audit trails record: the e-mail address after sign-in, the local account without it.
    can_edit : bool
        Whether buttons that change something work.
    signed_in : bool
        Whether the identity was proved by sign-in.
    """

    name: str
    can_edit: bool
    signed_in: bool


def role_of(email: str | None, verified: bool, settings: Mapping[str, Any]) -> str | None:
    """Return "editor", "viewer" or None for an e-mail address that the identity provider vouched for.

    An address the provider did not verify matches nothing: otherwise anyone could claim an editor's. Without an
    `editors` list nobody edits.
    """
    if not email or not verified:
        return None
    if _listed(email, settings.get("editors", ())):
        return "editor"
    if "viewers" not in settings or _listed(email, settings["viewers"]):
        return "viewer"
    return None


def _listed(email: str, entries: Sequence[str] | str) -> bool:
    address = email.strip().casefold()
    names = [entries] if isinstance(entries, str) else list(entries)
    for entry in (name.strip().casefold() for name in names):
        if entry == address or (entry.startswith("@") and len(entry) > 1 and address.endswith(entry)):
            return True
    return False


def sign_in_is_set_up() -> bool:
    """Return whether the secrets file has an `[auth]` section."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def require_person() -> Person:
    """Return who is at the screen; show the sign-in page instead of the dashboard to those who must sign in first."""
    if not sign_in_is_set_up():
        return Person(name=_local_account(), can_edit=True, signed_in=False)
    if not st.user.is_logged_in:
        st.title("ModelDesk")
        st.write("Sign in to see the models, tests, runs and monitors of your team.")
        st.button("Sign in", on_click=st.login, type="primary", key="access.sign_in")
        st.stop()
    settings = st.secrets.get("modeldesk", {})
    email = str(st.user.get("email") or "")
    # Some providers let people write any address into their own account and send no claim about it (Entra ID with
    # several tenants): silence counts as "not verified" unless the one who runs this says otherwise.
    claim = st.user.get("email_verified", settings.get("trust_unverified_addresses", False))
    role = role_of(email, claim in {True, "true"}, settings)
    if role is None:
        st.title("ModelDesk")
        st.error("Your account is signed in but is not on the list of viewers or editors. Ask who runs this dashboard.")
        st.button("Sign out", on_click=st.logout, key="access.sign_out")
        st.stop()
    return Person(name=email, can_edit=role == "editor", signed_in=True)


def is_exposed(address: str | None) -> bool:
    """Return whether a server bound to this address can be reached from other machines."""
    if not address:
        return True  # Streamlit's own default: every interface
    if address == "localhost":
        return False
    try:
        return not ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return True


def warn_when_exposed() -> str | None:
    """Return, and log once a process, the warning for a dashboard that strangers can reach without signing in."""
    address = st.get_option("server.address")
    if sign_in_is_set_up() or not is_exposed(address):
        return None
    return _logged_warning(str(address or "every address of this machine"))


@st.cache_resource(show_spinner=False)
def _logged_warning(address: str) -> str:
    message = (
        f"This dashboard listens on {address} without sign-in: everyone who can reach this machine can read and change "
        "everything here. Set up sign-in, or bind it to 127.0.0.1."
    )
    logger.warning(message)
    return message


def _local_account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no password entry for this user, as in some containers
        return "dashboard"
