"""What a shipper needs to know: the folder, the bucket and the settings, checked before the first request.

Contains the configuration and the keys it puts files under; see ``settings.py`` for the variables.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings
from apex_pipeline.sources.events.rotation import date_of, folder_of
from apex_pipeline.storage.keys import UnsafeKeyError, check_prefix

_LOG = logging.getLogger(__name__)

NO_BUCKET = "BUCKET_NAME environment variable is required"
# Where containers are given secrets as files; the original shipper read them before the environment.
_SECRET_FILES = Path("/run/secrets")
# Longer than any key or session token of AWS (4 KB): a larger file is something else.
_LONGEST_SECRET_BYTES = 8192


@dataclass(frozen=True)
class EventConfig:
    """The configuration of a shipper; made by :func:`event_config`.

    Attributes:
        folder: The folder in which the producer rotates its files.
        bucket: The bucket they are shipped to.
        settings: Credentials, pauses, and what becomes of a shipped file.
    """

    folder: Path
    bucket: str
    settings: Settings

    @property
    def uri(self) -> str:
        """Where the files go, for people."""
        return f"s3://{self.bucket}/{self.settings.event_prefix}"


def event_config(folder: Path, settings: Settings) -> EventConfig:
    """Return the configuration of a shipper.

    Raises:
        ConfigurationError: No bucket is set, or no key can start with the prefix.
    """
    if settings.event_bucket is None:
        raise ConfigurationError(f"{NO_BUCKET}.", "Set BUCKET_NAME to the bucket that the event files are shipped to.")
    try:
        check_prefix(settings.event_prefix)
    except UnsafeKeyError as error:
        raise ConfigurationError(
            f"PREFIX {settings.event_prefix!r} cannot be used: {error.problem}",
            "Set PREFIX to a path like xml-events/.",
        ) from error
    if conflict := bucket_conflict(settings):
        _LOG.info(conflict)
    return EventConfig(folder.expanduser().absolute(), settings.event_bucket, with_secret_files(settings))


def bucket_conflict(settings: Settings) -> str | None:
    """Return a sentence if ``BUCKET_NAME`` and ``S3_BUCKET_NAME`` name two buckets; ``None`` if they do not."""
    if settings.event_bucket is None or "bucket" not in settings.model_fields_set:
        return None
    if settings.event_bucket == settings.bucket:
        return None
    return (
        f"BUCKET_NAME and S3_BUCKET_NAME differ: event files go to {settings.event_bucket}, "
        f"the lake is in {settings.bucket}."
    )


def key_of(settings: Settings, name: str, *, is_logged: bool = True) -> str:
    """Return the key of an event file: prefix, folder of its date if these are used, and its name.

    A name without a real date gets no folder, and a line in the log unless ``is_logged`` is false.
    """
    if not settings.use_date_folders:
        return f"{settings.event_prefix}{name}"
    day = date_of(name)
    if day is None and is_logged:
        _LOG.warning("Could not parse date from filename: %s", name)
    return f"{settings.event_prefix}{folder_of(day)}/{name}" if day else f"{settings.event_prefix}{name}"


def with_secret_files(settings: Settings, folder: Path = _SECRET_FILES) -> Settings:
    """Return the settings with the credentials that lie in files, which take precedence over the environment.

    Args:
        settings: The settings.
        folder: Folder with the files ``aws_access_key_id``, ``aws_secret_access_key`` and ``aws_session_token``.

    Raises:
        ConfigurationError: A file cannot be read, or only one of the first two is there.
    """
    key_id, secret = _secret(folder / "aws_access_key_id"), _secret(folder / "aws_secret_access_key")
    if key_id is None and secret is None:
        return settings
    if key_id is None or secret is None:
        missing = "aws_access_key_id" if key_id is None else "aws_secret_access_key"
        raise ConfigurationError(
            f"{folder / missing} is missing or empty, but the other half of the key is there.",
            "Provide both files or neither.",
        )
    token = _secret(folder / "aws_session_token")
    # A token in the environment belongs to the key there, not to this one.
    return settings.model_copy(
        update={
            "aws_access_key_id": key_id,
            "aws_secret_access_key": SecretStr(secret),
            "aws_session_token": None if token is None else SecretStr(token),
        }
    )


def _secret(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"The secret file {path} cannot be read: {error.strerror}.", "Let this user read it, or remove it."
        ) from error
    return content.decode("utf-8", "replace").strip() or None
