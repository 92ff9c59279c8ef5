"""No name of a person reaches a table, a reject, a reason or a message, whatever is wrong with a file."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import ApexError
from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.cells import masked_line, quoted
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

NAMES = ("Quintessa", "Zebrowski", "Vandersloot")
FIRST, LAST, TEAM = NAMES
RESULTS = "POSITION;NUMBER;STATUS;LAPS;TOTAL_TIME;GAP_FIRST;FL_LAPNUM;FL_TIME;CLASS;GROUP;VEHICLE;TEAM;DRIVER_FIRSTNAME"
SECTIONS = "NUMBER;LAP_NUMBER;LAP_TIME;ELAPSED;HOUR;S1_SECONDS;PIT_TIME;CLASS;FLAG_AT_FL;DRIVER_NAME;TEAM"
LAPS = "vehicle_id,lap,timestamp,meta_time,meta_session,meta_event,value,outing"


def result(place: int) -> list[str]:
    return [
        *(str(place), str(place + 10), "Classified", "17", "45:57.575", "-", "8", "2:28.630", "Am", "", "Toyota GR86"),
        *(f"{TEAM} Racing", f"{FIRST} {LAST}"),
    ]


def section(lap: int) -> list[str]:
    return [
        *("13", str(lap), "1:37.428", "1:37.428", "13:42:36.640", "50.664", "", "Am", "GF"),
        *(f"{FIRST} {LAST}", f"{TEAM} Racing"),
    ]


def trigger(lap: int) -> list[str]:
    time = f"2025-09-06T18:{40 + lap}:02.123Z"
    return ["GR86-002-2", str(lap), time, time, "R1", "I_R06_2025-09-07", "98421", "0"]


def table(header: str, rows: list[list[str]], delimiter: str = ";") -> list[str]:
    return [header, *(delimiter.join(row) for row in rows)]


def shifted(lines: list[str]) -> list[str]:
    """Move the last cells of the third line to its front."""
    delimiter = ";" if ";" in lines[0] else ","
    cells = lines[2].split(delimiter)
    return [*lines[:2], delimiter.join([f"{FIRST} {LAST}", *cells[:-1]]), *lines[3:]]


def named_in(column: str) -> Callable[[list[str]], list[str]]:
    """Write a name into a column of the third line."""

    def damage(lines: list[str]) -> list[str]:
        delimiter = ";" if ";" in lines[0] else ","
        columns, cells = lines[0].split(delimiter), lines[2].split(delimiter)
        if column in columns:
            cells[columns.index(column)] = LAST
        return [*lines[:2], delimiter.join(cells), *lines[3:]]

    return damage


DAMAGE: dict[str, Callable[[list[str]], list[str]]] = {
    "clean": lambda lines: lines,
    "no header": lambda lines: lines[1:],
    "only names as header": lambda lines: [f"{FIRST};{LAST};{TEAM}", *lines[1:]],
    "shifted row": shifted,
    "name as number": named_in("NUMBER"),
    "name as lap time": named_in("LAP_TIME"),
    "name as status": named_in("STATUS"),
    "name as class": named_in("CLASS"),
    "name as vehicle": named_in("VEHICLE"),
    "name as flag": named_in("FLAG_AT_FL"),
    "name as vehicle id": named_in("vehicle_id"),
    "name as session": named_in("meta_session"),
    "name as event": named_in("meta_event"),
    "name as time": named_in("meta_time"),
    "quote never closed": lambda lines: [*lines[:2], f'"{FIRST} {lines[2]}', *lines[3:]],
    "name as column": lambda lines: [f"{lines[0]};{FIRST} {LAST}" if ";" in lines[0] else lines[0], *lines[1:]],
    "name twice as column": lambda lines: [f"{lines[0]};{LAST};{LAST}", *lines[1:]],
    "too many cells": lambda lines: [*lines[:2], f"{lines[2]};{LAST};{LAST}", *lines[3:]],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_table_and_no_message_has_a_name(tmp_path: Path, damage: Callable[[list[str]], list[str]]) -> None:
    root = tmp_path / "data"
    files = {
        "barber/03_Results_Race 1.CSV": table(RESULTS, [result(place) for place in range(1, 6)]),
        "barber/23_AnalysisEnduranceWithSections_Race 1.CSV": table(SECTIONS, [section(lap) for lap in range(1, 6)]),
        "barber/R1_barber_lap_end.csv": table(LAPS, [trigger(lap) for lap in range(1, 6)], ","),
        "people/drivers.csv": [f"driver;team;{FIRST}", f"{FIRST} {LAST};{TEAM};1", f"{LAST};{TEAM};2"],
    }
    for name, lines in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(damage(lines)) + "\n")
    published = everything_published(root, tmp_path)
    assert not [name for name in NAMES if name.casefold() in published.casefold()]


def everything_published(root: Path, scratch: Path) -> str:
    """Return identities, tables and messages of a folder as one text."""
    identities = identify(scan_folder(root), load_settings())
    parts = [repr(item) for item in identities]
    ready = [item for item in identities if item.status is FileStatus.READY and item.session]
    source = GrCup()
    workspace = Workspace(2_000_000_000, scratch)
    key = SessionKey("barber_motorsports_park", "R1")
    try:
        for derived in source.derive(
            key, ready, lambda path: (root / path).open("rb"), workspace, source.load_rules(load_settings())
        ):
            made = derived.content
            content: pa.Table = made if isinstance(made, pa.Table) else pq.read_table(made)
            assert derived.table.violations(content) == []
            parts += [repr(content.to_pylist()), repr(derived.facts), *derived.warnings]
    except ApexError as error:
        parts.append(f"{error} {error.problem} {error.hint}")
    return "\n".join(parts)


@pytest.mark.parametrize("text", ["12", "2025-05-17T18:26:30Z", "nan", "3 Laps", "R2", "+1:00.684", "5:40:16 PM"])
def test_a_cell_that_is_no_name_is_quoted(text: str) -> None:
    assert quoted(text) == repr(text)


@pytest.mark.parametrize("text", ["Doe", "Jane Doe", "DOE 13", "d'Arc", "O. Nil", "王"])
def test_a_cell_that_may_be_a_name_is_not_quoted(text: str) -> None:
    assert text not in quoted(text)


def test_a_traced_line_shows_numbers_times_and_codes_only() -> None:
    line = f'GR86-006-7,19,2025-05-17T18:26:30.493Z,"R1",{LAST},"{FIRST}, {TEAM}",GF'
    assert masked_line(line) == 'GR86-006-7,19,2025-05-17T18:26:30.493Z,"R1",***,***,GF'
