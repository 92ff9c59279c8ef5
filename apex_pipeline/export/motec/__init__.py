"""Writes telemetry as MoTeC logs: channels at fixed rates in a ``.ld`` file, laps as beacons in the ``.ldx`` beside it.

See ``clock.py`` for how readings come onto a fixed rate, ``log.py`` for what a log contains, ``ld_file.py`` and
``ldx_file.py`` for the bytes.
"""
