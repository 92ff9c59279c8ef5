"""Telemetry: from one row per reading to one row per car and sample time, in bounded memory.

The way of a reading: ``loading`` (CSV text to typed readings), ``clocks`` (when it was taken), ``widening`` (its cell),
``conversion`` (all together, written car by car), ``car_facts`` (what each car's readings are like). Beside it, without
a conversion: ``line_passings``, when the cars passed the finish line by ``lap_distance`` and ``gps_line``.
"""
