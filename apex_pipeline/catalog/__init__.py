"""For consumers: open a lake and read tables with pandas and pyarrow; no Dagster needed.

>>> from apex_pipeline.catalog import open_catalog  # doctest: +SKIP
>>> open_catalog("lake").laps("barber_motorsports_park", "R1")  # doctest: +SKIP
"""

from apex_pipeline.catalog.reader import Catalog, open_catalog

__all__ = ["Catalog", "open_catalog"]
