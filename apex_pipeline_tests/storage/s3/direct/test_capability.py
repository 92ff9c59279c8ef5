"""Who sends the requests for objects: each thing that only botocore knows how to do makes botocore send them."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.direct.addressing import learn_addressing
from apex_pipeline.storage.s3.direct.capability import reason_for_botocore
from apex_pipeline.storage.s3.direct.client import DirectClient

_ENDPOINT = "http://127.0.0.1:1"  # no service listens there; nothing is sent


def _connection(bucket: str = "races", endpoint: str | None = _ENDPOINT) -> S3Connection:
    return S3Connection(bucket, "eu-west-3", endpoint, "key", "hush-hush")


def _is_direct(connection: S3Connection) -> bool:
    return isinstance(connection.objects, DirectClient)


@pytest.mark.parametrize("bucket", ["races", "my.races"])
@pytest.mark.parametrize("endpoint", [None, _ENDPOINT, "https://store.local:9000/base"])
def test_usual_buckets_are_reached_directly(bucket: str, endpoint: str | None) -> None:
    assert _is_direct(_connection(bucket, endpoint))


def test_the_address_is_the_one_that_botocore_chooses() -> None:
    starts = [
        vars(_connection(bucket, endpoint).objects)["_addressing"].start
        for bucket, endpoint in [("races", None), ("my.races", None), ("races", "https://store.local:9000/base")]
    ]
    assert starts == [
        "https://races.s3.eu-west-3.amazonaws.com/",
        "https://s3.eu-west-3.amazonaws.com/my.races/",
        "https://store.local:9000/base/races/",
    ]


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        (None, "races.s3.eu-west-3.amazonaws.com"),
        ("http://store.local:80", "store.local"),
        ("https://store.local:443", "store.local"),
        ("https://store.local:9000", "store.local:9000"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_the_host_is_signed_as_botocore_signs_it(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, host: str
) -> None:
    moment = datetime(2026, 9, 6, 18, 40)  # noqa: DTZ001  -- as botocore's
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: moment)
    addressing = vars(_connection(endpoint=endpoint).objects)["_addressing"]
    signed = addressing.sign("HEAD", addressing.url("x"), {}, None, None)
    assert signed.headers["Host"] == host
    without = replace(addressing, signed_headers={})
    assert (
        without.sign("HEAD", addressing.url("x"), {}, None, None).headers["Authorization"]
        == (signed.headers["Authorization"])
    )


@pytest.mark.parametrize(
    "bucket",
    [
        "arn:aws:s3:eu-west-3:123456789012:accesspoint/races",
        "races-0123456789abcdef-s3alias",
        "races-0123456789abcdef--ol-s3",
        "races--euw3-az1--x-s3",
    ],
)
def test_access_points_and_directory_buckets_are_left_to_botocore(bucket: str) -> None:
    assert not _is_direct(_connection(bucket, None))


def test_transfer_acceleration_is_left_to_botocore() -> None:
    assert not _is_direct(S3Connection("races", "eu-west-3", None, "key", "hush-hush", use_accelerate=True))


@pytest.mark.parametrize("variable", ["AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"])
def test_special_endpoints_are_left_to_botocore(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    assert not _is_direct(_connection(endpoint=None))


@pytest.mark.parametrize(
    ("proxy", "expected"), [("http://proxy.local:3128", True), ("proxy.local:3128", True), ("http://me@proxy:1", False)]
)
def test_a_proxy_that_asks_for_a_user_is_left_to_botocore(
    monkeypatch: pytest.MonkeyPatch, proxy: str, *, expected: bool
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    assert _is_direct(_connection(endpoint=None)) is expected


def test_a_proxy_for_other_addresses_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me@proxy:1")
    monkeypatch.setenv("no_proxy", "amazonaws.com")
    assert _is_direct(_connection(endpoint=None))
    assert _is_direct(_connection())


def _handle(**_: object) -> None:
    """Handle an event."""


class _Handler:
    def __call__(self, **_: object) -> None:
        """Handle an event."""


_WAYS: dict[str, Callable[[S3Connection], object]] = {
    "register": lambda to: to.client.meta.events.register("before-sign.s3", _handle),
    "register_first": lambda to: to.client.meta.events.register_first("before-send.s3", _handle),
    "register_last": lambda to: to.client.meta.events.register_last("before-call.s3", _handle),
    "an object": lambda to: to.client.meta.events.register("request-created.s3.PutObject", _Handler()),
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_client_with_handlers_of_others_is_left_to_botocore(way: str) -> None:
    connection = _connection()
    assert _is_direct(connection)
    _WAYS[way](connection)
    assert not _is_direct(connection)
    assert connection.objects is connection.client


def test_a_plugin_of_botocore_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "its_plugin.py").write_text(
        "def handle(**_): pass\ndef initialize_client_plugin(client):\n"
        "    client.meta.events.register('before-sign.s3', handle)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BOTOCORE_EXPERIMENTAL__PLUGINS", "its=its_plugin")
    assert not _is_direct(_connection())


def test_a_replaced_reply_of_botocores_stubber_is_noticed() -> None:
    from botocore.stub import Stubber  # noqa: PLC0415  -- only here

    connection = _connection()
    with Stubber(connection.client) as stubber:
        stubber.add_client_error("head_object", "404")
        assert not _is_direct(connection)


def test_a_connection_can_do_without() -> None:
    connection = S3Connection("races", "eu-west-3", _ENDPOINT, "key", "hush-hush", is_direct=False)
    assert connection.objects is connection.client


_USUAL: Any = {"payload_signing_enabled": False}
_DUALSTACK: Any = {**_USUAL, "use_dualstack_endpoint": True}
_ACCELERATED: Any = {**_USUAL, "use_accelerate_endpoint": True}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(s3=_USUAL), None),
        (Config(s3=_USUAL, client_cert="cert.pem"), "client_cert is set"),
        (Config(s3=_USUAL, proxies_config={"proxy_ca_bundle": "x"}), "proxies_config is set"),
        (Config(s3=_USUAL, tcp_keepalive=True), "tcp_keepalive is set"),
        (Config(s3=_DUALSTACK), "use_dualstack_endpoint is set"),
        (Config(s3=_ACCELERATED), "use_accelerate_endpoint is set"),
        (Config(s3={}), "the bodies are signed"),
        (Config(), "the bodies are signed"),
        (Config(s3={"payload_signing_enabled": True}), "the bodies are signed"),
    ],
)
def test_settings_that_change_how_requests_are_sent_are_left_to_botocore(config: Config, reason: str | None) -> None:
    addressing = vars(_connection().objects)["_addressing"]
    assert reason_for_botocore("races", config, addressing, {}, {}, []) == reason


def test_a_setting_of_the_profile_counts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ntcp_keepalive = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert not _is_direct(_connection())


@pytest.mark.parametrize("signature", ["s3", UNSIGNED])
def test_other_signatures_are_left_to_botocore(signature: Any) -> None:
    session: Any = botocore.session.Session()
    session.set_credentials("key", "hush-hush")
    config = Config(signature_version=signature, s3=_USUAL)
    client = session.create_client("s3", region_name="us-east-1", endpoint_url=_ENDPOINT, config=config)
    assert learn_addressing(client, "races") is None
    assert reason_for_botocore("races", config, None, {}, {}, []) == "the requests are not signed as usual"


def test_a_bucket_that_botocore_refuses_is_left_to_it() -> None:
    assert not _is_direct(_connection("not a bucket"))


def test_without_credentials_botocore_explains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    assert S3Connection("races", "us-east-1").objects is not None
