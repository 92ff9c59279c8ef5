"""The lake and the source folder as Dagster resources.

The fields are what an operator wants to see in the UI: where the lake is. Credentials are no fields; they are read
from the environment when a run starts, so they reach neither the UI nor the run's record. Here belongs nothing but the
bridge from configuration to :class:`~apex_pipeline.storage.base.ObjectStore`.
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
    """The lake: an object store in a local folder or in S3, by one switch."""

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
        """Return the store, opened for writing once per run.

        Raises:
            StoreError: The lake cannot be reached with the present configuration.
        """
        if self._store is None:
            self._store = open_store(load_settings(**self.model_dump()), for_writing=True)
        return self._store

    def traffic_facts(self) -> dict[str, float | int]:
        """Return what this run has asked of the bucket so far, as metadata; nothing where the lake is a folder."""
        traffic = self.open().traffic
        if not traffic.requests:
            return {}
        return {
            "s3/requests": traffic.requests,
            "s3/errors": traffic.errors,
            "s3/avg_ms": round(traffic.average_ms, 1),
        }

    @property
    def digest_cache(self) -> DigestCache:
        """This machine's memory of file digests."""
        return DigestCache(digest_cache_path(Path(self.state_dir)))

    @property
    def temp_dir(self) -> Path:
        """Folder for temporary files of this process, made on first use."""
        return process_temp_dir(Path(self.state_dir, "scratch"))


class SourceResource(dg.ConfigurableResource["SourceResource"]):
    """The folder of raw race files, and how its names are understood."""

    folder: str
    tracks_file: str | None
    state_dir: str

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
        """The settings of this run, with the folder and rules of this resource."""
        return load_settings(
            source_dir=Path(self.folder), tracks_file=self._tracks_file, state_dir=Path(self.state_dir)
        )

    @property
    def rules_version(self) -> str:
        """Fingerprint of the rules by which files are recognised, the user's own included."""
        return rules_version(self.settings)

    def scan(self) -> SourceFolder | None:
        """Return what the folder holds; ``None`` where this machine has no such folder and only the lake is used."""
        return scan_folder(Path(self.folder)) if Path(self.folder).is_dir() else None

    def identify(self, folder: SourceFolder) -> list[FileIdentity]:
        """Return what each file of the folder is."""
        return identify(folder, self.settings)

    @property
    def _tracks_file(self) -> Path | None:
        return Path(self.tracks_file) if self.tracks_file else None
