"""Race-data lake: raw race files in, correct lap and telemetry tables out.

The folders follow the data: ``sources`` identifies and parses raw files, ``ingest`` brings them into the lake,
``storage`` stores the bytes, ``orchestration`` runs every step in Dagster, and ``catalog`` is the API that readers use.
Importing this package needs no network, no credentials and no environment variables.

>>> from apex_pipeline import get_loader, open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apex_pipeline.catalog import Catalog, Lap, RaceSession, get_loader, open_catalog

    __version__: str

__all__ = ["Catalog", "Lap", "RaceSession", "__version__", "get_loader", "open_catalog"]


def __getattr__(name: str) -> object:
    """Import the API at its first use: most commands need none of it, and pandas alone takes a third of a second."""
    if name == "__version__":
        from apex_pipeline.version import package_version  # noqa: PLC0415  -- as above

        return package_version()
    if name in __all__:
        from apex_pipeline import catalog  # noqa: PLC0415  -- as above

        return getattr(catalog, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
