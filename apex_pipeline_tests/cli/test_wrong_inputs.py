"""Wrong settings, credentials and places: one message, the right variable, a next step, exit code 2, no traceback."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from apex_pipeline_tests.cli.conftest import SECRET, Apex
from apex_pipeline_tests.servers.s3_server import S3Bucket


class Case(NamedTuple):
    """A wrong input.

    Attributes:
        command: What is typed after ``apex``.
        variables: Variables of the environment.
        names: What the message must name.
    """

    command: str
    variables: dict[str, str]
    names: str


def _setting(name: str, value: str, says: str = "") -> Case:
    return Case("tracks", {name: value}, f"{name}: {says}")


def _misspelled(name: str, meant: str) -> Case:
    return Case("tracks", {name: "x"}, f"{name} (in environment): did you mean {meant}?")


_USER = "me:word"
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
_NOWHERE = {"USE_S3_DATA": "true", "S3_ENDPOINT_URL": "http://127.0.0.1:9", **_KEYS}
_CHAIN = {"USE_S3_DATA": "true", "S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}


def _s3(names: str, **variables: str) -> Case:
    return Case("tracks", {**_NOWHERE, **variables}, names)


def _chain(names: str, **variables: str) -> Case:
    return Case("tracks", {**_CHAIN, "AWS_CONFIG_FILE": "aws-config", **variables}, names)


_VALUES = [
    _setting("USE_S3_DATA", "maybe", "'maybe' is neither yes nor no"),
    _setting("USE_S3_DATA", "s3"),
    _setting("S3_USE_ACCELERATE", "fast"),
    _setting("ALLOW_CREATE_BUCKET", "2"),
    _setting("S3_BUCKET_NAME", "ab", "'ab' has fewer than 3 characters"),
    _setting("APEX_LOG_FORMAT", "xml", "'xml' is none of text, json"),
    _setting("APEX_ENVIRONMENT", "cloud", "'cloud' is none of laptop, server, render, cluster"),
    _setting("APEX_HISTORY_DAYS", "-1", "'-1' is less than 0"),
    _setting("APEX_HISTORY_DAYS", "a month", "'a month' is not a whole number"),
    _setting("APEX_HISTORY_DAYS", "1.5", "'1.5' is not a whole number"),
    _setting("APEX_SENSOR_INTERVAL", "0", "'0' is less than 1"),
    _setting("APEX_SENSOR_INTERVAL", "100000", "'100000' is more than 86400"),
    _setting("APEX_SENSOR_BUDGET", "0"),
    _setting("APEX_SENSOR_BUDGET", "10000", "'10000' is more than 1000"),
    _setting("APEX_MEMORY_LIMIT", "plenty", "'plenty' is not a size; write it like 512MB or 1GB"),
    _setting("APEX_MEMORY_LIMIT", "1MB", "1000000 is less than 500000000"),
    _setting("APEX_MEMORY_LIMIT", "-1GB"),
    _setting("APEX_MEMORY_LIMIT", "1,5GB"),
    _setting("APEX_CACHE_SIZE", "5 gigs"),
    _setting("APEX_CACHE_SIZE", "nan"),
    _setting("APEX_MAX_UNPACKED_SIZE", "0", "0 is less than 1"),
    _setting("APEX_MAX_LAP_FILE_SIZE", "1TB"),
    _setting("APEX_MAX_COMPRESSION_RATIO", "1", "'1' is less than 2"),
    _setting("APEX_MAX_LINE_LENGTH", "3MB", "3000000 is more than 2000000"),
    _setting("APEX_MAX_CELL_LENGTH", "99", "99 is less than 100"),
    _setting("APEX_MAX_COLUMNS", "70000", "'70000' is more than 65536"),
    _setting("APEX_MAX_COLUMNS", "many", "'many' is not a whole number"),
    _setting("APEX_MAX_CARS", "0"),
    _setting("APEX_MAX_NESTING", "1"),
    _setting("APEX_MAX_NESTING", "1e9"),
    _setting("S3_CHECKSUMS", "maybe", "'maybe' is none of auto, required, off"),
]
_MISSPELLED = [
    _misspelled("APEX_LAKE_DIRR", "APEX_LAKE_DIR"),
    _misspelled("APEX_LAKEDIR", "APEX_LAKE_DIR"),
    _misspelled("APEX_SOURCE_DIRS", "APEX_SOURCE_DIR"),
    _misspelled("APEX_SOURCE_DIRECTORY", "APEX_SOURCE_DIR"),
    _misspelled("APEX_LAKE_PREFX", "APEX_LAKE_PREFIX"),
    _misspelled("APEX_LAK_DIR", "APEX_LAKE_DIR"),
    _misspelled("APEX_MEMORY_LIMITS", "APEX_MEMORY_LIMIT"),
    _misspelled("APEX_MEM_LIMIT", "APEX_MEMORY_LIMIT"),
    _misspelled("APEX_CACHEDIR", "APEX_CACHE_DIR"),
    _misspelled("APEX_LOGFORMAT", "APEX_LOG_FORMAT"),
    _misspelled("APEX_TRACK_FILE", "APEX_TRACKS_FILE"),
    _misspelled("APEX_SECRETS_ID", "APEX_SECRET_ID"),
    _misspelled("APEX_ALERT_SLACK", "APEX_ALERT_SLACK_URL"),
    _misspelled("APEX_MAX_COLUMN", "APEX_MAX_COLUMNS"),
    _misspelled("S3_BUCKETNAME", "S3_BUCKET_NAME"),
    _misspelled("S3_BUCKET_NAMES", "S3_BUCKET_NAME"),
    _misspelled("S3_ENDPOINT_URI", "S3_ENDPOINT_URL"),
    _misspelled("S3_ENDPOINTURL", "S3_ENDPOINT_URL"),
    _misspelled("S3_CHECKSUM", "S3_CHECKSUMS"),
    _misspelled("APEX_STATEDIR", "APEX_STATE_DIR"),
    _misspelled("USE_S3DATA", "USE_S3_DATA"),
    _misspelled("USE_S3_DATAA", "USE_S3_DATA"),
    _misspelled("AWS_REGIONS", "AWS_REGION"),
    _misspelled("AWS_DEFAULT_REGIO", "AWS_DEFAULT_REGION"),
    _misspelled("AWS_ACCES_KEY_ID", "AWS_ACCESS_KEY_ID"),
    _misspelled("AWS_ACCESS_KEYID", "AWS_ACCESS_KEY_ID"),
    _misspelled("AWS_SECRET_ACCESSKEY", "AWS_SECRET_ACCESS_KEY"),
    _misspelled("AWS_SECRET_ACESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    _misspelled("AWS_SESION_TOKEN", "AWS_SESSION_TOKEN"),
    _misspelled("AWS_PROFIL", "AWS_PROFILE"),
]
_STORES = [
    _s3("AWS_ACCESS_KEY_ID cannot be used: it ends with a carriage return", AWS_ACCESS_KEY_ID="AKIA\r"),
    _s3("AWS_ACCESS_KEY_ID cannot be used: it is in quotes", AWS_ACCESS_KEY_ID="'AKIA'"),
    _s3("AWS_SECRET_ACCESS_KEY cannot be used: it contains a blank", AWS_SECRET_ACCESS_KEY=f"{SECRET} {SECRET}"),
    _s3("AWS_SECRET_ACCESS_KEY cannot be used: it starts with", AWS_SECRET_ACCESS_KEY=f" {SECRET}"),
    _s3("AWS_SESSION_TOKEN cannot be used: it ends with a line break", AWS_SESSION_TOKEN=f"{SECRET}\n"),
    _s3("AWS_SECRET_ACCESS_KEY is not set, but AWS_ACCESS_KEY_ID is", AWS_SECRET_ACCESS_KEY=""),
    _s3("AWS_ACCESS_KEY_ID is not set, but AWS_SECRET_ACCESS_KEY is", AWS_ACCESS_KEY_ID=" "),
    _s3("AWS_REGION (or AWS_DEFAULT_REGION) cannot be used: it contains a blank", AWS_REGION="us east"),
    _s3("AWS_REGION (or AWS_DEFAULT_REGION) cannot be used: 'Ohio!'", AWS_DEFAULT_REGION="Ohio!"),
    _s3("S3_BUCKET_NAME cannot be used: 's3://races'", S3_BUCKET_NAME="s3://races"),
    _s3("APEX_LAKE_PREFIX", S3_BUCKET_NAME="races/season"),
    _s3("S3_BUCKET_NAME cannot be used: it ends with a carriage return", S3_BUCKET_NAME="races\r"),
    _s3("APEX_LAKE_PREFIX", APEX_LAKE_PREFIX="a/../b"),
    _s3("APEX_LAKE_PREFIX", APEX_LAKE_PREFIX="season\r"),
    _s3("S3_ENDPOINT_URL cannot be used: it is not a URL", S3_ENDPOINT_URL="127.0.0.1:9000"),
    _s3("S3_ENDPOINT_URL cannot be used: it is not a URL", S3_ENDPOINT_URL="https//s3.example.com"),
    _s3("S3_ENDPOINT_URL cannot be used: it is not a valid URL: check its port", S3_ENDPOINT_URL="http://h:99999"),
    _s3(
        "S3_ENDPOINT_URL cannot be used: it contains the bucket races",
        S3_ENDPOINT_URL="http://h/races",
        S3_BUCKET_NAME="races",
    ),
    _s3("S3_ENDPOINT_URL cannot be used: it contains a user", S3_ENDPOINT_URL=f"http://{_USER}@h"),
    _s3("S3_ENDPOINT_URL cannot be used: it contains a query", S3_ENDPOINT_URL="http://h?bucket=b"),
]
_CHAINS = [
    _chain("there is no profile 'staging'", AWS_PROFILE="staging"),
    _chain("there is no profile 'staging'", AWS_DEFAULT_PROFILE="staging"),
    _chain("source profile", AWS_PROFILE="without-source"),
    _chain("credential process", AWS_PROFILE="without-process"),
    _chain("does not print JSON", AWS_PROFILE="chatty"),
    _chain("token file", AWS_PROFILE="without-token"),
    _chain("no-such-token", AWS_ROLE_ARN="arn:aws:iam::1:role/r", AWS_WEB_IDENTITY_TOKEN_FILE="no-such-token"),  # noqa: S106
    _chain("the configuration of AWS cannot be read", AWS_CONFIG_FILE="broken-config"),
    _chain("the configuration of AWS cannot be read", AWS_SHARED_CREDENTIALS_FILE="broken-config"),
    _chain("no complete credentials were found"),
    _chain("AWS_PROFILE", AWS_PROFILE="half"),
    _chain("AWS_ACCESS_KEY_ID", AWS_CONFIG_FILE="no-such-file"),
]
_PLACES = [
    Case("tracks", {}, "Nothing is published in the lake"),
    Case("tracks --lake nowhere", {}, "nowhere"),
    Case("tracks --lake ftp://races", {}, "'ftp://races' is not a lake location"),
    Case("tracks --lake s3://", {}, "'s3://' is not a lake location"),
    Case("tracks", {"APEX_LAKE_DIR": "a-file"}, "a-file"),
    Case("sync nowhere", {}, "nowhere"),
    Case("sync a-file", {}, "a-file"),
    Case("sync", {"APEX_SOURCE_DIR": "nowhere"}, "nowhere"),
    Case("sync a-folder", {"APEX_TRACKS_FILE": "nowhere.yaml"}, "nowhere.yaml"),
    Case("sync a-folder", {"APEX_TRACKS_FILE": "a-file"}, "a-file"),
    Case("explain nowhere.csv", {}, "nowhere.csv"),
    Case("init", {}, ".env already exists"),
    Case("demo", {"APEX_LAKE_DIR": "a-file"}, "a-file"),
]
_ALL = [*_VALUES, *_MISSPELLED, *_STORES, *_CHAINS, *_PLACES]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder, with the files that the cases name."""
    (tmp_path / "a-file").write_text("tracks: [\n", encoding="utf-8")
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-folder" / "R1_laps.csv").write_text("lap\n1\n", encoding="utf-8")
    (tmp_path / ".env").write_text("# nothing is set\n", encoding="utf-8")
    (tmp_path / "broken-config").write_text("[profile\nregion\n", encoding="utf-8")
    (tmp_path / "aws-config").write_text(
        "[profile without-source]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = nobody\n"
        "[profile without-process]\ncredential_process = /no/such/program\n"
        f"[profile chatty]\ncredential_process = /bin/echo {SECRET}\n"
        "[profile without-token]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /no/such/token\n"
        "[profile half]\naws_access_key_id = AKIAEXAMPLE\n",
        encoding="utf-8",
    )
    return tmp_path


def _set(monkeypatch: pytest.MonkeyPatch, folder: Path, variables: dict[str, str]) -> None:
    monkeypatch.setenv("HOME", str(folder))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_there_are_a_hundred_wrong_inputs() -> None:
    assert len({(case.command, *case.variables.items()) for case in _ALL}) >= 100


@pytest.mark.parametrize("case", _ALL, ids=[f"{case.command} {case.variables}"[:90] for case in _ALL])
def test_a_wrong_input_gets_one_message_with_its_name_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, folder: Path, apex: Apex, case: Case
) -> None:
    _set(monkeypatch, folder, case.variables)
    done = apex(*case.command.split())
    assert done.code == 2, done.error
    assert done.error.count("Problem: ") == done.error.count("Next step: ") == 1, done.error
    assert case.names in " ".join(done.error.split())
    assert "Traceback" not in done.error
    assert SECRET not in done.out + done.error


@pytest.mark.parametrize("case", [*_STORES[::3], *_CHAINS], ids=lambda case: str(case.variables)[:90])
def test_the_doctor_reports_a_wrong_credential_as_a_finding(
    monkeypatch: pytest.MonkeyPatch, folder: Path, apex: Apex, case: Case
) -> None:
    _set(monkeypatch, folder, case.variables)
    done = apex("doctor")
    assert done.code == 2, done.error
    assert "problem " in done.out
    assert case.names in " ".join(done.out.split()) or "no credentials were found" in done.out
    assert "Traceback" not in done.out + done.error
    assert SECRET not in done.out + done.error


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, "Check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "AWS_SECRET_ACCESS_KEY"),
        ({"S3_BUCKET_NAME": "there-is-none"}, "S3_BUCKET_NAME"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "S3_ENDPOINT_URL"),
        ({"S3_ENDPOINT_URL": "", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Check AWS_ENDPOINT_URL"),
        ({"S3_ENDPOINT_URL": " ", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "AWS_ENDPOINT_URL_S3"),
        ({"APEX_LAKE_PREFIX": "another"}, "/another"),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_what_a_store_refuses_is_blamed_on_the_right_variable(
    monkeypatch: pytest.MonkeyPatch, apex: Apex, s3_bucket: S3Bucket, variables: dict[str, str], names: str
) -> None:
    for name, value in {**s3_bucket.environment, **variables}.items():
        monkeypatch.setenv(name, value)
    done = apex("tracks")
    assert done.code == 2
    assert done.error.count("Problem: ") == 1
    assert names in " ".join(done.error.split())
    assert SECRET not in done.error


@pytest.mark.parametrize(
    "name", ["AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL"]
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_variable_of_aws_is_an_unset_one(
    monkeypatch: pytest.MonkeyPatch, apex: Apex, s3_bucket: S3Bucket, name: str, blank: str
) -> None:
    for variable, value in {**s3_bucket.environment, name: blank}.items():
        monkeypatch.setenv(variable, value)
    assert "Nothing is published in the lake" in apex("tracks").error
    assert name not in os.environ
