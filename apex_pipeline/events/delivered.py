"""Finds where event files were delivered, and holds personal ones to a private place."""

from dataclasses import dataclass

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.events.config import NO_BUCKET
from apex_pipeline.events.event_keys import is_private_key
from apex_pipeline.settings import Settings
from apex_pipeline.sources.events.mapping import PRIVATE_PREFIX, SourceMapping
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store_at

_S3 = "s3://"


@dataclass(frozen=True)
class Delivered:
    """Where the event files of a source are.

    Attributes:
        store: The bucket or folder.
        prefix: Key prefix of the files.
    """

    store: ObjectStore
    prefix: str

    @property
    def uri(self) -> str:
        """The place, for people."""
        return f"{self.store.uri.rstrip('/')}/{self.prefix}"

    @property
    def is_public(self) -> bool:
        """Whether readers of the public part of a bucket may see the files; a folder is nobody else's."""
        _, _, path = self.uri.removeprefix(_S3).partition("/")
        return self.uri.startswith(_S3) and not is_private_key(path)


def open_delivered(settings: Settings, uri: str | None = None) -> Delivered:
    """Return where files were delivered: at ``uri``, or by the shipper of these settings.

    Raises:
        ConfigurationError: Neither is given, or the credentials are incomplete.
    """
    if uri:
        return Delivered(open_store_at(uri, settings), "")
    if settings.event_bucket is None:
        raise ConfigurationError(
            f"{NO_BUCKET}.",
            "Set it to the bucket that the event files were shipped to, or name their place with --from.",
        )
    return Delivered(open_store_at(f"{_S3}{settings.event_bucket}", settings), settings.event_prefix)


def privacy_problem(delivered: Delivered, mapping: SourceMapping) -> str | None:
    """Return why files with personal fields are not private; ``None`` if all is well."""
    if not mapping.personal_paths or not delivered.is_public:
        return None
    return f"The source has personal fields, but its files are delivered to {delivered.uri}."


def require_private(delivered: Delivered, mapping: SourceMapping) -> None:
    """Require that files with personal fields are private.

    Raises:
        ConfigurationError: They are not.
    """
    if problem := privacy_problem(delivered, mapping):
        raise ConfigurationError(
            problem, f"Deliver them under {PRIVATE_PREFIX}: set PREFIX to {PRIVATE_PREFIX}xml-events/, for example."
        )
