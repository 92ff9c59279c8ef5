"""Telemetry: from one row per reading to one row per car and sample time, in bounded memory.

The way of a reading: ``loading`` (CSV text to typed readings), ``clocks`` (when it was taken), ``widening`` (its cell),
``conversion`` (all together, written car by car).
"""
