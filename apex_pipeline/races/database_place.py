"""Says where the races' database is; apart from ``database.py``, whose library takes 0.8 s to load."""

from pathlib import Path

from apex_pipeline.settings import Settings


def database_url(settings: Settings) -> str:
    """Return the URL of the races' database: that of the settings, else of a file next to the lake."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{_sqlite_path(settings)}"


def has_database(settings: Settings) -> bool:
    """Return whether a database for races is configured, or races have been uploaded on this machine."""
    return settings.database_url is not None or _sqlite_path(settings).exists()


def _sqlite_path(settings: Settings) -> Path:
    return settings.lake_dir.expanduser().absolute().with_name("races.sqlite")
