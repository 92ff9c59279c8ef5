"""Damages official timing systematically: every time column, every digit, every unit, rows and whole files.

A mutation must never make a valid lap that two witnesses contradict; see ``test_mutations.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apex_pipeline_tests.races.sections_file import Cells, minutes

TIMES = ("LAP_TIME", "ELAPSED", "HOUR", "S1_SECONDS", "S2_SECONDS", "S3_SECONDS")
KEYS = ("NUMBER", "LAP_NUMBER")
_WORDS = ("", "nan", "0", "99:59.999", "-1", "12:00:00.000")
_DAY_S = 86_400
_CLOCK = "%H:%M:%S.%f"


@dataclass(frozen=True)
class Mutation:
    """A change of official timing.

    Attributes:
        name: What is changed.
        apply: Returns the changed rows; the given ones stay as they are.
    """

    name: str
    apply: Callable[[Sequence[Cells]], list[Cells]]


def cell_mutations(rows: Sequence[Cells], place: int) -> Iterator[Mutation]:
    """Yield a typo in every digit of every time and key of one row, and words instead of each."""
    for column in (*TIMES, *KEYS):
        text = rows[place][column]
        for at, character in enumerate(text):
            if character.isdigit():
                for step in (1, 5, 9):
                    typo = text[:at] + str((int(character) + step) % 10) + text[at + 1 :]
                    yield _cell(column, place, typo)
        for word in _WORDS:
            yield _cell(column, place, word)


def _cell(column: str, place: int, text: str) -> Mutation:
    def apply(rows: Sequence[Cells]) -> list[Cells]:
        return [{**row, column: text} if at == place else dict(row) for at, row in enumerate(rows)]

    return Mutation(f"cell {column} of row {place} is {text!r}", apply)


def column_mutations() -> Iterator[Mutation]:
    """Yield each time column in other units and precisions, empty, missing, shifted by a row, or swapped."""
    for column in TIMES:
        for name, write in _WRITERS.items():
            yield _column(column, name, write)
        yield Mutation(f"column {column} is missing", lambda rows, column=column: _without(rows, column))
        yield Mutation(f"column {column} is one row too high", lambda rows, column=column: _raised(rows, column))
    for one, other in (("LAP_TIME", "ELAPSED"), ("S1_SECONDS", "S2_SECONDS"), ("LAP_TIME", "S3_SECONDS")):
        yield Mutation(
            f"columns {one} and {other} are swapped",
            lambda rows, one=one, other=other: [{**row, one: row[other], other: row[one]} for row in rows],
        )


def _column(column: str, name: str, write: Callable[[float], str]) -> Mutation:
    def apply(rows: Sequence[Cells]) -> list[Cells]:
        return [{**row, column: write(seconds_of(row[column]))} for row in rows]

    return Mutation(f"column {column} {name}", apply)


def _without(rows: Sequence[Cells], column: str) -> list[Cells]:
    return [{name: text for name, text in row.items() if name != column} for row in rows]


def _raised(rows: Sequence[Cells], column: str) -> list[Cells]:
    below = [row[column] for row in rows[1:]] + [rows[0][column]]
    return [{**row, column: text} for row, text in zip(rows, below, strict=True)]


def _spreadsheet(seconds: float) -> str:
    """Return a time as a spreadsheet saves it: ``mm:ss.0``, hours lost."""
    tenths = round(10 * seconds) % 36_000
    return f"{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"


_WRITERS: dict[str, Callable[[float], str]] = {
    "in milliseconds": lambda seconds: str(round(1000 * seconds)),
    "as fraction of a day": lambda seconds: f"{seconds / _DAY_S:.10f}",
    "as a spreadsheet saves it": _spreadsheet,
    "in whole seconds": lambda seconds: str(round(seconds)),
    "in tenths": lambda seconds: f"{seconds:.1f}",
    "with decimal comma": lambda seconds: minutes(seconds).replace(".", ","),
    "with an apostrophe": lambda seconds: "'" + minutes(seconds),
    "as time span": lambda seconds: f"0 days {timedelta(seconds=round(seconds, 3))}",
    "a minute more": lambda seconds: minutes(seconds + 60),
    "a second less": lambda seconds: minutes(max(seconds - 1, 0)),
    "ten times": lambda seconds: minutes(10 * seconds),
    "empty": lambda _: "",
}


def seconds_of(text: str) -> float:
    """Return ``h:mm:ss.fff``, ``m:ss.fff`` or ``ss.fff`` in seconds."""
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


def row_mutations(place: int) -> Iterator[Mutation]:
    """Yield a row left out, repeated, renumbered, given to another car, or with the times of its neighbour."""
    yield Mutation(f"row {place} is left out", lambda rows: [*rows[:place], *rows[place + 1 :]])
    yield Mutation(f"row {place} is repeated", lambda rows: [*rows[: place + 1], rows[place], *rows[place + 1 :]])
    yield _changed_row(place, "is the next lap", lambda row, _: {"LAP_NUMBER": str(int(row["LAP_NUMBER"]) + 1)})
    yield _changed_row(place, "is of the last car", lambda _, rows: {"NUMBER": rows[-1]["NUMBER"]})
    yield _changed_row(place, "has the times of the row below", lambda _, rows: _times(rows[(place + 1) % len(rows)]))
    yield _changed_row(place, "has the lap time of the row below", lambda _, rows: _lap_time(rows, place))
    yield _changed_row(place, "has half the lap time", lambda row, _: _scaled(row, 0.5))
    yield _changed_row(place, "has nine tenths of the lap time", lambda row, _: _scaled(row, 0.9))


def _changed_row(place: int, name: str, change: Callable[[Cells, Sequence[Cells]], Cells]) -> Mutation:
    def apply(rows: Sequence[Cells]) -> list[Cells]:
        return [{**row, **change(row, rows)} if at == place else dict(row) for at, row in enumerate(rows)]

    return Mutation(f"row {place} {name}", apply)


def _times(row: Cells) -> Cells:
    return {column: row[column] for column in TIMES}


def _lap_time(rows: Sequence[Cells], place: int) -> Cells:
    return {"LAP_TIME": rows[(place + 1) % len(rows)]["LAP_TIME"]}


def _scaled(row: Cells, share: float) -> Cells:
    """Return the row with a shorter lap whose sectors agree with it, as from a wrong intermediate point."""
    sectors = {name: f"{share * seconds_of(row[name]):.3f}" for name in TIMES if name.startswith("S")}
    return {**sectors, "LAP_TIME": minutes(sum(float(text) for text in sectors.values()))}


def file_mutations() -> Iterator[Mutation]:
    """Yield changes of the whole file: its clock, its numbers, its order, and what it covers."""
    for seconds in (-7200, -120, -60, -7, 60, 120, 420, 3600, 21_600, 43_200):
        yield Mutation(f"clock {seconds} s off", lambda rows, seconds=seconds: [_at(row, seconds) for row in rows])
    yield Mutation("half of the file", lambda rows: list(rows[: len(rows) // 2]))
    yield Mutation("rows backwards", lambda rows: list(reversed(rows)))
    yield Mutation("laps counted from 0", lambda rows: [_renumbered(row, -1) for row in rows])
    yield Mutation("laps counted from 2", lambda rows: [_renumbered(row, 1) for row in rows])
    yield Mutation("numbers of cars exchanged", _exchanged)
    yield Mutation("one car only", lambda rows: [row for row in rows if row["NUMBER"] == rows[0]["NUMBER"]])
    yield Mutation("no rows", lambda rows: list(rows[:0]))
    yield Mutation("every lap a tenth shorter", lambda rows: [{**row, **_scaled(row, 0.9)} for row in rows])


def _at(row: Cells, seconds: int) -> Cells:
    at = datetime.strptime(row["HOUR"], _CLOCK) + timedelta(seconds=seconds)  # noqa: DTZ007 -- a time of day
    return {**row, "HOUR": f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"}


def _renumbered(row: Cells, by: int) -> Cells:
    return {**row, "LAP_NUMBER": str(int(row["LAP_NUMBER"]) + by)}


def _exchanged(rows: Sequence[Cells]) -> list[Cells]:
    numbers = sorted({row["NUMBER"] for row in rows})
    others = dict(zip(numbers, numbers[1:] + numbers[:1], strict=True))
    return [{**row, "NUMBER": others[row["NUMBER"]]} for row in rows]


def all_mutations(rows: Sequence[Cells], places: Sequence[int]) -> list[Mutation]:
    """Return every mutation; those of one cell or row for the rows at these places."""
    of_rows = [mutation for place in places for mutation in (*cell_mutations(rows, place), *row_mutations(place))]
    return [*of_rows, *column_mutations(), *file_mutations()]
