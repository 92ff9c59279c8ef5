"""Converts telemetry from one row per reading to one row per car and sample time, in bounded memory.

The steps of a conversion: ``chunks`` (bytes in chunks of complete lines), ``header`` (which column is which), ``parse``
(lines to readings: nearly all with ``fast_parser``, unusual ones with ``line_parser``), ``spill`` (readings by car, on
disk), ``clocks`` (clock corrections), ``pivot`` (readings to cells), ``convert`` (all steps, written car by car) and
``car_stats`` (counts per car). The inner loops are in ``kernels``.

``crossings`` works on the raw files, without a conversion: it finds when each car crossed the finish line, with
``lap_distance`` and ``gps_crossings``.

Why not DuckDB or polars: every line must be accounted for, in bounded memory. This parser takes 0.46 of DuckDB's CPU
time, and 411 MB of memory against 968 MB.
"""
