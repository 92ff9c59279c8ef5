"""Readers of a lake that is being published: in Python, and over HTTP. Each writes a line for every answer it gets.

    python -m apex_pipeline_tests.e2e.publish_readers python LAKE ANSWERS
    python -m apex_pipeline_tests.e2e.publish_readers http ADDRESS ANSWERS

``ANSWERS`` gets one JSON object per answer: the snapshots that its parts name, what its tables hold, and what went
wrong. Nothing is judged here; ``publish_soak.py`` compares the answers with the snapshots when all is quiet. SIGTERM
ends a reader after the answer in work.
"""

import hashlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pyarrow as pa

from apex_pipeline.catalog import Catalog, open_catalog

# What a row of each table is compared by.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "laps": ("track", "session", "vehicle_id", "lap_number", "source_row"),
    "results": ("track", "session", "car_number", "source_row"),
    "sessions": ("track", "session", "inputs_version"),
}
# A walk over the laps of four sessions takes about ten pages.
_PAGE_ROWS = 37
# Between two pages: a publication takes 20 to 100 ms.
_LONGEST_PAUSE_S = 0.05


@dataclass
class Answer:
    """An answer, or several that belong together.

    Attributes:
        kind: What was asked.
        snapshots: Every snapshot that a part of it names, in order.
        digests: Digest of the rows of each table that was read.
        rows: Their number.
        published_meanwhile: Whether another snapshot was published between its first and its last part.
        problem: Why there is no answer; empty if there is one.
    """

    kind: str
    snapshots: list[str] = field(default_factory=list[str])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    rows: dict[str, int] = field(default_factory=dict[str, int])
    published_meanwhile: bool = False
    problem: str = ""

    def add(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Note what a table holds; a row that comes twice counts twice."""
        self.digests[table] = digest_of_rows(rows)
        self.rows[table] = len(rows)


def digest_of_rows(rows: Sequence[Sequence[object]]) -> str:
    """Return a digest of rows in their order."""
    return hashlib.sha256(json.dumps([list(row) for row in rows]).encode()).hexdigest()


def rows_of(table: pa.Table, name: str) -> list[tuple[object, ...]]:
    """Return the rows of a table with the columns it is compared by."""
    columns = [table[column].to_pylist() for column in COLUMNS[name]]
    return list(zip(*columns, strict=True))


def add_tables(answer: Answer, catalog: Catalog) -> None:
    """Read the tables of a snapshot into an answer."""
    answer.snapshots.append(catalog.snapshot.id)
    answer.add("laps", rows_of(catalog.laps(frame="arrow"), "laps"))
    answer.add("results", rows_of(catalog.table("results", frame="arrow"), "results"))
    answer.add("sessions", rows_of(catalog.sessions(frame="arrow"), "sessions"))


class _PythonReader:
    """Opens the lake anew, goes on with what it has, or reads yesterday's state, in turns."""

    def __init__(self, lake: str) -> None:
        self._lake = lake
        self._catalog = open_catalog(lake)

    def answers(self) -> Iterator[tuple[str, Callable[[Answer], None]]]:
        yield "opened", lambda answer: add_tables(answer, open_catalog(self._lake))
        yield "refreshed", self._refreshed
        yield "yesterday", self._yesterday

    def _refreshed(self, answer: Answer) -> None:
        self._catalog = self._catalog.refreshed()
        add_tables(answer, self._catalog)

    def _yesterday(self, answer: Answer) -> None:
        add_tables(answer, open_catalog(self._lake, as_of=(datetime.now(UTC) - timedelta(days=1)).date()))


class _HttpReader:
    """Asks for single answers, walks through pages, and asks for a snapshot by its id."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=f"{address}/api/v1", timeout=60)
        self._random = random.Random(0)  # noqa: S311  -- pauses
        # Readers are started before anything is published today.
        self._yesterday = self._published()

    def answers(self) -> Iterator[tuple[str, Callable[[Answer], None]]]:
        yield "page", self._page
        yield "walk", self._walk
        yield "by id", self._by_id

    def _page(self, answer: Answer) -> None:
        response = self._get("/tables/laps", columns=",".join(COLUMNS["laps"]), limit=10_000)
        answer.snapshots.append(response.headers["Apex-Snapshot"])
        answer.add("laps", _rows(response.json(), "laps"))

    def _by_id(self, answer: Answer) -> None:
        for name in ("laps", "results"):
            response = self._get(
                f"/tables/{name}", limit=10_000, columns=",".join(COLUMNS[name]), snapshot=self._yesterday
            )
            answer.snapshots.append(response.headers["Apex-Snapshot"])
            answer.add(name, _rows(response.json(), name))

    def _walk(self, answer: Answer) -> None:
        before, rows, cursor = self._published(), list[tuple[object, ...]](), {}
        while cursor is not None:
            asked = {"columns": ",".join(COLUMNS["laps"]), "limit": _PAGE_ROWS, **cursor}
            response = self._get("/tables/laps", **asked)
            page = response.json()
            answer.snapshots.append(response.headers["Apex-Snapshot"])
            rows += _rows(page, "laps")
            cursor = {"cursor": page["next"]} if page["next"] else None
            time.sleep(self._random.uniform(0, _LONGEST_PAUSE_S))
        answer.add("laps", rows)
        answer.published_meanwhile = self._published() != before

    def _published(self) -> str:
        return self._get("/snapshot").headers["Apex-Snapshot"]

    def _get(self, path: str, **parameters: str | int) -> httpx.Response:
        response = self._client.get(path, params=parameters)
        if not response.is_success:
            raise RuntimeError(f"{path}: {response.status_code} {response.text[:300]}")
        return response


def _rows(page: Mapping[str, Any], name: str) -> list[tuple[object, ...]]:
    if page["count"] != len(page["rows"]):
        raise RuntimeError(f"count says {page['count']}, and there are {len(page['rows'])} rows")
    return [tuple(row[column] for column in COLUMNS[name]) for row in page["rows"]]


def _answer(kind: str, ask: Callable[[Answer], None]) -> Answer:
    answer = Answer(kind)
    try:
        ask(answer)
    except Exception as error:  # noqa: BLE001  -- whatever a reader gets instead of an answer counts
        answer.problem = f"{type(error).__name__}: {error}"
    return answer


def main() -> None:
    """Read until SIGTERM."""
    kind, target, path = sys.argv[1:]
    is_over: list[bool] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        is_over.append(True)

    signal.signal(signal.SIGTERM, end)
    reader = _PythonReader(target) if kind == "python" else _HttpReader(target)
    with Path(path).open("w", encoding="utf-8") as answers:
        while not is_over:
            for name, ask in reader.answers():
                print(json.dumps(asdict(_answer(f"{kind}: {name}", ask))), file=answers, flush=True)


if __name__ == "__main__":
    main()
