"""Bundles what every operation on races needs: settings, database, store and queue."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.races.database import RaceDatabase, open_database
from apex_pipeline.races.queues import RaceQueue, open_queue
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_race_store
from apex_pipeline.storage.temp_dirs import process_temp_dir


@dataclass(frozen=True)
class RaceServices:
    """What races need. Safe to share between threads, not between processes.

    Attributes:
        settings: The configuration.
        database: State of the races.
        store: Their bytes.
        queue: Where they wait.
    """

    settings: Settings
    database: RaceDatabase
    store: ObjectStore
    queue: RaceQueue

    @property
    def temp_dir(self) -> Path:
        """Folder for temporary files of this process, created on first use."""
        return process_temp_dir(self.settings.state_dir / "scratch")


@contextmanager
def opened_services(settings: Settings) -> Generator[RaceServices]:
    """Open the services of the settings, with the database's tables up to date, and close them at the end.

    Raises:
        ConfigurationError: A setting cannot be used.
        DatabaseUnavailableError: The database cannot be reached.
    """
    database = open_database(settings)
    try:
        yield RaceServices(settings, database, open_race_store(settings), open_queue(settings))
    finally:
        database.close()
