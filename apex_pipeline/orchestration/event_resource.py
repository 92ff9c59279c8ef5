"""Contains the folder of rotated event files and their bucket as a Dagster resource, without credentials."""

from pathlib import Path

import dagster as dg

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.events.config import EventConfig, event_config
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources.events.mapping import SourceMapping, load_mapping


class EventsResource(dg.ConfigurableResource["EventsResource"]):
    """The folder in which a producer rotates its event files, and the bucket they are shipped to."""

    folder: str | None
    bucket: str | None
    prefix: str
    source: str
    mapping_file: str | None
    silence_min: int
    state_dir: str
    s3_endpoint_url: str | None
    aws_region: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "EventsResource":
        """Return the resource for these settings, without their secrets."""
        return cls(
            folder=None if settings.events_dir is None else str(settings.events_dir),
            bucket=settings.event_bucket,
            prefix=settings.event_prefix or "/",
            source=settings.event_source,
            mapping_file=None if settings.events_mapping_file is None else str(settings.events_mapping_file),
            silence_min=settings.events_silence_min,
            state_dir=str(settings.state_dir),
            s3_endpoint_url=settings.s3_endpoint_url,
            aws_region=settings.aws_region,
        )

    def settings(self) -> Settings:
        """Return the settings of this run, with this resource's fields."""
        return load_settings(
            event_bucket=self.bucket,
            event_prefix=self.prefix,
            event_source=self.source,
            state_dir=self.state_dir,
            s3_endpoint_url=self.s3_endpoint_url,
            aws_region=self.aws_region,
        )

    def config(self) -> EventConfig:
        """Return the configuration of the shipper.

        Raises:
            ConfigurationError: No folder or no bucket is set.
        """
        if self.folder is None:
            raise ConfigurationError(
                "No folder of event files is set.", "Set EVENTS_DIR to the folder in which the producer rotates them."
            )
        return event_config(Path(self.folder), self.settings())

    def mapping(self) -> SourceMapping:
        """Return what the events of the source mean.

        Raises:
            ConfigurationError: The file of mappings is wrong.
        """
        return load_mapping(None if self.mapping_file is None else Path(self.mapping_file), self.source)
