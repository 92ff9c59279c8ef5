"""The answer sheet: what is true about a synthetic weekend, and which faults hide it.

Here belong the sheet's form and its JSON. Not here: where the answers come from (``truth.py``).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

from apex_pipeline.demo.options import WeekendOptions


class FaultKind(StrEnum):
    """The planted faults."""

    BOUNCED_TRIGGER = "bounced_trigger"
    LAP_COUNTER_LOST = "lap_counter_lost"
    LATE_TRIGGER_PAIR = "late_trigger_pair"
    LATE_BY_A_SECOND = "late_by_a_second"
    MISSING_CROSSING = "missing_crossing"
    EXTRA_CROSSING = "extra_crossing"
    WRONG_CAR_NUMBER = "wrong_car_number"
    NO_CAR_NUMBER = "no_car_number"
    ZERO_PADDED_NUMBER = "zero_padded_number"
    UNDECIDED_CAR = "undecided_car"
    CLOCK_DAYS_OFF = "clock_days_off"
    CLOCK_FROZEN = "clock_frozen"
    NEWEST_FIRST_ROWS = "newest_first_rows"
    EXACT_DUPLICATES = "exact_duplicates"
    CONFLICTING_DUPLICATES = "conflicting_duplicates"
    RADIO_HOLE = "radio_hole"
    TRUNCATED_EXPORT = "truncated_export"
    WRONG_RACE_FILE = "wrong_race_file"
    EMPTY_FILE = "empty_file"
    MALFORMED_ROW = "malformed_row"
    UNPARSABLE_VALUE = "unparsable_value"
    NEVER_STARTED = "never_started"
    POST_RACE_LAP = "post_race_lap"
    OFFICIAL_CLOCK_BEHIND = "official_clock_behind"
    PENALTY = "penalty"
    FULL_COURSE_YELLOW = "full_course_yellow"
    PIT_LAP = "pit_lap"
    LONG_LAP = "long_lap"
    JUNK_FILE = "junk_file"


@dataclass(frozen=True)
class PlantedFault:
    """One planted fault.

    Attributes:
        kind: Which one.
        track: Track slug.
        session: ``R1`` or ``R2``.
        file: Path relative to the weekend's folder; of a fault in several files, the one to look at first.
        vehicle_id: The car, ``None`` if the fault is not one car's.
        lap_number: As in :class:`LapAnswer`, ``None`` if the fault is not one lap's. For triggers, the lap the crossing
            ends; of an extra crossing, the lap it falls into.
        detail: One sentence with the numbers.
    """

    kind: FaultKind
    track: str
    session: str
    file: str
    vehicle_id: str | None
    lap_number: int | None
    detail: str


@dataclass(frozen=True)
class PlantedReject:
    """A row no reader can use.

    Attributes:
        file: Path relative to the weekend's folder.
        line: Line number, the header being 1.
        reason: ``too_few_columns`` or ``bad_number``.
    """

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class CarAnswer:
    """Who a car really is.

    Attributes:
        vehicle_id: As its unit writes it; the suffix may be wrong.
        chassis: Key of the car within the session.
        car_number: True official number as text (``03`` is not ``3``).
        printed_number: The same as official files print it (both become ``3``).
        printed_entry: Which block of this printed number in the sections file is the car's: 1, or 2 where another car
            printed alike sorts before it.
        candidates: Printed numbers its crossings agree with; two where no reader can tell which it is.
        clock_offset_s: True UTC minus the car's telemetry clock; ``None`` for a frozen clock.
        is_clock_frozen: All telemetry carries one car time.
        has_started: The car drove in the race.
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
class LapAnswer:
    """A lap truly driven.

    Attributes:
        vehicle_id: The car.
        lap_number: Official number from 1. Two laps are not in official timing: 0 is the formation lap, and the number
            after the car's last official one is its slow lap to the pits after the flag.
        unit_lap: What the car's unit calls it as it ends; 32768 where it had lost count.
        start_utc: The car's own crossing that begins the lap.
        end_utc: The crossing that ends it.
        lap_time_s: Official time, ``None`` for formation and post-race laps. From lap 2 on it is ``end_utc -
            start_utc``; lap 1 counts from the green flag, which falls before the car's own crossing.
        flag: ``GF``, ``FCY`` or ``FF`` as in official timing, ``None`` where that does not list the lap.
        is_in_export: Both crossings lie before the end of the exported lap files, whether the files have them or not.
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
    """The fastest lap of a session; it lies within the export and its triggers are clean.

    Attributes:
        vehicle_id: The car.
        lap_number: Official lap number.
        lap_time_s: Its time.
    """

    vehicle_id: str
    lap_number: int
    lap_time_s: float


@dataclass(frozen=True)
class TelemetryAnswer:
    """What the telemetry file of a session holds.

    Attributes:
        file: Path relative to the weekend's folder.
        rows: Data rows, malformed and unparsable ones included, the header not.
        exact_duplicate_rows: Rows equal in every column to an earlier row.
        conflicting_rows: Rows with car, car time and channel of an earlier row but another value. Cars with a frozen
            clock are not counted: all their rows share one car time.
        rejected_rows: Rows no reader can use; each is among the sheet's rejects.
    """

    file: str
    rows: int
    exact_duplicate_rows: int
    conflicting_rows: int
    rejected_rows: int


@dataclass(frozen=True)
class SessionAnswer:
    """One race.

    Attributes:
        track: Slug expected from the folder; no list of known tracks has it.
        track_name: Name for people.
        folder: Folder of the track, relative to the weekend's.
        session: ``R1`` or ``R2``.
        zone: Time zone of the official files' ``HOUR``.
        official_clock_behind_s: True time minus ``HOUR`` at the green flag and at the chequered one; between them it
            runs in a straight line.
        event_code: ``meta_event`` of every row.
        cars: All cars with triggers.
        laps: All laps truly driven, by car and number.
        best_lap: The fastest.
        telemetry: Counts of the telemetry file.
    """

    track: str
    track_name: str
    folder: str
    session: str
    zone: str
    official_clock_behind_s: tuple[float, float]
    event_code: str
    cars: tuple[CarAnswer, ...]
    laps: tuple[LapAnswer, ...]
    best_lap: BestLap
    telemetry: TelemetryAnswer


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
class AnswerSheet:
    """Everything that is true about a weekend.

    Attributes:
        version: Version of this package that made it.
        options: What was asked for.
        sample_rate_hz: Rate of the fast telemetry channels.
        sessions: The four races.
        faults: Every planted fault.
        rejects: Every row no reader can use.
        files: Every file, by path.
    """

    version: str
    options: WeekendOptions
    sample_rate_hz: float
    sessions: tuple[SessionAnswer, ...]
    faults: tuple[PlantedFault, ...]
    rejects: tuple[PlantedReject, ...]
    files: tuple[WrittenFile, ...]

    def session(self, track: str, session: str) -> SessionAnswer:
        """Return one race.

        Raises:
            KeyError: There is none of this name.
        """
        for answer in self.sessions:
            if (answer.track, answer.session) == (track, session):
                return answer
        raise KeyError(f"{track}/{session}")

    def faults_of(self, kind: FaultKind) -> tuple[PlantedFault, ...]:
        """Return the planted faults of one kind."""
        return tuple(fault for fault in self.faults if fault.kind is kind)

    def to_json(self) -> str:
        """Return the sheet as indented JSON."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str) -> "AnswerSheet":
        """Read a sheet that :meth:`to_json` wrote.

        Raises:
            ValueError: The text is no answer sheet.
        """
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(AnswerSheet)


__all__ = [
    "AnswerSheet",
    "BestLap",
    "CarAnswer",
    "FaultKind",
    "LapAnswer",
    "PlantedFault",
    "PlantedReject",
    "SessionAnswer",
    "TelemetryAnswer",
    "WrittenFile",
]
