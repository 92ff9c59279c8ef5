"""Defines every environment variable the project reads: name, type, default, help and validation.

Other modules take a :class:`Settings` as an argument and never read the environment themselves. ``.env`` in the working
directory is read too; the environment takes precedence over it.

Why not pydantic-settings: it costs every command and every reader 0.06 s of CPU, most of it for sources that this
project does not have, and here two dictionaries are read.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake_folder import DEFAULT_LAKE, nearest_lake
from apex_pipeline.setting_problems import misspelled, reason_in_words

_TRUE_WORDS = ("true", "1", "yes", "on")
_FALSE_WORDS = ("false", "0", "no", "off", "")
# 1 GB leaves room for the system on an 8 GB laptop with a browser open; the process uses 430 MB before the first
# reading.
DEFAULT_MEMORY_LIMIT = 1_000_000_000

_SIZE_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}


def _parse_switch(value: object) -> object:
    """Parse the usual words for yes and no, ignoring case; the error for other words lists the accepted ones."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE_WORDS:
            return True
        if word in _FALSE_WORDS:
            return False
        accepted = ", ".join([*_TRUE_WORDS, *(word for word in _FALSE_WORDS if word)])
        raise ValueError(f"{value!r} is neither yes nor no; accepted: {accepted}")
    return value


def _parse_size(value: object) -> object:
    """Parse ``512MB``, ``1GB``, ``1GiB`` or a number of bytes."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?)B?\s*", value.upper())
        if match is None or match[2] not in _SIZE_UNITS:
            raise ValueError(f"{value!r} is not a size; write it like 512MB or 1GB")
        return int(float(match[1]) * _SIZE_UNITS[match[2]])
    return value


def _clean_prefix(value: str) -> str:
    return value.strip("/")


def _end_with_slash(value: str) -> str:
    """Return the prefix with one slash at its end; a slash alone is no prefix, which an empty variable cannot say."""
    stripped = value.strip("/")
    return f"{stripped}/" if stripped else ""


# Where Dagster runs; orchestration/automation_table.py says what that means.
Environment = Literal["laptop", "server", "render", "cluster"]

Switch = Annotated[bool, BeforeValidator(_parse_switch)]
ByteSize = Annotated[int, BeforeValidator(_parse_size)]
Prefix = Annotated[str, AfterValidator(_clean_prefix)]
FolderPrefix = Annotated[str, AfterValidator(_end_with_slash)]


_ENV_FILE = Path(".env")


class Settings(BaseModel):
    """The configuration of one process, read from the environment and ``.env`` by :func:`load_settings`."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    use_s3_data: Switch = Field(
        False, alias="USE_S3_DATA", description="Where the lake is: true for S3, false for a local folder."
    )
    source_dir: Path = Field(
        Path("data"), alias="APEX_SOURCE_DIR", description="Folder of raw race files that a sync reads."
    )
    source_uri: str | None = Field(
        None,
        alias="APEX_SOURCE_URI",
        description="Raw race files in a bucket, as s3://bucket/prefix; unset: those of the folder.",
    )
    lake_dir: Path = Field(
        DEFAULT_LAKE,
        alias="APEX_LAKE_DIR",
        description="The lake when it is a local folder; unset: lake, here or in the nearest folder above.",
    )
    bucket: str = Field(
        "apex-racing-data", alias="S3_BUCKET_NAME", description="The lake's bucket when it is in S3.", min_length=3
    )
    lake_prefix: Prefix = Field(
        "", alias="APEX_LAKE_PREFIX", description="Key prefix inside the bucket, for several lakes in one bucket."
    )
    aws_access_key_id: str | None = Field(
        None, alias="AWS_ACCESS_KEY_ID", description="Access key; unset uses boto3's other sources (profile, role)."
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, alias="AWS_SECRET_ACCESS_KEY", description="Secret access key. Never logged."
    )
    aws_session_token: SecretStr | None = Field(
        None, alias="AWS_SESSION_TOKEN", description="Only with temporary credentials. Never logged."
    )
    # boto3 itself reads only AWS_DEFAULT_REGION; both are accepted here and passed to it explicitly.
    aws_region: str = Field(
        "us-east-1",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION", "aws_region"),
        description="Region of the bucket (AWS_DEFAULT_REGION is read too).",
    )
    s3_endpoint_url: str | None = Field(
        None, alias="S3_ENDPOINT_URL", description="URL of an S3-compatible store; unset: AWS."
    )
    s3_checksums: Literal["auto", "required", "off"] = Field(
        "auto",
        alias="S3_CHECKSUMS",
        description="CRC32 of what is sent: auto, unless the store refuses it; required; or off, only Content-MD5.",
    )
    s3_object_acl: str | None = Field(
        None,
        alias="S3_OBJECT_ACL",
        description="ACL of copied objects, for example public-read; most buckets do not allow ACLs. Unset: private.",
    )
    s3_use_accelerate: Switch = Field(
        False, alias="S3_USE_ACCELERATE", description="Use S3 Transfer Acceleration; the bucket must have it enabled."
    )
    secret_id: str | None = Field(
        None,
        alias="APEX_SECRET_ID",
        description="Name of the AWS Secrets Manager secret that contains the access key and its secret.",
    )
    public_base_url: str | None = Field(
        None, alias="PUBLIC_BASE_URL", description="Base URL that serves the public part of the bucket (CDN)."
    )
    allow_create_bucket: Switch = Field(
        False, alias="ALLOW_CREATE_BUCKET", description="Let a sync create a missing bucket. Never done silently."
    )
    database_url: SecretStr | None = Field(
        None,
        alias="DATABASE_URL",
        description="Database of the AMS2 races, postgresql://user:{password}@host/name; unset: races.sqlite next to "
        "APEX_LAKE_DIR. Never logged.",
    )
    redis_host: str | None = Field(
        None,
        alias="REDIS_HOST",
        description="Host of Redis, the queue of AMS2 races; unset: races are processed on this machine.",
    )
    redis_port: int = Field(6379, alias="REDIS_PORT", description="Port of Redis.", ge=1, le=65_535)
    redis_url: SecretStr | None = Field(
        None,
        alias="REDIS_URL",
        description="URL of Redis instead of host and port, redis://:password@host:6379/0. Never logged.",
    )
    ams2_bucket: str = Field(
        "ams2-telemetry",
        alias="AMS2_BUCKET_NAME",
        description="Bucket of the AMS2 races; may be the lake's. Used with USE_S3_DATA=true only.",
        min_length=3,
    )
    # The worst hour, with noise in every number, is 140 MB; half as much again is for races of more than an hour.
    max_race_mb: int = Field(
        256,
        alias="MAX_RACE_MB",
        description="Largest AMS2 race that is accepted, compressed, in megabytes.",
        ge=1,
        le=2_000,
    )
    keep_names: Switch = Field(
        False,
        alias="APEX_KEEP_NAMES",
        description="Keep the names of drivers in AMS2 races; they are personal, and dropped by default.",
    )
    api_token: SecretStr | None = Field(
        None,
        alias="APEX_API_TOKEN",
        description="Token that HTTP requests must bring; unset: only requests from this machine are answered.",
    )
    api_origins: str = Field(
        "",
        alias="APEX_API_ORIGINS",
        description="Web sites whose pages may use the API, separated by commas: https://example.org. Empty: none.",
    )
    dagster_home: Path = Field(
        Path(".dagster"),
        alias="DAGSTER_HOME",
        description="Folder of Dagster's runs, as an absolute path; if empty, .dagster in the working directory.",
    )
    history_days: int = Field(
        30,
        alias="APEX_HISTORY_DAYS",
        description="Days that runs stay in Dagster's history after later runs have replaced their results.",
        ge=0,
    )
    state_dir: Path = Field(
        Path(".apex"),
        alias="APEX_STATE_DIR",
        description="Local state of this machine: digest cache and temporary files. Safe to delete.",
    )
    cache_dir: Path | None = Field(
        None,
        alias="APEX_CACHE_DIR",
        description="Folder in which objects read from S3 are cached; unset: no cache.",
    )
    cache_size: ByteSize = Field(
        5_000_000_000,
        alias="APEX_CACHE_SIZE",
        description="Maximum size of the cache; the least recently used objects are removed first.",
        ge=0,
    )
    log_format: Literal["text", "json"] = Field(
        "text", alias="APEX_LOG_FORMAT", description="Format of log lines: text, or json (one object per line)."
    )
    tracks_file: Path | None = Field(
        None, alias="APEX_TRACKS_FILE", description="YAML file with additional tracks, aliases and file-name patterns."
    )
    track_lengths_file: Path | None = Field(
        None,
        alias="APEX_TRACK_LENGTHS_FILE",
        description="YAML file with the lengths of tracks, in addition to the built-in ones.",
    )
    drivers_file: Path | None = Field(
        None,
        alias="APEX_DRIVERS_FILE",
        description="YAML file with the driver of each car, for the column Driver of the loaders; unset: vehicle_id.",
    )
    memory_limit: ByteSize = Field(
        DEFAULT_MEMORY_LIMIT,
        alias="APEX_MEMORY_LIMIT",
        description="Memory limit of a process that derives tables from raw files, and of an SQL query.",
        ge=500_000_000,
    )
    environment: Environment = Field(
        "laptop",
        alias="APEX_ENVIRONMENT",
        description="Where Dagster runs: laptop, server, render or cluster; decides which automation exists.",
    )
    # A tick at 2,000 sessions takes a few seconds; a file counts as complete if two ticks in a row see the same.
    sensor_interval_s: int = Field(
        30,
        alias="APEX_SENSOR_INTERVAL",
        description="Seconds between two ticks of the sensor.",
        ge=1,
        le=86_400,
    )
    # Creating a run takes Dagster 0.3 s, so a tick with 25 of them ends within 10 s.
    sensor_budget: int = Field(
        25,
        alias="APEX_SENSOR_BUDGET",
        description="Most sessions for which one tick of the sensor starts runs; the next tick goes on from there.",
        ge=1,
        le=1_000,
    )
    alert_slack_url: SecretStr | None = Field(
        None,
        alias="APEX_ALERT_SLACK_URL",
        description="Slack webhook that gets a message about failed runs. Never logged.",
    )
    alert_webhook_url: SecretStr | None = Field(
        None, alias="APEX_ALERT_WEBHOOK_URL", description="URL to which failed runs are sent as JSON. Never logged."
    )
    alert_email: str | None = Field(
        None, alias="APEX_ALERT_EMAIL", description="Address that gets e-mails about failed runs; needs APEX_SMTP_URL."
    )
    smtp_url: SecretStr | None = Field(
        None,
        alias="APEX_SMTP_URL",
        description="Mail server: smtp://host:25, or smtps://{user}:{password}@host:465. Never logged.",
    )
    web_password: SecretStr | None = Field(
        None,
        alias="APEX_WEB_PASSWORD",
        description="Password of Dagster's UI where its address is public (python -m apex_pipeline.web). Never logged.",
    )
    # Limits on raw files; sources/limits.py has the reason for each default.
    max_unpacked_size: ByteSize = Field(
        100_000_000_000,
        alias="APEX_MAX_UNPACKED_SIZE",
        description="Largest telemetry file, decompressed; a larger one is set aside.",
        ge=1,
    )
    max_lap_file_size: ByteSize = Field(
        1_000_000_000,
        alias="APEX_MAX_LAP_FILE_SIZE",
        description="Largest lap or official timing file, decompressed; a larger one is set aside.",
        ge=1,
    )
    max_compression_ratio: int = Field(
        200,
        alias="APEX_MAX_COMPRESSION_RATIO",
        description="Most that a file may grow when it is decompressed, as a multiple of its size.",
        ge=2,
    )
    max_line_length: ByteSize = Field(
        1_000_000,
        alias="APEX_MAX_LINE_LENGTH",
        description="Longest line of a raw file, at most 2MB.",
        ge=1,
        le=2_000_000,
    )
    max_cell_length: ByteSize = Field(
        10_000,
        alias="APEX_MAX_CELL_LENGTH",
        description="Longest cell of a raw file in characters, at most 100000; a list of readings may be longer.",
        ge=100,
        le=100_000,
    )
    max_columns: int = Field(
        1_000,
        alias="APEX_MAX_COLUMNS",
        description="Most columns of a raw file, and most channels of a session's telemetry.",
        ge=2,
        le=65_536,
    )
    max_cars: int = Field(
        1_000,
        alias="APEX_MAX_CARS",
        description="Most different cars in one session.",
        ge=1,
    )
    max_nesting: int = Field(
        20,
        alias="APEX_MAX_NESTING",
        description="Deepest nesting of lists and objects in JSON.",
        ge=2,
        le=200,
    )
    # Rotated event files; docs/events.md has the reasons. The first five names are those of the original shipper.
    event_bucket: str | None = Field(
        None, alias="BUCKET_NAME", description="Bucket of rotated event files; required to ship them.", min_length=3
    )
    event_prefix: FolderPrefix = Field(
        "xml-events/", alias="PREFIX", description="Key prefix of event files; / puts them at the top of the bucket."
    )
    use_date_folders: Switch = Field(
        False, alias="USE_DATE_FOLDERS", description="Put event files in folders by date, such as 2025/07/29/."
    )
    max_retries: int = Field(
        5, alias="MAX_RETRIES", description="Attempts to upload an event file before giving up.", ge=1, le=100
    )
    retry_base_delay: float = Field(
        1.0,
        alias="RETRY_BASE_DELAY",
        description="Seconds before the second attempt; each later pause is twice as long, up to 60 s.",
        ge=0,
        le=60,
        allow_inf_nan=False,
    )
    event_source: str = Field(
        "xml-stream-aggregator",
        alias="EVENT_SOURCE",
        description="Origin of event files, as their metadata says it.",
    )
    events_settle_s: float = Field(
        5,
        alias="EVENTS_SETTLE_S",
        description="Seconds for which an event file must not have changed before it is taken.",
        ge=0,
        le=3600,
        allow_inf_nan=False,
    )
    events_poll_s: float = Field(
        2,
        alias="EVENTS_POLL_S",
        description="Seconds between two listings of the folder of event files.",
        ge=0.05,
        le=3600,
        allow_inf_nan=False,
    )
    events_concurrency: int = Field(
        1,
        alias="EVENTS_CONCURRENCY",
        description="Event files sent at the same time; more than 1 gives up their order.",
        ge=1,
        le=32,
    )
    events_on_success: Literal["move", "delete", "keep"] = Field(
        "move",
        alias="EVENTS_ON_SUCCESS",
        description="After a file is shipped: move it to done/, delete or keep it.",
    )
    events_compress: Literal["none", "gzip"] = Field(
        "none", alias="EVENTS_COMPRESS", description="gzip compresses event files and adds .gz to their names."
    )
    events_shared_folder: Switch = Field(
        False,
        alias="EVENTS_SHARED_FOLDER",
        description="Whether several machines ship the same network folder; each then claims files by renaming them.",
    )
    events_mapping_file: Path | None = Field(
        None,
        alias="EVENTS_MAPPING_FILE",
        description="YAML file with the columns and the personal fields of each source of events.",
    )
    events_dir: Path | None = Field(
        None,
        alias="EVENTS_DIR",
        description="Folder of rotated event files that Dagster ships; unset: Dagster ships none.",
    )
    events_silence_min: int = Field(
        15,
        alias="EVENTS_SILENCE_MIN",
        description="Minutes without a new event file after which Dagster's freshness check fails.",
        ge=1,
    )

    @property
    def source(self) -> str:
        """Where raw race files come from, for messages: a URI, or the path of a folder."""
        return self.source_uri or str(self.source_dir)

    @property
    def max_race_bytes(self) -> int:
        """Largest AMS2 race that is accepted, compressed, in bytes."""
        return self.max_race_mb * 1_000_000


def load_settings(**overrides: object) -> Settings:
    """Return the settings of this process.

    Args:
        **overrides: Field values that take precedence over the environment, by field name.

    Raises:
        ConfigurationError: A variable is misspelled or invalid; the message lists every invalid variable and its
            accepted values.
    """
    try:
        environment, env_file = _environment(), _read_env_file()
        _refuse_misspelled(environment, env_file)
        settings = Settings.model_validate(_field_values(env_file) | _field_values(environment) | overrides)
        if "lake_dir" in settings.model_fields_set or settings.use_s3_data:
            return settings
        nearest = nearest_lake(Path.cwd())
        return settings if nearest == DEFAULT_LAKE else settings.model_copy(update={"lake_dir": nearest})
    except ValidationError as error:
        problems = "; ".join(f"{_variable_of(entry['loc'])}: {reason_in_words(entry)}" for entry in error.errors())
        raise ConfigurationError(
            f"The configuration cannot be read: {problems}.",
            "Correct it in the environment or in .env; `apex init` writes a .env with every variable.",
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(
            f"{_ENV_FILE.absolute()} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.",
            "Correct it, or remove it: `apex init` writes a new one.",
        ) from error


def _environment() -> dict[str, str]:
    """Return the variables of the environment by their names in upper case, without blank ones."""
    return _without_blanks(os.environ)


def _read_env_file() -> dict[str, str]:
    """Return the variables of ``.env`` like those of the environment.

    Raises:
        UnicodeDecodeError: It is not UTF-8; ``OSError``: it cannot be read.
    """
    if not _ENV_FILE.is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415  -- many readers have no such file

    return _without_blanks(dotenv_values(_ENV_FILE, encoding="utf-8"))


def _without_blanks(variables: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out blank values: ``.env`` may have lines without one, and a blank variable hides none of ``.env``."""
    return {name.upper(): value for name, value in variables.items() if value and value.strip()}


def _field_values(variables: Mapping[str, str]) -> dict[str, object]:
    """Return the values of the settings that are among these variables, by field name."""
    found: dict[str, object] = {}
    for field in Settings.model_fields:
        name = next((name for name in _variables_of(field) if name in variables), None)
        if name is not None:
            found[field] = variables[name]
    return found


def _refuse_misspelled(environment: Mapping[str, str], env_file: Mapping[str, str]) -> None:
    """Refuse variables that are probably misspelled settings: they would be ignored without a word.

    Raises:
        ConfigurationError: There is one.
    """
    sources = _sources(environment, env_file)
    known = [*environment_variables(), "AWS_DEFAULT_REGION"]
    wrong = misspelled(sources, known, {name for name in sources if name in known})
    if wrong:
        names = "; ".join(f"{name} (in {sources[name]}): did you mean {right}?" for name, right in wrong.items())
        raise ConfigurationError(f"There is no such setting: {names}", "Correct the name, or unset the variable.")


def environment_variables() -> dict[str, tuple[str, str]]:
    """Return the default (as text) and help of each variable, in declaration order."""
    variables: dict[str, tuple[str, str]] = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        variables[_variable_of((name,))] = (default, field.description or "")
    return variables


def setting_sources() -> dict[str, str]:
    """Return the settings that are set, each with its source: ``environment``, or the path of ``.env``."""
    known = {*environment_variables(), "AWS_DEFAULT_REGION"}
    sources = _sources(_environment(), _read_env_file())
    return {name: source for name, source in sorted(sources.items()) if name in known}


def _sources(environment: Mapping[str, str], env_file: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(env_file, str(_ENV_FILE.absolute())) | dict.fromkeys(environment, "environment")


def _variable_of(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return _variables_of(name)[0] if name in Settings.model_fields else name


def _variables_of(field: str) -> list[str]:
    """Return the variables that a setting is read from, the first one first."""
    info = Settings.model_fields[field]
    choices = info.validation_alias.choices if isinstance(info.validation_alias, AliasChoices) else [info.alias]
    return [str(name) for name in choices]
