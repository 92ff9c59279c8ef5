"""A lap on distance: where a car was at each moment of its lap, the delta between two laps, and the map of a track.

Works on arrays alone: no store, no pandas. See ``catalog/lap_distance.py`` for laps of a lake, and docs/distance.md for
the rules and the measured errors.
"""

from apex_pipeline.distance.delta import Delta, compare_laps
from apex_pipeline.distance.lap import DistanceLap, lap_on_distance
from apex_pipeline.distance.lengths import TrackLength, length_from_official, read_track_lengths
from apex_pipeline.distance.samples import LapSamples
from apex_pipeline.distance.track_line import TrackLine, learn_line
from apex_pipeline.distance.track_map import TrackMap, track_map

__all__ = [
    "Delta",
    "DistanceLap",
    "LapSamples",
    "TrackLength",
    "TrackLine",
    "TrackMap",
    "compare_laps",
    "lap_on_distance",
    "learn_line",
    "length_from_official",
    "read_track_lengths",
    "track_map",
]
