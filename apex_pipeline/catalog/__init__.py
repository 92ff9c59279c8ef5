"""The API for consumers: open a lake and read its tables with pandas and pyarrow, without Dagster.

>>> from apex_pipeline.catalog import get_loader, open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

The catalog returns published tables and raises errors. The loaders return frames with the column names that
applications expect, also for files that are not published yet, and never raise because of the store.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apex_pipeline.catalog.lap import Lap
    from apex_pipeline.catalog.loaders.failures import LoadFailure, Reason
    from apex_pipeline.catalog.loaders.loader import DataLoader, LocalDataLoader, S3DataLoader, get_loader
    from apex_pipeline.catalog.reader import Catalog, open_catalog
    from apex_pipeline.catalog.session import RaceSession

__all__ = [
    "Catalog",
    "DataLoader",
    "Lap",
    "LoadFailure",
    "LocalDataLoader",
    "RaceSession",
    "Reason",
    "S3DataLoader",
    "get_loader",
    "open_catalog",
]

_MODULES = {
    "Catalog": "reader",
    "DataLoader": "loaders.loader",
    "Lap": "lap",
    "LoadFailure": "loaders.failures",
    "LocalDataLoader": "loaders.loader",
    "RaceSession": "session",
    "Reason": "loaders.failures",
    "S3DataLoader": "loaders.loader",
    "get_loader": "loaders.loader",
    "open_catalog": "reader",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: the loaders import pandas, which takes half a second."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
