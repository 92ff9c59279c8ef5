"""Messages about failures: to Slack, a URL and by e-mail, over real sockets, and never with a secret."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from apex_pipeline.alerts import Alert, receivers_of, without_secrets
from apex_pipeline.errors import ApexError, ConfigurationError, StoreUnavailableError
from apex_pipeline.settings import Settings, load_settings

_ALERT = Alert("Dagster: 1 run failed", ("spa/R1: the file is <binary> & broken.",))


class _Receiver(HTTPServer):
    """A webhook that keeps what it gets and answers with a status."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/T0SECRET"


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver  # pyright: ignore[reportIncompatibleVariableOverride]  -- as it is started

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


class _MailServer(socketserver.ThreadingTCPServer):
    """A mail server without TLS that keeps the messages it gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.got: list[str] = []


class _MailHandler(socketserver.StreamRequestHandler):
    server: _MailServer  # pyright: ignore[reportIncompatibleVariableOverride]  -- as it is started

    def handle(self) -> None:
        self._say("220 hello")
        while line := self.rfile.readline():
            command = line[:4].upper()
            if command == b"DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.got.append(b"".join(lines).decode())
            if command == b"QUIT":
                self._say("221 bye")
                return
            self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    yield from _serving(_Receiver())


@pytest.fixture
def mail() -> Iterator[_MailServer]:
    yield from _serving(_MailServer())


def _serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _send(alert: Alert, settings: Settings) -> None:
    """Send a message to the only receiver."""
    (send,) = receivers_of(settings).values()
    send(alert)


def test_without_a_setting_there_is_no_receiver() -> None:
    assert receivers_of(load_settings()) == {}


def test_slack_gets_text_in_which_nothing_is_markup(receiver: _Receiver) -> None:
    _send(_ALERT, load_settings(alert_slack_url=receiver.url))
    assert receiver.got == [{"text": "*Dagster: 1 run failed*\nspa/R1: the file is &lt;binary&gt; &amp; broken."}]


def test_a_webhook_gets_title_and_lines(receiver: _Receiver) -> None:
    _send(_ALERT, load_settings(alert_webhook_url=receiver.url))
    assert receiver.got == [{"title": _ALERT.title, "lines": list(_ALERT.lines)}]


def test_an_e_mail_has_title_and_lines(mail: _MailServer) -> None:
    host, port = mail.server_address[:2]
    settings = load_settings(alert_email="pit@example.org", smtp_url=f"smtp://{host}:{port}")
    _send(Alert("one\nBcc: other@example.org", ("line",)), settings)
    (message,) = mail.got
    assert "Subject: one Bcc: other@example.org" in message
    assert "To: pit@example.org" in message
    assert message.rstrip().endswith("line")


def test_each_receiver_is_reached_by_itself(receiver: _Receiver) -> None:
    settings = load_settings(alert_slack_url="http://127.0.0.1:1/T0SECRET", alert_webhook_url=receiver.url)
    receivers = receivers_of(settings)
    assert list(receivers) == ["APEX_ALERT_SLACK_URL", "APEX_ALERT_WEBHOOK_URL"]
    with pytest.raises(StoreUnavailableError, match="APEX_ALERT_SLACK_URL was not delivered"):
        receivers["APEX_ALERT_SLACK_URL"](_ALERT)
    receivers["APEX_ALERT_WEBHOOK_URL"](_ALERT)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"alert_slack_url": "https://127.0.0.1:1/T0SECRET TOKEN"},
        {"alert_slack_url": "http://[T0SECRET"},
        {"alert_webhook_url": "http://127.0.0.1:T0SECRET/x"},
        {"alert_email": "a@b.c", "smtp_url": "smtp://u:{}@h:25".format("T0SE#CRET")},
        {"alert_email": "a@b.c", "smtp_url": "smtp://h:T0SECRET"},
    ],
)
def test_an_address_that_cannot_be_read_is_never_quoted(overrides: dict[str, str]) -> None:
    with pytest.raises(ApexError, match="APEX_") as error:
        _send(_ALERT, load_settings(**overrides))
    assert "T0SE" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"alert_slack_url": "file:///etc/T0SECRET"}, "APEX_ALERT_SLACK_URL is not an http or https address"),
        ({"alert_email": "a@b.c"}, "APEX_SMTP_URL is not"),
        ({"alert_email": "a@b.c", "smtp_url": "mail.T0SECRET.org"}, "APEX_SMTP_URL is not an smtp"),
    ],
)
def test_a_wrong_setting_is_named(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        _send(_ALERT, load_settings(**overrides))


@pytest.mark.parametrize("status", [404, 500])
def test_errors_name_the_setting_and_never_the_address(receiver: _Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(ApexError, match=f"HTTP {status}") as error:
        _send(_ALERT, load_settings(alert_slack_url=receiver.url))
    assert "T0SECRET" not in str(error.value)


def _secret_settings(**more: object) -> Settings:
    return load_settings(
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="s3cr3t/key",  # noqa: S106  -- made up
        smtp_url="smtps://{}:{}@host:465".format("user", "p%40ss"),
        **more,
    )


def test_what_the_settings_keep_secret_is_removed_from_messages(receiver: _Receiver) -> None:
    text = f"key AKIAEXAMPLE secret s3cr3t/key password p@ss hook {receiver.url}"
    _send(Alert(text, (text,)), _secret_settings(alert_webhook_url=receiver.url))
    hidden = "key *** secret *** password *** hook ***"
    assert receiver.got == [{"title": hidden, "lines": [hidden]}]
    assert without_secrets("nothing to hide", _secret_settings()) == "nothing to hide"
