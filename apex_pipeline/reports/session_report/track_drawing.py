"""Draws the map of the track, coloured by the speed of the best lap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import cos, radians

import numpy as np

from apex_pipeline.distance import DistanceLap
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.reports.markup import Column, figure, paragraph, section, table, text
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import decimals
from apex_pipeline.reports.session_report.trace_section import lap_labels
from apex_pipeline.reports.session_report.traces import SPEED

# Units of the drawing across and down: about the pixels of a phone, so that text is as large there as elsewhere.
_SIZE = 400
_MARGIN = 34
# Colours of the scale: neighbours can still be told apart.
_COLOURS = 9
# Points of the line: finer than a pixel of a phone.
_POINTS = 360
_LABEL_AWAY = 16
_METRES_PER_DEGREE = 111_200.0

_Place = tuple[float, float]


@dataclass(frozen=True)
class _Mark:
    name: str
    ends: tuple[_Place, _Place]
    distance_m: float


def map_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section, or the reason why there is no map."""
    title = "Map"
    if isinstance(facts.track_map, str):
        return section("map", title, paragraph(facts.track_map, "why"))
    properties = _dict(facts.track_map["properties"])
    features = [_dict(feature) for feature in _list(facts.track_map["features"])]
    if not features:
        return section("map", title, paragraph(f"There is no map: {properties['reason']}.", "why"))
    line, marks = _line(features), _marks(features)
    speed = None if isinstance(facts.traces, str) else _speed(facts.traces.on_distance[0])
    about = (
        f"Length {decimals(_float(properties['length_m']), 0)} m ({properties['length_evidence']}); the line is the "
        f"median of {properties['laps']} laps by GPS, north is up."
    )
    if speed is None or isinstance(facts.traces, str):
        drawing = _draw(line, marks, None, "The track")
        why = "No lap with telemetry has a speed to colour it by."
        return section("map", title, figure("The track", drawing, about, why))
    caption = f"Speed of {lap_labels(facts.traces, names)[0]}"
    limits = np.linspace(float(np.nanmin(speed)), max(float(np.nanmax(speed)), float(np.nanmin(speed)) + 1), _COLOURS + 1)
    drawing = _draw(line, marks, (speed, limits), caption) + _legend(limits)
    as_table = _table(facts.traces.on_distance[0], marks)
    return section("map", title, figure(caption, drawing, about, as_table=as_table))


def _dict(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def _list(value: object) -> Sequence[object]:
    assert isinstance(value, list)
    return value
