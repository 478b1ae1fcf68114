"""Where alerts go: checking the address, and sending through Apprise (Slack, e-mail, webhooks and eighty more).

    >>> check_sink_url("https://93.184.216.34/hook", trusted=False, resolve=False)
    'https://93.184.216.34/hook'
    >>> check_sink_url("http://169.254.169.254/latest", trusted=False)
    Traceback (most recent call last):
    ...
    values.InvalidValueError: the sink's host 169.254.169.254 is not public; only an operator may add it in code

Vocabulary: a sink is *trusted* when an operator added it in code. Operators alert to hosts of their own network, so any
address goes. Otherwise (added through the dashboard) only public addresses are called:

- A webhook's name is looked up once for every message, all its addresses must be public, and the connection is made to
  one of these very addresses: a name that answers differently a moment later (DNS rebinding) gains nothing. No
  redirect is followed, no proxy of the environment is used, nothing of the answer but its status is kept.
- Services with a host of their own (Slack and others) are reached through Apprise at that host.
- An e-mail server's name is checked before every message, but Apprise looks it up again to connect: a name that
  changes between the two could make this host open an SMTP conversation inside its network. Who does not want that
  adds e-mail sinks in code only, or lets a firewall decide what this host may reach.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import socket
import ssl
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from values import InvalidValueError, check_text

__all__ = ["ALERTS_EXTRA", "SinkError", "check_sink_url", "hide_secrets", "send"]

logger = logging.getLogger("modeldesk")

ALERTS_EXTRA = "sending alerts needs the package apprise: install it with  pip install 'modeldesk[alerts]'"
WEBHOOK_SCHEMES = {"http": "json", "https": "jsons"}  # what a plain address becomes: a POST of JSON
# Services with a host of their own: the address cannot be chosen by whoever writes the URL.
FIXED_HOST_SCHEMES = frozenset({"slack", "discord", "tgram", "pagerduty", "opsgenie", "msteams", "workflows", "pover"})
MAIL_SCHEMES = frozenset({"mailto", "mailtos"})
PLAIN_SCHEMES = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", *MAIL_SCHEMES})  # no markup to be injected
TIMEOUT_SECONDS = 10  # to connect, and to read
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # the last 32 bits are an IPv4 address; RFC 6052


class SinkError(Exception):
    """A sink did not accept a message; the text says why."""


def check_sink_url(url: object, *, trusted: bool, resolve: bool = True) -> str:
    """Return the address of a sink, or say why it may not be called.

    Parameters
    ----------
    url : str
        ``https://...`` (a JSON webhook), ``mailto://...``, ``slack://...`` or any other Apprise address.
    trusted : bool
        Whether an operator set it; then only the form is checked.
    resolve : bool
        Whether host names are looked up.

    Raises
    ------
    InvalidValueError
        If it cannot be read, carries credentials in a webhook, or leads to an address that is not public.
    """
    text = check_text(url, "sink url", max_length=2_000)
    if any(character.isspace() or ord(character) < 32 for character in text):
        raise InvalidValueError("sink url contains white space or control characters; remove them")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidValueError(f"sink url cannot be read: {error}") from error
    scheme = parts.scheme.lower()
    if not scheme or "://" not in text:
        raise InvalidValueError("sink url has no scheme; write for example https://example.org/hook or mailto://...")
    if trusted:
        return text
    if scheme in FIXED_HOST_SCHEMES:
        return text
    hosts = [host] if host else []
    if scheme in MAIL_SCHEMES:
        # mailto://user:password@example.org?smtp=mail.example.org
        hosts += [value for key in ("smtp", "host") for value in parse_qs(parts.query).get(key, [])]
    elif scheme not in WEBHOOK_SCHEMES:
        known = sorted({"http", "https", *MAIL_SCHEMES, *FIXED_HOST_SCHEMES})
        raise InvalidValueError(f"sinks of the scheme {scheme!r} must be added by an operator; allowed here: {known}")
    elif parts.username is not None or parts.password is not None:
        raise InvalidValueError("sink url: a webhook's address may not carry a user name or password")
    if not hosts:
        raise InvalidValueError("sink url has no host")
    for item in hosts:
        _check_host(item, resolve=resolve)
    return text


def hide_secrets(url: str) -> str:
    """Return an address with everything hidden that could be a token: only scheme and host remain."""
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
    except ValueError:
        return "***"
    if scheme in WEBHOOK_SCHEMES or scheme in MAIL_SCHEMES:
        return f"{scheme}://{host}/***"
    return f"{scheme}://***"  # the host part of other schemes is often a token


def send(url: str, title: str, body: str, *, trusted: bool) -> None:
    """Send one message now.

    Raises
    ------
    SinkError
        If the sink cannot be reached, refuses, or its address is not allowed any more.
    """
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise SinkError(ALERTS_EXTRA) from error
    scheme = urlsplit(url).scheme.lower()
    pinned = not trusted and scheme in WEBHOOK_SCHEMES and not _is_native(apprise, url)
    try:
        check_sink_url(url, trusted=trusted, resolve=not pinned)  # `_post` looks the name up, once
    except InvalidValueError as error:
        raise SinkError(str(error)) from error
    if pinned:
        _post(url, title, body)
        return
    address = url
    if scheme in ("http", "https") and not _is_native(apprise, url):
        parts = urlsplit(url)
        # Apprise takes plain query keys as its own settings; those with a "-" go to the server as they are.
        query = urlencode([(f"-{key}", value) for key, value in parse_qsl(parts.query, keep_blank_values=True)])
        address = urlunsplit((WEBHOOK_SCHEMES[scheme], parts.netloc, parts.path, query, ""))
    # No plug-ins from the disk, nothing kept on it, no escapes or emoji interpreted in what models are named.
    asset = apprise.AppriseAsset(
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        interpret_escapes=False,
        interpret_emojis=False,
        http_redirects=False,
    )
    separator = "&" if "?" in address else "?"
    address += f"{separator}redirect=no&cto={TIMEOUT_SECONDS}&rto={TIMEOUT_SECONDS}"
    service = apprise.Apprise(asset=asset)
    # Apprise explains failures in its log only.
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:  # type: ignore[no-untyped-call]
        if not service.add(address):
            raise SinkError(f"the address {hide_secrets(url)} is not one that Apprise knows")
        if (scheme not in PLAIN_SCHEMES and scheme not in ("http", "https")) or _is_native(apprise, url):
            title, body = _without_mentions(title), _without_mentions(body)
        try:
            accepted = service.notify(title=" ".join(title.split()), body=body, body_format=apprise.NotifyFormat.TEXT)
        except Exception as error:
            raise SinkError(f"{type(error).__name__} while sending to {hide_secrets(url)}") from error
        said = " ".join(captured.getvalue().split())
    if not accepted:
        raise SinkError(f"{hide_secrets(url)} did not accept the message: {said[:300] or 'no reason was given'}")


def _is_native(apprise: Any, url: str) -> bool:
    """Whether a https address belongs to a service that Apprise knows (hooks.slack.com and the like)."""
    if urlsplit(url).scheme.lower() != "https":
        return False
    found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    return found is not None and type(found).__name__ not in ("NotifyJSON", "NotifyForm", "NotifyXML")


def _without_mentions(text: str) -> str:
    """Replace the characters that make chat services ping people or draw links; the text stays readable."""
    return text.replace("<", "\u2039").replace(">", "\u203a").replace("@", "\uff20")


class _Pinned(http.client.HTTPConnection):
    """A connection to a known address, whatever its host's name resolves to by now."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)
        # The certificate must be that of the name.
        self.sock = (
            ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) if self._secure else plain
        )


def _post(url: str, title: str, body: str) -> None:
    """Post a message as JSON, of the same form as Apprise's, to an address that was checked in this very call."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme.lower() == "https"
    try:
        addresses = _check_host(host, resolve=True)
    except InvalidValueError as error:
        raise SinkError(str(error)) from error
    content = {"version": "1.0", "title": " ".join(title.split()), "message": body, "attachments": [], "type": "info"}
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    problem = "no address"
    for address in addresses:
        connection = _Pinned(host, parts.port or (443 if secure else 80), address, secure=secure)
        try:
            connection.connect()
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
            connection.close()
            continue
        try:
            connection.request("POST", target, json.dumps(content), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, reason = answer.status, answer.reason
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise SinkError(f"{hide_secrets(url)} did not answer: {type(error).__name__}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise SinkError(f"{hide_secrets(url)} did not accept the message: {status} {reason[:100]}")
        return
    raise SinkError(f"{hide_secrets(url)} cannot be reached: {problem}")


def _check_host(host: str, *, resolve: bool) -> list[str]:
    """Return the addresses of a host if all of them are public."""
    name = host.strip("[]").rstrip(".")
    addresses: list[str] = []
    try:
        addresses.append(str(ipaddress.ip_address(name)))
    except ValueError:
        lowered = name.lower()
        if lowered == "localhost" or lowered.endswith((".localhost", ".local", ".internal", ".localdomain")):
            raise InvalidValueError(
                f"the sink's host {name} is not public; only an operator may add it in code"
            ) from None
        # 2130706433, 0x7f000001 and 127.1 are addresses to the system's resolver.
        if all(part.isdigit() or part.lower().startswith("0x") for part in name.split(".") if part):
            raise InvalidValueError(f"the sink's host {name} is a number; write a name or a dotted address") from None
        if resolve:
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                raise InvalidValueError(f"the sink's host {name} cannot be found: {error}") from error
            addresses += [str(entry[4][0]).partition("%")[0] for entry in found]
    for text in addresses:
        address = ipaddress.ip_address(text)
        mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        if address in NAT64:
            mapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if not address.is_global or address.is_multicast or (mapped is not None and not mapped.is_global):
            raise InvalidValueError(f"the sink's host {name} is not public; only an operator may add it in code")
    return list(dict.fromkeys(addresses))
