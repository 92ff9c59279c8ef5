"""For consumers: open a lake and read tables with pandas and pyarrow; no Dagster needed.

>>> from apex_pipeline.catalog import get_loader, open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

The catalog gives the published tables and raises; the loaders give frames under the names applications know, for files
that nobody has published yet too, and never raise because of the store.
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
