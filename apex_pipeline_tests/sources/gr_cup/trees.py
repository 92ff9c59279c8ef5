"""Builds small trees of race files: the published names of all seven tracks, with content of each kind.

The content of every file is unique (its rows contain the path), unless a test needs identical files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.sources.base import FileIdentity, FoundFile
from apex_pipeline.sources.gr_cup.discovery.identify import identify_tree
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind

_TRIGGERS = b"expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,value,vehicle_id\n"
_TELEMETRY = b"lap,meta_event,meta_session,meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id\n"

HEADERS = {
    FileKind.LAP_START: _TRIGGERS,
    FileKind.LAP_END: _TRIGGERS,
    FileKind.LAP_TIME: _TRIGGERS,
    FileKind.TELEMETRY: _TELEMETRY,
    FileKind.RESULTS: b"POSITION;NUMBER;STATUS;LAPS\n",
    FileKind.RESULTS_BY_CLASS: b"CLASS_TYPE;POS;PIC;NUMBER\n",
    FileKind.SECTIONS: b"NUMBER;DRIVER_NUMBER; LAP_NUMBER; LAP_TIME\n",
    FileKind.WEATHER: b"TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP\n",
    FileKind.BEST_LAPS: b"NUMBER;VEHICLE;BESTLAP_1;BESTLAP_1_LAPNUM\n",
    FileKind.CHAMPIONSHIP: b"PARTICIPANT;POINTS\n",
}


@dataclass(frozen=True)
class PublishedFile:
    """A published file name and its expected identity."""

    path: str
    kind: FileKind
    track: str
    session: str | None
    version: str | None = None


def published(race: int) -> Iterator[PublishedFile]:
    """Yield the files of all seven tracks for one race, named as in the data dictionary."""
    for scheme in _SCHEMES:
        folder = scheme.folder.format(n=race)
        for kind, name in scheme.car_files:
            yield PublishedFile(f"{folder}/{name.format(n=race)}", kind, scheme.track, f"R{race}")
        for kind, name, version in scheme.official_files:
            yield PublishedFile(f"{folder}/{name.format(n=race)}", kind, scheme.track, f"R{race}", version)


@dataclass(frozen=True)
class _Scheme:
    track: str
    folder: str
    car_files: tuple[tuple[FileKind, str], ...]
    official_files: tuple[tuple[FileKind, str, str | None], ...]


def _cars(laps: str, telemetry: str) -> tuple[tuple[FileKind, str], ...]:
    """Return the names of the car files; ``<>`` in ``laps`` is a placeholder for ``start``, ``end`` or ``time``."""
    return (
        (FileKind.LAP_START, laps.replace("<>", "start")),
        (FileKind.LAP_END, laps.replace("<>", "end")),
        (FileKind.LAP_TIME, laps.replace("<>_time", "time").replace("<>", "time")),
        (FileKind.TELEMETRY, telemetry),
    )


def _usual(end: str, race: str = "Race {n}") -> tuple[tuple[FileKind, str, str | None], ...]:
    return (
        (FileKind.RESULTS, f"03_Provisional Results_{race}{end}", "provisional"),
        (FileKind.RESULTS_BY_CLASS, f"05_Provisional Results by Class_{race}{end}", "provisional"),
        (FileKind.SECTIONS, f"23_AnalysisEnduranceWithSections_{race}{end}", None),
        (FileKind.WEATHER, f"26_Weather_{race}{end}", None),
        (FileKind.BEST_LAPS, f"99_Best 10 Laps By Driver_{race}{end}", None),
    )


_END = "_Anonymized.CSV"
_SCHEMES = (
    _Scheme(
        "barber_motorsports_park",
        "barber",
        _cars("R{n}_barber_lap_<>.csv", "R{n}_barber_telemetry_data.csv"),
        (
            *_usual(_END),
            (FileKind.RESULTS_BY_CLASS, f"05_Results by Class GR Cup Race {{n}} Official{_END}", "official"),
        ),
    ),
    _Scheme(
        "circuit_of_the_americas",
        "COTA/Race {n}",
        _cars("COTA_lap_<>_time_R{n}.csv", "R{n}_cota_telemetry_data.csv"),
        (*_usual(_END, " Race {n}"), (FileKind.RESULTS, f"00_Results GR Cup Race {{n}} Official{_END}", "official")),
    ),
    _Scheme(
        "indianapolis",
        "indianapolis",
        _cars("R{n}_indianapolis_motor_speedway_lap_<>.csv", "R{n}_indianapolis_motor_speedway_telemetry.csv"),
        (
            *_usual(".CSV"),
            (FileKind.RESULTS, "03_GR Cup Race {n} Official Results.CSV", "official"),
            (FileKind.RESULTS_BY_CLASS, "05_GR Cup Race {n} Official Results by Class.CSV", "official"),
            (FileKind.RESULTS_BY_CLASS, "05_Provisionals Results by Class_Race {n}.CSV", "provisional"),
        ),
    ),
    _Scheme(
        "road_america",
        "road-america/Road America/Race {n}",
        _cars("road_america_lap_<>_R{n}.csv", "R{n}_road_america_telemetry_data.csv"),
        (*_usual(_END), (FileKind.RESULTS, f"03_Results GR Cup Race {{n}} Official1{_END}", "official")),
    ),
    _Scheme(
        "sebring",
        "sebring/Sebring/Race {n}",
        _cars("sebring_lap_<>_time_R{n}.csv", "sebring_telemetry_R{n}.csv"),
        (*_usual(_END), (FileKind.RESULTS, f"00_Results GR Race {{n}} Official{_END}", "official")),
    ),
    _Scheme(
        "sonoma",
        "Sonoma/Race {n}",
        _cars("sonoma_lap_<>_time_R{n}.csv", "sonoma_telemetry_R{n}.csv"),
        (
            (FileKind.RESULTS, f"03_Results{_END}", None),
            (FileKind.RESULTS, f"03_Provisional_Results_Race {{n}}{_END}", "provisional"),
            (FileKind.RESULTS_BY_CLASS, f"05_Provisional_Results by Class_Race {{n}}{_END}", "provisional"),
            (FileKind.RESULTS_BY_CLASS, f"05_Results by Class_Race {{n}}{_END}", None),
        ),
    ),
    _Scheme(
        "virginia_international_raceway",
        "virginia-international-raceway/VIR/Race {n}",
        _cars("vir_lap_<>_R{n}.csv", "R{n}_vir_telemetry_data.csv"),
        _usual(_END),
    ),
)


def content(kind: FileKind, filler: str = "x", *, session: str | None = None, event: str = "I_R06_2025-09-07") -> bytes:
    """Return a header and two rows of a kind; ``filler`` makes the bytes differ from those of other files.

    Without ``session``, the rows name no session or event.
    """
    header = HEADERS[kind]
    delimiter = ";" if b";" in header else ","
    values = {
        "meta_event": event if session else "",
        "meta_session": session or "",
        "meta_time": "2025-09-06T19:00:00.000Z",
        "vehicle_id": f"GR86-{filler}",
    }
    row = delimiter.join(values.get(name.strip(), filler) for name in header.decode().strip().split(delimiter))
    return header + f"{row}\n".encode() * 2


def found(path: str, content: bytes) -> FoundFile:
    """Return a file that exists only in memory."""
    return FoundFile(path, len(content), lambda length: content[:length])


def files_below(root: Path) -> list[FoundFile]:
    """Return the files below a folder."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return [FoundFile(path.relative_to(root).as_posix(), path.stat().st_size, _reader(path)) for path in paths]


class _reader:  # noqa: N801  -- used as a function
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, length: int) -> bytes:
        with self._path.open("rb") as stream:
            return stream.read(length)


def identify(files: dict[str, bytes]) -> dict[str, FileIdentity]:
    """Identify a tree with the built-in rules; return the identities by path."""
    identities = identify_tree([found(path, content) for path, content in files.items()], load_rules())
    return {item.path: item for item in identities}


def identify_one(path: str, content: bytes) -> FileIdentity:
    """Identify a single file."""
    return identify({path: content})[path]
