"""Builds the ground truth of a weekend from the simulation; also its JSON format. See faults.py for the faults."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from apex_pipeline.demo.cars import UNDECIDED
from apex_pipeline.demo.faults import FaultKind, InjectedFault, InjectedReject
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.simulation import CarRace, DrivenLap, Race
from apex_pipeline.demo.telemetry_files import TelemetryTruth


@dataclass(frozen=True)
class CarTruth:
    """The true identity of a car.

    Attributes:
        vehicle_id: As the car's device writes it; the suffix may be wrong.
        chassis: Key of the car within the session.
        car_number: True official number as text (``03`` is not ``3``).
        printed_number: The number as official files print it (both become ``3``).
        printed_entry: Position of the car's block among those with this printed number in the sections file: 1, or 2 if
            another car with the same printed number sorts before it.
        candidates: Printed numbers that the car's crossings match; two if the files do not distinguish them.
        clock_offset_s: True UTC minus the car's telemetry clock; ``None`` for a frozen clock.
        is_clock_frozen: Whether all telemetry has the same car time.
        has_started: Whether the car drove in the race.
    """

    vehicle_id: str
    chassis: str
    car_number: str
    printed_number: str
    printed_entry: int
    candidates: tuple[str, ...]
    clock_offset_s: float | None
    is_clock_frozen: bool
    has_started: bool


@dataclass(frozen=True)
class LapTruth:
    """A lap that was driven.

    Attributes:
        vehicle_id: The car.
        lap_number: Official number from 1. Two laps are not in official timing: 0 is the formation lap, and the number
            after the car's last official one is its slow lap to the pits after the flag.
        unit_lap: The lap count of the car's device when the lap ends; 32768 if it lost count.
        start_utc: The car's crossing that starts the lap.
        end_utc: The crossing that ends it.
        lap_time_s: Official time, ``None`` for formation and post-race laps. From lap 2 on it is ``end_utc -
            start_utc``; lap 1 counts from the green flag, which is shown before the car crosses the line.
        flag: ``GF``, ``FCY`` or ``FF`` as in official timing, ``None`` for laps that are not in it.
        is_in_export: Whether the lap ended before the end of the exported lap files, even if they lack its triggers.
    """

    vehicle_id: str
    lap_number: int
    unit_lap: int
    start_utc: datetime
    end_utc: datetime
    lap_time_s: float | None
    flag: str | None
    is_in_export: bool


@dataclass(frozen=True)
class BestLap:
    """The fastest lap of a session; it is within the export and its triggers are clean.

    Attributes:
        vehicle_id: The car.
        lap_number: Official lap number.
        lap_time_s: Its time.
    """

    vehicle_id: str
    lap_number: int
    lap_time_s: float


@dataclass(frozen=True)
class SessionTruth:
    """The ground truth of one race.

    Attributes:
        track: Slug expected from the folder; it is not in the list of known tracks.
        track_name: Display name.
        folder: Folder of the track, relative to the weekend's.
        session: ``R1`` or ``R2``.
        zone: Time zone of ``HOUR`` in the official files.
        official_clock_behind_s: True time minus ``HOUR`` at the green flag and at the chequered flag; it changes
            linearly between them.
        event_code: ``meta_event`` of every row.
        cars: All cars with triggers.
        laps: All laps driven, by car and number.
        best_lap: The fastest.
        telemetry: Row counts of the telemetry file.
    """

    track: str
    track_name: str
    folder: str
    session: str
    zone: str
    official_clock_behind_s: tuple[float, float]
    event_code: str
    cars: tuple[CarTruth, ...]
    laps: tuple[LapTruth, ...]
    best_lap: BestLap
    telemetry: TelemetryTruth


@dataclass(frozen=True)
class WrittenFile:
    """A file of the weekend.

    Attributes:
        path: POSIX path relative to the weekend's folder.
        size: Bytes.
    """

    path: str
    size: int


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of a weekend.

    Attributes:
        version: Version of this package that generated the weekend.
        options: Options it was generated with.
        sample_rate_hz: Rate of the fast telemetry channels, except for the car with the best lap if it has 10 Hz.
        sessions: The four races.
        faults: Every injected fault.
        rejects: Every row that cannot be parsed.
        files: Every file, by path.
    """

    version: str
    options: WeekendOptions
    sample_rate_hz: float
    sessions: tuple[SessionTruth, ...]
    faults: tuple[InjectedFault, ...]
    rejects: tuple[InjectedReject, ...]
    files: tuple[WrittenFile, ...]

    def session(self, track: str, session: str) -> SessionTruth:
        """Return one race.

        Raises:
            KeyError: The weekend has no such race.
        """
        for truth in self.sessions:
            if (truth.track, truth.session) == (track, session):
                return truth
        raise KeyError(f"{track}/{session}")

    def faults_of(self, kind: FaultKind) -> tuple[InjectedFault, ...]:
        """Return the injected faults of one kind."""
        return tuple(fault for fault in self.faults if fault.kind is kind)

    def to_json(self) -> str:
        """Return the ground truth as indented JSON."""
        return _ADAPTER.dump_json(self, indent=1, by_alias=True).decode()

    @staticmethod
    def from_json(text: str) -> "GroundTruth":
        """Return the ground truth from the output of :meth:`to_json`.

        Raises:
            ValueError: The text is not the ground truth of a weekend.
        """
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(GroundTruth)


def session_truth(race: Race, telemetry: TelemetryTruth) -> SessionTruth:
    """Return the ground truth of a simulated race."""
    best_entry, best = race.best()
    return SessionTruth(
        track=race.track.slug,
        track_name=race.track.name,
        folder=race.track.folder,
        session=race.session,
        zone=race.track.zone,
        official_clock_behind_s=race.official_clock_behind_s,
        event_code=race.track.event_code,
        cars=tuple(_car_truth(race, entry) for entry in race.entries),
        laps=tuple(_lap_truth(race, entry, lap) for entry in race.entries for lap in entry.laps),
        best_lap=BestLap(best_entry.car.vehicle_id, best.number, best.official_ms / 1000),
        telemetry=telemetry,
    )


def _car_truth(race: Race, entry: CarRace) -> CarTruth:
    car = entry.car
    same_number = sorted(other.car.number for other in race.entries if other.car.printed_number == car.printed_number)
    shadowed = race.plan.shadowed_chassis if car == UNDECIDED else None
    is_frozen = entry.frozen_at_ms is not None
    return CarTruth(
        vehicle_id=car.vehicle_id,
        chassis=car.chassis,
        car_number=car.number,
        printed_number=car.printed_number,
        printed_entry=1 + same_number.index(car.number),
        candidates=(*((race.entry(shadowed).car.printed_number,) if shadowed else ()), car.printed_number),
        clock_offset_s=None if is_frozen else entry.clock_offset_ms / 1000,
        is_clock_frozen=is_frozen,
        has_started=bool(entry.race_laps),
    )


def _lap_truth(race: Race, entry: CarRace, lap: DrivenLap) -> LapTruth:
    return LapTruth(
        vehicle_id=entry.car.vehicle_id,
        lap_number=lap.number,
        unit_lap=lap.unit_lap,
        start_utc=_instant(lap.start_ms),
        end_utc=_instant(lap.end_ms),
        lap_time_s=lap.official_ms / 1000 if lap.is_timed else None,
        flag=lap.flag if lap.is_timed else None,
        is_in_export=lap.end_ms <= race.export_end_ms,
    )


def _instant(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)
