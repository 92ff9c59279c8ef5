"""The length and the map of a lake's tracks: known lengths, official timing, and the GPS of the laps that have it."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice, zip_longest

import numpy as np
import pyarrow.compute as pc

from apex_pipeline.catalog.lap_samples import LapReader, LapRow
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.catalog.telemetry_reader import Selection, TelemetryReader
from apex_pipeline.distance import TrackLength, TrackMap, length_from_official, track_map
from apex_pipeline.errors import NotPublishedError
from apex_pipeline.tables import OFFICIAL_LAPS, TELEMETRY, TELEMETRY_CARS
from apex_pipeline.tables.session_key import SessionKey

_KEPT_SESSIONS = 32
# Layouts of one track differ by more; a known length and official timing agree within 0.1 %.
_SAME_LAYOUT = 0.01
# The median of eight laps has no wild lap in it; a race's map takes 0.2 s.
_LAPS = 8
_CARS = 6
# A lap with GPS has 1,000 fixes; with fewer rows than these it is a rest of one.
_FEWEST_ROWS = 100
_LATITUDE = "latitude_deg"


class TrackGeometry:
    """Lengths and maps of the tracks of a lake; safe to share between threads.

    Args:
        tables: The tables of the sessions.
        telemetry: Their telemetry.
        laps: Reads their laps.
        lengths: Returns the known lengths by track.
        sessions_of: Returns the sessions of a track.
    """

    def __init__(
        self,
        tables: PublishedTables,
        telemetry: TelemetryReader,
        laps: LapReader,
        lengths: Callable[[], Mapping[str, TrackLength]],
        sessions_of: Callable[[str], list[SessionKey]],
    ) -> None:
        self._tables = tables
        self._telemetry = telemetry
        self._laps = laps
        self._lengths = lengths
        self._sessions_of = sessions_of
        self.length: Callable[[SessionKey], TrackLength] = lru_cache(_KEPT_SESSIONS)(self._length)
        self.map: Callable[[SessionKey], TrackMap] = lru_cache(_KEPT_SESSIONS)(self._map)

    def _length(self, key: SessionKey) -> TrackLength:
        """Return the length of the track of a session: as known, or as official timing or the cars' speed say.

        Official timing decides which layout was driven: where it differs by over 1 % from the known length, it counts.

        Raises:
            NotPublishedError: Nothing says how long the track is.
        """
        known = self._lengths().get(key.track)
        official = self._official_length(key)
        if known is not None and official is not None and abs(official.length_m / known.length_m - 1) > _SAME_LAYOUT:
            evidence = f"{official.evidence}; another layout than the known one of {known.length_m:,.0f} m"
            return TrackLength(official.length_m, evidence, known.latitude_deg, known.longitude_deg)
        found = known or official or self._driven_length(key)
        if found is None:
            raise NotPublishedError(
                f"The length of {key.track} is not known.",
                "Write it into a file like track_lengths.yaml of the package, named by APEX_TRACK_LENGTHS_FILE.",
            )
        return found

    def _official_length(self, key: SessionKey) -> TrackLength | None:
        if not self._tables.has(OFFICIAL_LAPS.name, key):
            return None
        laps = self._tables.read(OFFICIAL_LAPS.name, key)
        speeds, times = (laps[name].to_numpy().astype(np.float64) for name in ("average_kph", "lap_time_s"))
        return length_from_official(speeds, times)

    def _driven_length(self, key: SessionKey) -> TrackLength | None:
        """Return the median of what some laps drove by their speed, which is off by up to 1 %."""
        for laps in self._with_telemetry(key, "speed_kph"):
            driven = [metres for lap in laps if (metres := self._laps.driven_m(lap))]
            if driven:
                return TrackLength(round(float(np.median(driven)), 1), f"speed of {len(driven)} laps, to 1 %")
        return None

    def _map(self, key: SessionKey) -> TrackMap:
        """Return the map of a session's track, from its own laps or, where these have no GPS, from other sessions."""
        length = self.length(key)
        found = self._map_of(key, length)
        if found.line is not None:
            return found
        for other in self._sessions_of(key.track):
            same = abs(self.length(other).length_m / length.length_m - 1) <= _SAME_LAYOUT if other != key else False
            elsewhere = self._map_of(other, length) if same else found
            if elsewhere.line is not None:
                return elsewhere
        return found

    def _map_of(self, key: SessionKey, length: TrackLength) -> TrackMap:
        first: TrackMap | None = None
        for laps in self._with_telemetry(key, _LATITUDE):
            samples = [self._laps.samples(lap.key) for lap in laps]
            found = track_map(samples, length, [lap.sector_times_s() for lap in laps])
            if found.line is not None:
                return found
            first = first or found
        return first or TrackMap(length, None, {}, f"no car of {key} has a lap with GPS")

    def _with_telemetry(self, key: SessionKey, channel: str) -> Iterator[list[LapRow]]:
        """Yield some valid laps that have readings of a channel, the fastest ones, of several cars; then of others.

        Each car is in one list, and is read when that is asked for: the first list is nearly always enough.
        """
        if not self._tables.has(TELEMETRY_CARS.name, key) or not self._tables.has(TELEMETRY.name, key):
            return
        cars = {
            row["vehicle_id"]: None
            for row in self._tables.read(TELEMETRY_CARS.name, key).to_pylist()
            if channel in row["channels"] and row["clock_method"] != "received"
        }
        usable = filter(None, (self._of_car(key, vehicle_id, channel) for vehicle_id in cars))
        while by_car := list(islice(usable, _CARS)):
            in_turn = chain.from_iterable(zip_longest(*by_car))
            yield [lap for lap in in_turn if lap is not None][:_LAPS]

    def _of_car(self, key: SessionKey, vehicle_id: str, channel: str) -> list[LapRow]:
        """Return the plain laps of a car that have readings of a channel, the fastest first."""
        plain = [lap for (vehicle, _), lap in self._laps.laps(key).items() if vehicle == vehicle_id and lap.is_plain]
        if not plain:
            return []
        read = self._telemetry.read(key, Selection(vehicle_id=vehicle_id, channels=[channel]))
        counts = read.filter(pc.is_valid(read[channel])).group_by("lap_number").aggregate([([], "count_all")])
        whole = {row["lap_number"] for row in counts.to_pylist() if row["count_all"] >= _FEWEST_ROWS}
        return sorted((lap for lap in plain if lap.key[2] in whole), key=lambda lap: lap.row["lap_time_s"])
