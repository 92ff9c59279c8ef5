"""Contains the lake and the source folder as Dagster resources.

Their fields appear in the UI and show the operator where the lake is. Credentials are not fields: they are read from
the environment when a run starts, so they appear neither in the UI nor in the record of the run.
See https://docs.dagster.io/guides/build/external-resources
"""

from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from apex_pipeline.ingest.source_folder import SourceFolder, identify, scan_folder
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import digest_cache_path, open_store
from apex_pipeline.storage.temp_dirs import process_temp_dir


class LakeResource(dg.ConfigurableResource["LakeResource"]):
    """The lake: an object store in a local folder or in S3, depending on ``use_s3_data``."""

    use_s3_data: bool
    lake_dir: str
    bucket: str
    lake_prefix: str
    aws_region: str
    s3_endpoint_url: str | None
    state_dir: str
    memory_limit: int

    _store: ObjectStore | None = PrivateAttr(default=None)

    @classmethod
    def from_settings(cls, settings: Settings) -> "LakeResource":
        """Return the resource for these settings, without their secrets."""
        return cls(
            use_s3_data=settings.use_s3_data,
            lake_dir=str(settings.lake_dir),
            bucket=settings.bucket,
            lake_prefix=settings.lake_prefix,
            aws_region=settings.aws_region,
            s3_endpoint_url=settings.s3_endpoint_url,
            state_dir=str(settings.state_dir),
            memory_limit=settings.memory_limit,
        )

    def open(self) -> ObjectStore:
        """Return the store, which is opened for writing once per run.

        Raises:
            StoreError: The lake cannot be reached with the current configuration.
        """
        if self._store is None:
            self._store = open_store(load_settings(**self.model_dump()), for_writing=True)
        return self._store

    def request_metadata(self) -> dict[str, float | int]:
        """Return this run's request stats so far as metadata; empty for a local lake."""
        stats = self.open().request_stats
        if not stats.requests:
            return {}
        return {
            "s3/requests": stats.requests,
            "s3/errors": stats.errors,
            "s3/avg_ms": round(stats.average_ms, 1),
        }

    @property
    def digest_cache(self) -> DigestCache:
        """The digest cache of this machine."""
        return DigestCache(digest_cache_path(Path(self.state_dir)))

    @property
    def temp_dir(self) -> Path:
        """Folder for temporary files of this process, created on first use."""
        return process_temp_dir(Path(self.state_dir, "scratch"))


class SourceResource(dg.ConfigurableResource["SourceResource"]):
    """The folder of raw race files, with the rules for identifying them."""

    folder: str
    tracks_file: str | None
    state_dir: str

    _settings: Settings | None = PrivateAttr(default=None)

    @classmethod
    def from_settings(cls, settings: Settings) -> "SourceResource":
        """Return the resource for these settings."""
        return cls(
            folder=str(settings.source_dir),
            tracks_file=str(settings.tracks_file) if settings.tracks_file else None,
            state_dir=str(settings.state_dir),
        )

    @property
    def settings(self) -> Settings:
        """The settings of this run, with this resource's folder, tracks file and state folder."""
        if self._settings is None:
            tracks_file = Path(self.tracks_file) if self.tracks_file else None
            self._settings = load_settings(
                source_dir=Path(self.folder), tracks_file=tracks_file, state_dir=Path(self.state_dir)
            )
        return self._settings

    @property
    def rules_version(self) -> str:
        """Version of the identification rules, including the user's own."""
        return rules_version(self.settings)

    def scan(self) -> SourceFolder | None:
        """Return the contents of the folder; ``None`` if it does not exist here and only the lake is used."""
        return scan_folder(Path(self.folder)) if Path(self.folder).is_dir() else None

    def identify(self, folder: SourceFolder) -> list[FileIdentity]:
        """Return the identity of each file in the folder."""
        return identify(folder, self.settings)
