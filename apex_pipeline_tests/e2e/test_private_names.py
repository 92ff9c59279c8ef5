"""No name of a person leaves the raw files: names are planted everywhere, and every byte made from them is searched.

The raw files themselves are copied unchanged and are not searched. Everything derived from them is, decompressed:
tables, records, snapshots, reasons, Dagster's home, logs, output and exports. See
``sources/gr_cup/test_private_names.py`` for each damage alone.
"""

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import Row, csv_bytes, reading

# No word, code or library contains these.
FIRST, LAST, TEAM, TOWN = NAMES = ("Quintessa", "Zebrowski", "Vandersloot", "Llanwrthwl")
DRIVER = f"{FIRST} {LAST}"
_CAR = "GR86-002-2"
_SECTIONS = "NUMBER;DRIVER_NUMBER;LAP_NUMBER;LAP_TIME;ELAPSED;HOUR;S1_SECONDS;CLASS;GROUP;FLAG_AT_FL;MANUFACTURER"
_RESULTS = (
    "POSITION;NUMBER;STATUS;LAPS;TOTAL_TIME;GAP_FIRST;GAP_PREVIOUS;FL_LAPNUM;FL_TIME;CLASS;GROUP;DIVISION;VEHICLE"
)
_PERSONS = "DRIVER_NAME;TEAM;DRIVER_FIRSTNAME;DRIVER_SECONDNAME;DRIVER_HOMETOWN"
_WEATHER = "TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP;TRACK_TEMP;HUMIDITY;PRESSURE;WIND_SPEED;WIND_DIRECTION;RAIN"
_LAPS = "vehicle_id,lap,timestamp,meta_time,meta_session,meta_event,value,outing,meta_source,driver"
_WEATHER_CELLS = ("20", "31", "50", "990", "2", "180", "0")

Lines = list[str]
Damage = Callable[[Lines], Lines]


def _clean() -> dict[str, Lines]:
    """Return the files of one session: twelve laps of one car, with names in the columns that are made for them."""
    persons = [DRIVER, f"{TEAM} Racing", FIRST, LAST, TOWN]
    laps = range(1, 13)
    ends = {lap: f"2025-09-06T18:{2 * lap:02d}:00.123Z" for lap in range(13)}
    return {
        "23_AnalysisEnduranceWithSections_Race 1.CSV": [
            f"{_SECTIONS};{_PERSONS}",
            *(";".join([*_section(lap), *persons]) for lap in laps),
        ],
        "03_Results_Race 1.CSV": [
            f"{_RESULTS};{_PERSONS}",
            *(";".join([*_result(place), *persons]) for place in laps),
        ],
        "26_Weather_Race 1.CSV": [
            f"{_WEATHER};OBSERVER",
            *(";".join([str(1_757_184_000 + 60 * lap), "x", *_WEATHER_CELLS, DRIVER]) for lap in laps),
        ],
        "R1_barber_lap_end.csv": [
            _LAPS,
            *(",".join([_CAR, str(lap), ends[lap], ends[lap], *_RAW_TAIL, DRIVER]) for lap in range(13)),
        ],
        "R1_barber_telemetry_data.csv": csv_bytes(_readings()).decode().splitlines(),
    }


_RAW_TAIL = ("R1", "I_R06_2025-09-07", "120000", "0", "kafka:gr-raw")


def _section(lap: int) -> Lines:
    return ["2", "1", str(lap), "2:00.000", f"{2 * lap}:00.000", f"13:{2 * lap:02d}:00.000", "40.000", *_CODES]


_CODES = ("Am", "", "GF", "Toyota")


def _result(place: int) -> Lines:
    return [*(str(place), str(place + 1), "Classified", "12", "24:00.000", "-", "-", "8", "2:00.000"), *_RESULT_CODES]


_RESULT_CODES = ("Am", "", "GR Cup", "Toyota GR86")


def _readings() -> list[Row]:
    """Return readings with a name as each thing a reading can have; most are as they should be."""
    places = ("telemetry_name", "telemetry_value", "lap", "vehicle_number", "original_vehicle_id", "meta_event")
    rows = [reading(at / 2) for at in range(40)]
    rows += [reading(30 + at, **{place: DRIVER}) for at, place in enumerate(places)]
    return [*rows, reading(50, FIRST), reading(51, f"{LAST}_{TEAM}"), reading(52, meta_time=DRIVER)]


def _named_in(*columns: str) -> Damage:
    """Write a name into these columns of the third line."""

    def damage(lines: Lines) -> Lines:
        delimiter = ";" if ";" in lines[0] else ","
        names, cells = lines[0].split(delimiter), lines[2].split(delimiter)
        return [
            *lines[:2],
            delimiter.join(DRIVER if name in columns else cell for name, cell in zip(names, cells, strict=True)),
            *lines[3:],
        ]

    return damage


def _shifted(lines: Lines) -> Lines:
    delimiter = ";" if ";" in lines[0] else ","
    return [*lines[:2], delimiter.join([DRIVER, *lines[2].split(delimiter)[:-1]]), *lines[3:]]


_KEYS = ("NUMBER", "POSITION", "TIME_UTC_SECONDS", "vehicle_id")
_TIMES = ("LAP_TIME", "ELAPSED", "HOUR", "TOTAL_TIME", "FL_TIME", "timestamp", "meta_time")
_TEXTS = ("STATUS", "CLASS", "GROUP", "DIVISION", "VEHICLE", "FLAG_AT_FL", "MANUFACTURER", "RAIN", "meta_event")
_NUMBERS = ("LAPS", "S1_SECONDS", "DRIVER_NUMBER", "AIR_TEMP", "lap", "value", "outing", "GAP_FIRST", "meta_source")
# Each in a track's folder of its own, so that one sync has all of them.
_DAMAGE: dict[str, Damage] = {
    "barber": lambda lines: lines,
    "cota": _shifted,
    "road-america": _named_in(*_KEYS),
    "sebring": _named_in(*_TIMES, *_NUMBERS),
    "virginia-international-raceway": _named_in(*_TEXTS, "meta_session"),
    "indianapolis": lambda lines: lines[1:],
    "sonoma": lambda lines: [f"# {DRIVER}, {TEAM} Racing, {TOWN}", lines[0], f'"{DRIVER}', *lines[1:], f'"{LAST}'],
}


def _plant(source: Path) -> None:
    for track, damage in _DAMAGE.items():
        for name, lines in _clean().items():
            path = source / track / name.replace("barber", track.split("-")[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(damage(lines)) + "\n", encoding="utf-8")
    others = {
        "people/drivers.csv": f"driver;team;{FIRST}\n{DRIVER};{TEAM};1\n",
        "people/notes.txt": f"{DRIVER} drove for {TEAM}.\n",
        "barber/R1_barber_lap_start.csv": f"{FIRST},{LAST}\n{TEAM},{TOWN}\n",
        "barber/99_Best 10 Laps By Driver_Race 1.CSV": f"NUMBER;{DRIVER};BESTLAP_1\n2;{LAST};2:00.000\n",
        "barber/05_Results by Class_Race 1.CSV": f"{_RESULTS};DRIVER\n{';'.join(_result(1))};{DRIVER}\n",
    }
    for name, text in others.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _made_from(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file below a folder, decompressed, other than copies of raw files."""
    raw = {path.read_bytes() for path in (folder / "source").rglob("*") if path.is_file()}
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_relative_to(folder / "source"):
            continue
        content = path.read_bytes()
        name = str(path.relative_to(folder))
        if content in raw:
            yield name, b""
        elif content.startswith(b"PAR1"):
            yield name, content + _unpacked(content)
        elif content.startswith(b"\x1f\x8b"):
            yield name, gzip.decompress(content)
        else:
            yield name, content


def _unpacked(content: bytes) -> bytes:
    file = pq.ParquetFile(io.BytesIO(content))
    table: pa.Table = file.read()
    return repr((table.schema, table.to_pylist(), file.schema_arrow.metadata)).encode()


_COMMANDS = (
    "files",
    "rejects barber_motorsports_park R1",
    "explain source/cota/03_Results_Race 1.CSV",
    "trace laps barber_motorsports_park R1 --car 2 --lap 3",
    "export exported --to csv",
)


@pytest.mark.soak
def test_no_name_is_in_any_byte_made_from_files_with_names(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    _plant(machine.folder / "source")

    machine.run("sync", "source", APEX_DEBUG="1")
    derived = {row["track"] for row in machine.ask("sessions")}
    for command in _COMMANDS:
        words = command.replace("Race 1", "Race_1").split()
        ended = machine.run(*(word.replace("Race_1", "Race 1") for word in words))
        assert (command, ended.code) == (command, 0), ended.out

    assert len(derived) >= len(_DAMAGE) - 2
    found = dict(_made_from(machine.folder))
    for made in ("lake/", "home/", "state/", "exported/", "1.out"):
        assert any(name.startswith(made) for name in found), made
    where = {
        name: [planted for planted in NAMES if planted.casefold().encode() in (name.encode() + content).lower()]
        for name, content in found.items()
    }
    leaks = {name: names for name, names in where.items() if names}
    assert leaks == {}
