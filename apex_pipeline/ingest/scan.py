"""Scans the configured source: a folder, or a bucket if ``APEX_SOURCE_URI`` is set."""

from apex_pipeline.ingest.source_bucket import scan_source_bucket
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.ingest.source_folder import scan_source_folder
from apex_pipeline.settings import Settings


def scan_source(settings: Settings) -> SourceListing:
    """List the configured source, without the lake and the state of this project that may lie in it.

    Raises:
        ConfigurationError: The source is the lake, or lies in it; or ``APEX_SOURCE_URI`` cannot be used.
        SourceError: The source is missing, empty or cannot be read.
        StoreUnavailableError: The source bucket cannot be reached now.
    """
    return scan_source_bucket(settings) if settings.source_uri else scan_source_folder(settings)
