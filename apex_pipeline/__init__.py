"""Race-data lake: raw race files in, correct lap and telemetry tables out.

The way of the data is the list of folders: ``sources`` says what files mean, ``storage`` keeps bytes, ``assets``
are the stations Dagster runs, ``catalog`` is what everyone else reads. Importing this package needs no network, no
credential and no environment variable.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
