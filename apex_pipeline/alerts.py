"""Sends short messages to Slack, to any URL as JSON, and by e-mail, as far as the settings name them.

A message never holds a secret: what the settings keep secret is removed from its text, and an error names the setting
and never its value, because the address of a webhook is a secret itself.
"""

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from apex_pipeline.errors import ConfigurationError, StoreUnavailableError
from apex_pipeline.settings import Settings

# Slack and mail servers answer in a second; a sensor's tick has 60 s for all of them.
_TIMEOUT_S = 10.0
_SMTP_PORT, _SMTPS_PORT = 25, 465
_SENDER = "apex"
_HIDDEN = "***"


@dataclass(frozen=True)
class Alert:
    """A message.

    Attributes:
        title: One line.
        lines: The text.
    """

    title: str
    lines: tuple[str, ...] = ()


Receiver = Callable[[Alert], None]


def receivers_of(settings: Settings) -> dict[str, Receiver]:
    """Return what sends a message to each receiver that is set, by the name of its setting.

    Each raises :class:`~apex_pipeline.errors.ConfigurationError` if a setting is wrong, and
    :class:`~apex_pipeline.errors.StoreUnavailableError` if it could not be reached or refused the message.
    """
    found: dict[str, tuple[object, Callable[[Alert, Settings], None]]] = {
        "APEX_ALERT_SLACK_URL": (settings.alert_slack_url, _to_slack),
        "APEX_ALERT_WEBHOOK_URL": (settings.alert_webhook_url, _to_webhook),
        "APEX_ALERT_EMAIL": (settings.alert_email, _to_email),
    }
    return {name: _receiver(name, send, settings) for name, (value, send) in found.items() if value}


def _receiver(name: str, send: Callable[[Alert, Settings], None], settings: Settings) -> Receiver:
    def deliver(alert: Alert) -> None:
        with _translated(name):
            title, *lines = (without_secrets(line, settings) for line in (alert.title, *alert.lines))
            send(Alert(title, tuple(lines)), settings)

    return deliver


def without_secrets(text: str, settings: Settings) -> str:
    """Return the text without the values that the settings keep secret, and the passwords in them."""
    values = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    passwords = [unquote(password) for value in values if (password := _password_in(value))]
    for value in sorted({*values, *passwords, settings.aws_access_key_id or ""} - {""}, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text


def _password_in(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:  # not an address
        return None


def _to_slack(alert: Alert, settings: Settings) -> None:
    if settings.alert_slack_url:
        text = "\n".join([f"*{alert.title}*", *alert.lines])
        # Slack reads these three as markup.
        for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(mark, entity)
        _post("APEX_ALERT_SLACK_URL", settings.alert_slack_url, {"text": text})


def _to_webhook(alert: Alert, settings: Settings) -> None:
    if settings.alert_webhook_url:
        _post("APEX_ALERT_WEBHOOK_URL", settings.alert_webhook_url, {"title": alert.title, "lines": list(alert.lines)})


def _post(setting: str, url: SecretStr, content: object) -> None:
    address = url.get_secret_value()
    if urlsplit(address).scheme not in {"http", "https"}:
        raise ConfigurationError(f"{setting} is not an http or https address.", "Correct it, or leave it empty.")
    body = json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  -- as above
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310  -- as above
        pass


def _to_email(alert: Alert, settings: Settings) -> None:
    if not settings.alert_email:
        return
    if settings.smtp_url is None:
        raise ConfigurationError("APEX_ALERT_EMAIL is set and APEX_SMTP_URL is not.", "Set the mail server as well.")
    server = urlsplit(settings.smtp_url.get_secret_value())
    if server.scheme not in {"smtp", "smtps"} or not server.hostname:
        raise ConfigurationError("APEX_SMTP_URL is not an smtp or smtps address.", "Write it like smtp://host:25.")
    message = EmailMessage()
    message["Subject"] = " ".join(alert.title.split())
    message["To"], message["From"] = settings.alert_email, f"{_SENDER}@{server.hostname}"
    message.set_content("\n".join([alert.title, "", *alert.lines]))
    with _translated("APEX_SMTP_URL"), _connected(server.scheme, server.hostname, server.port) as mail:
        if server.username:
            mail.login(unquote(server.username), unquote(server.password or ""))
        mail.send_message(message)


def _connected(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    """Connect to a mail server; without implicit TLS, use STARTTLS where the server offers it."""
    context = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or _SMTPS_PORT, timeout=_TIMEOUT_S, context=context)
    mail = smtplib.SMTP(host, port or _SMTP_PORT, timeout=_TIMEOUT_S)
    mail.ehlo()
    if mail.has_extn("starttls"):
        mail.starttls(context=context)
    return mail


@contextmanager
def _translated(setting: str) -> Generator[None]:
    """Translate the errors of a delivery: their texts may quote the address, so only their type is given."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise _undelivered(setting, f"HTTP {error.code}") from None
    # Addresses that cannot be read raise ValueError or InvalidURL; a server that answers nonsense, HTTPException.
    except (OSError, smtplib.SMTPException, http.client.HTTPException, ValueError) as error:
        raise _undelivered(setting, type(error).__name__) from None


def _undelivered(setting: str, reason: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The message to {setting} was not delivered ({reason}).",
        f"Check {setting}; it is sent again with the next tick.",
    )
