"""Settings of a bucket that cannot be used are reported by name, before boto3 sees them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.factory import open_store, open_store_at, s3_connection

_KEYS = {"aws_access_key_id": "key-of-the-lake", "aws_secret_access_key": "hush-hush"}


def _settings(**changes: Any) -> Settings:
    return load_settings(**{"use_s3_data": True, "s3_endpoint_url": "http://127.0.0.1:9000", **_KEYS, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aws_access_key_id": "AKIA\r"}, "AWS_ACCESS_KEY_ID cannot be used: it ends with a carriage return"),
        ({"aws_access_key_id": " AKIA"}, "AWS_ACCESS_KEY_ID cannot be used: it starts with a blank"),
        ({"aws_access_key_id": "AK IA"}, "AWS_ACCESS_KEY_ID cannot be used: it contains a blank"),
        ({"aws_access_key_id": '"AKIA"'}, "AWS_ACCESS_KEY_ID cannot be used: it is in quotes"),
        ({"aws_secret_access_key": "hush-hush\r"}, "AWS_SECRET_ACCESS_KEY cannot be used: it ends with a carriage"),
        ({"aws_secret_access_key": "hush\u2026hush"}, "AWS_SECRET_ACCESS_KEY cannot be used: it contains a letter out"),
        ({"aws_secret_access_key": "hush\0hush"}, "AWS_SECRET_ACCESS_KEY cannot be used: it contains a control"),
        ({"aws_session_token": "hush\nhush"}, "AWS_SESSION_TOKEN cannot be used: it contains a line break"),
        ({"aws_region": " us-east-1"}, r"AWS_REGION \(or AWS_DEFAULT_REGION\) cannot be used: it starts with a blank"),
        ({"aws_region": "us east"}, "AWS_REGION .* it contains a blank"),
        ({"aws_region": "us-east-1\r"}, "AWS_REGION .* it ends with a carriage return"),
        ({"aws_region": "Virginia!"}, "AWS_REGION .* 'Virginia!' is not the name of a region"),
        ({"bucket": "races\r"}, "S3_BUCKET_NAME cannot be used: it ends with a carriage return"),
        ({"bucket": "s3://races"}, "S3_BUCKET_NAME cannot be used: 's3://races' is not the name of a bucket"),
        ({"bucket": "races/lake"}, "S3_BUCKET_NAME .* belongs in APEX_LAKE_PREFIX"),
        ({"lake_prefix": "lake\r"}, "APEX_LAKE_PREFIX .* contains a control character"),
        ({"lake_prefix": "a/../b"}, "APEX_LAKE_PREFIX"),
        ({"s3_endpoint_url": "http://h:9000\r"}, "S3_ENDPOINT_URL cannot be used: it ends with a carriage return"),
        ({"s3_endpoint_url": " http://h:9000"}, "S3_ENDPOINT_URL cannot be used"),
        ({"s3_endpoint_url": "127.0.0.1:9000"}, "S3_ENDPOINT_URL cannot be used: it is not a URL"),
        ({"s3_endpoint_url": "s3://races"}, "S3_ENDPOINT_URL cannot be used: it is not a URL"),
        ({"s3_endpoint_url": "http://"}, "S3_ENDPOINT_URL cannot be used: it is not a URL"),
        ({"s3_endpoint_url": "http://h:99999"}, "S3_ENDPOINT_URL cannot be used: .* port"),
        ({"s3_endpoint_url": "http://h:x"}, "S3_ENDPOINT_URL cannot be used: .* port"),
        ({"s3_endpoint_url": "http://[::1"}, "S3_ENDPOINT_URL cannot be used"),
        ({"s3_endpoint_url": "http://h:9000?x=1"}, "S3_ENDPOINT_URL cannot be used: it contains a query"),
        ({"s3_endpoint_url": "http://me:" + "hush-hush@h"}, "S3_ENDPOINT_URL cannot be used: it contains a user"),
        ({"s3_endpoint_url": "http://h/races", "bucket": "races"}, "S3_ENDPOINT_URL .* contains the bucket races"),
        ({"s3_endpoint_url": "http://h/races/", "bucket": "races"}, "S3_ENDPOINT_URL .* contains the bucket races"),
        (
            {"s3_endpoint_url": "https://races.s3.amazonaws.com", "bucket": "races"},
            "S3_ENDPOINT_URL .* contains the bucket races",
        ),
    ],
    ids=str,
)
def test_an_invalid_setting_is_named_and_no_key_is_shown(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        open_store(_settings(**changes), for_writing=False)
    assert "hush" not in str(raised.value)
    assert "AKIA" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"s3_endpoint_url": None},
        {"s3_endpoint_url": "http://127.0.0.1:9000/"},
        {"s3_endpoint_url": "http://[::1]:9000"},
        {"s3_endpoint_url": "https://project.example.com/storage/v1/s3"},
        {"s3_endpoint_url": "https://races.example.com", "bucket": "races"},
        {"bucket": "arn:aws:s3:eu-west-1:123456789012:accesspoint/races"},
        {"bucket": "Races_2026.old"},
        {"aws_region": "auto"},
        {"aws_secret_access_key": "a/b+c=="},
        {"aws_access_key_id": None, "aws_secret_access_key": None},
        {"lake_prefix": "lakes/one with blank"},
    ],
    ids=str,
)
def test_an_unusual_setting_is_accepted(changes: dict[str, Any]) -> None:
    settings = _settings(**changes)
    uri = f"s3://{settings.bucket}/{settings.lake_prefix}".rstrip("/")
    assert open_store(settings, for_writing=False).uri.rstrip("/") == uri


def test_the_bucket_of_a_uri_is_checked_too() -> None:
    with pytest.raises(ConfigurationError, match="The bucket of the URI cannot be used: it contains a blank"):
        open_store_at("s3://my races/lake", _settings())


@given(value=st.text(min_size=1))
def test_every_key_is_refused_or_can_be_sent_in_a_header(value: str) -> None:
    is_plain = value.isascii() and value.isprintable() and " " not in value
    is_quoted = value[0] in "\"'" and value[0] == value[-1]
    if is_plain and not is_quoted:
        s3_connection(_settings(aws_access_key_id=value))
    else:
        with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID cannot be used"):
            s3_connection(_settings(aws_access_key_id=value))
