"""The API for consumers: open a lake and read its tables with pandas and pyarrow, without Dagster.

>>> from apex_pipeline.catalog import get_loader, open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

The catalog returns published tables and raises errors. The loaders return frames with the column names that
applications expect, also for files that are not published yet, and never raise because of the store.
"""

from apex_pipeline.catalog.loaders.failures import LoadFailure, Reason
from apex_pipeline.catalog.loaders.loader import DataLoader, LocalDataLoader, S3DataLoader, get_loader
from apex_pipeline.catalog.reader import Catalog, open_catalog

__all__ = [
    "Catalog",
    "DataLoader",
    "LoadFailure",
    "LocalDataLoader",
    "Reason",
    "S3DataLoader",
    "get_loader",
    "open_catalog",
]
