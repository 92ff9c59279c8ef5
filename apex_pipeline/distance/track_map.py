"""The map of a track as GeoJSON: the line cars drive, start/finish, and the lines of its sectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.gps import metres_per_degree
from apex_pipeline.distance.lengths import TrackLength
from apex_pipeline.distance.positions import Method, positions_of
from apex_pipeline.distance.samples import LapSamples
from apex_pipeline.distance.track_line import TrackLine, learn_line

# Race tracks are 10 to 15 m wide; a line across is drawn to both sides of the driven line.
_ACROSS_M = 12.0
# GPS is good to a metre, the seventh digit of a degree is a centimetre.
_DIGITS = 7

GeoJson = dict[str, object]


@dataclass(frozen=True)
class TrackMap:
    """The map of a track, or why there is none.

    Attributes:
        length: Its length and the evidence.
        line: The line; ``None`` without a map.
        crossings_m: Distance of each intermediate point and sector end from start/finish.
        reason: Why there is no map; empty if there is one.
    """

    length: TrackLength
    line: TrackLine | None
    crossings_m: Mapping[str, float]
    reason: str

    def geojson(self) -> GeoJson:
        """Return a FeatureCollection (RFC 7946): longitude and latitude in degrees, WGS 84.

        Its first feature is the track, whose properties are all that is known about it; without a map it has no
        geometry, is the only one, and says why. A collection has no properties of its own (7.1).
        """
        if self.line is None:
            return _collection([_feature(None, self._facts() | {"reason": self.reason})])
        found = {"line_length_m": round(self.line.measured_m, 1), "laps": self.line.laps, "gps_unit": self.line.unit}
        features = [
            _feature(_closed(self.line), self._facts() | found),
            self._across(self.line, 0.0, {"kind": "start_finish", "name": "start/finish"}),
            *(
                self._across(self.line, at_m, {"kind": "sector" if name.startswith("S") else "point", "name": name})
                for name, at_m in self.crossings_m.items()
            ),
        ]
        return _collection(features)

    def _facts(self) -> dict[str, object]:
        length_m = round(self.length.length_m, 2)
        return {"kind": "track", "length_m": length_m, "length_evidence": self.length.evidence}

    def _across(self, line: TrackLine, at_m: float, properties: dict[str, object]) -> GeoJson:
        at = round(at_m / line.length_m * len(line.east_m)) % len(line.east_m)
        ahead_east, ahead_north = (float(ahead[at]) for ahead in line.ahead)
        sides = np.array([_ACROSS_M, -_ACROSS_M])
        points = _degrees(line, line.east_m[at] - sides * ahead_north, line.north_m[at] + sides * ahead_east)
        return _feature(points, properties | {"distance_m": round(at_m, 1)})


def _closed(line: TrackLine) -> list[list[float]]:
    return _degrees(line, np.append(line.east_m, line.east_m[0]), np.append(line.north_m, line.north_m[0]))


def _degrees(line: TrackLine, east_m: Numbers, north_m: Numbers) -> list[list[float]]:
    east, north = metres_per_degree(line.place[0])
    longitude, latitude = line.place[1] + east_m / east, line.place[0] + north_m / north
    return np.round(np.column_stack([longitude, latitude]), _DIGITS).tolist()


def _feature(points: list[list[float]] | None, properties: dict[str, object]) -> GeoJson:
    geometry = None if points is None else {"type": "LineString", "coordinates": points}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _collection(features: list[GeoJson]) -> GeoJson:
    return {"type": "FeatureCollection", "features": features}


def track_map(
    laps: Sequence[LapSamples], length: TrackLength, crossings: Sequence[Mapping[str, float]] = ()
) -> TrackMap:
    """Return the map of a track from some laps.

    Args:
        laps: Laps with GPS; the line is the median of theirs.
        length: Length of the track, and where it lies.
        crossings: For each lap the times at which it crossed sector ends and points, seconds into the lap.
    """
    line = learn_line(laps, length.place)
    if isinstance(line, str):
        return TrackMap(length, None, {}, line)
    found: dict[str, list[float]] = {}
    for lap, times in zip(laps, crossings, strict=False):
        positions = positions_of(lap, line, methods=(Method.GPS,))[0].get(Method.GPS)
        if positions is None:
            continue
        for name, time_s in times.items():
            found.setdefault(name, []).append(float(positions.at(np.array([time_s]))[0]))
    crossings_m = {name: float(np.median(distances)) for name, distances in found.items()}
    return TrackMap(length, line, dict(sorted(crossings_m.items(), key=lambda item: item[1])), "")
