"""The API for consumers: open a lake and read its tables with pandas and pyarrow, without Dagster.

>>> from apex_pipeline import get_loader, open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

The catalog returns published tables and raises errors. The loaders return frames with the column names that
applications expect, also for files that are not published yet, and never raise because of the store.
"""

from typing import TYPE_CHECKING

from apex_pipeline.catalog.reader import Catalog, open_catalog

if TYPE_CHECKING:
    from apex_pipeline.catalog.loaders.failures import LoadFailure, Reason
    from apex_pipeline.catalog.loaders.loader import DataLoader, LocalDataLoader, S3DataLoader, get_loader

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


def __getattr__(name: str) -> object:
    """Import the loaders at their first use: a catalog needs neither pandas nor the rules of file names."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from apex_pipeline.catalog.loaders import failures, loader  # noqa: PLC0415  -- as above

    return getattr(failures if hasattr(failures, name) else loader, name)
