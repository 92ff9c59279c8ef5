"""Contains the lake and the source folder as Dagster resources.

Their fields appear in the UI and show the operator where the lake is. Credentials are not fields: they are read from
the environment when a run starts, so they appear neither in the UI nor in the record of the run.
See https://docs.dagster.io/guides/build/external-resources
"""

from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from apex_pipeline.errors import SourceError
from apex_pipeline.ingest.scan import scan_source
from apex_pipeline.ingest.session_work import handed_over_store
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.orchestration.instance import remember_process
from apex_pipeline.orchestration.places import refuse_folder, runs_elsewhere
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.sources.limits import Limits
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import digest_cache_path, open_store
from apex_pipeline.storage.request_stats import RequestStats
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
    max_unpacked_size: int
    max_lap_file_size: int
    max_compression_ratio: int
    max_line_length: int
    max_cell_length: int
    max_columns: int
    max_cars: int
    max_nesting: int

    _store: ObjectStore | None = PrivateAttr(default=None)
    _limits: Limits | None = PrivateAttr(default=None)
    _sent_before: RequestStats = PrivateAttr(default=RequestStats())
    _is_elsewhere: bool = PrivateAttr(default=False)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Note which process executes the run, and whether it may be on another machine than the next one."""
        self._is_elsewhere = runs_elsewhere(context.instance)
        # Before the first step; a sensor, which has no run, is initialised as well.
        if context.run is not None and context.instance is not None:
            remember_process(context.instance, context.run)

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
            max_unpacked_size=settings.max_unpacked_size,
            max_lap_file_size=settings.max_lap_file_size,
            max_compression_ratio=settings.max_compression_ratio,
            max_line_length=settings.max_line_length,
            max_cell_length=settings.max_cell_length,
            max_columns=settings.max_columns,
            max_cars=settings.max_cars,
            max_nesting=settings.max_nesting,
        )

    def open(self) -> ObjectStore:
        """Return the store that a sync handed over to the run, else one that is opened for writing once per run.

        Raises:
            ConfigurationError: The lake is a folder, and runs may be executed on other machines.
            StoreError: The lake cannot be reached with the current configuration.
        """
        if self._is_elsewhere and not self.use_s3_data:
            raise refuse_folder(
                "lake",
                self.lake_dir,
                "Set USE_S3_DATA=true and the bucket; the command migrate copies it there.",
            )
        if self._store is None:
            self._store = handed_over_store() or open_store(load_settings(**self.model_dump()), for_writing=True)
            self._sent_before = self._store.request_stats
        return self._store

    def settings_with(self, source: "SourceResource") -> Settings:
        """Return the settings of this lake with a source folder."""
        return load_settings(**(self.model_dump() | source.overrides))

    @property
    def workspace(self) -> Workspace:
        """Memory, disk and limits within which a derivation reads the raw files."""
        if self._limits is None:  # reading the settings for every step takes 3 % of a small sync
            self._limits = Limits.from_settings(load_settings(**self.model_dump()))
        return Workspace(self.memory_limit, self.temp_dir, limits=self._limits)

    def request_metadata(self) -> dict[str, float | int]:
        """Return this run's request stats so far as metadata; empty for a local lake."""
        stats = self.open().request_stats.since(self._sent_before)
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
    """The folder or bucket of raw race files, with the rules for identifying them."""

    folder: str
    uri: str | None
    tracks_file: str | None
    state_dir: str

    _settings: Settings | None = PrivateAttr(default=None)
    _is_elsewhere: bool = PrivateAttr(default=False)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Note whether the run may be on another machine than the next one."""
        self._is_elsewhere = runs_elsewhere(context.instance)

    @classmethod
    def from_settings(cls, settings: Settings) -> "SourceResource":
        """Return the resource for these settings."""
        return cls(
            folder=str(settings.source_dir),
            uri=settings.source_uri,
            tracks_file=str(settings.tracks_file) if settings.tracks_file else None,
            state_dir=str(settings.state_dir),
        )

    @property
    def settings(self) -> Settings:
        """The settings of this run, with this resource's source, tracks file and state folder."""
        if self._settings is None:
            self._settings = load_settings(**self.overrides)
        return self._settings

    @property
    def overrides(self) -> dict[str, Path | str | None]:
        """The settings that this resource overrides, by field name."""
        tracks_file = Path(self.tracks_file) if self.tracks_file else None
        source = {"source_dir": Path(self.folder), "source_uri": self.uri}
        return {**source, "tracks_file": tracks_file, "state_dir": Path(self.state_dir)}

    @property
    def _is_folder_elsewhere(self) -> bool:
        """Whether the source is a folder that other machines do not have; a bucket is the same for all."""
        return self._is_elsewhere and self.uri is None

    @property
    def rules_version(self) -> str:
        """Version of the identification rules, including the user's own."""
        return rules_version(self.settings)

    def require(self) -> SourceListing:
        """Return the contents of the source, from which files are to be copied.

        Raises:
            ConfigurationError: The source is a folder, and runs may be executed on other machines.
            SourceError: There is no folder here, or nothing in it.
            StoreUnavailableError: The source bucket cannot be reached now.
        """
        if self._is_folder_elsewhere:
            raise refuse_folder(
                "source",
                self.folder,
                "Set APEX_SOURCE_URI to s3://bucket/prefix; or upload the files into the lake's bucket, below data/, "
                "and launch the job derive_session.",
            )
        try:
            return scan_source(self.settings)
        except SourceError as error:
            raise SourceError(
                f"{error.problem.removesuffix('.')} on the machine that ran this step.",
                "Set APEX_SOURCE_DIR or APEX_SOURCE_URI; to derive what is in the lake already, run the job "
                "derive_session instead.",
            ) from error

    def scan(self) -> SourceListing | None:
        """Return the contents of the source; ``None`` if only the lake is used.

        That is so if the folder does not exist here, cannot be read or is empty, and if runs may be executed on other
        machines. The sensor decides the same, and says so.
        """
        try:
            return None if self._is_folder_elsewhere else scan_source(self.settings)
        except SourceError:
            return None
