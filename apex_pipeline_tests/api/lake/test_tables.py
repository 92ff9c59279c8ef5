"""Tables over HTTP: rows as the catalog has them, compared, sorted, paged, and names as people write them."""

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.lake.rollback import plan_rollback, roll_back
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.api.lake.conftest import API, serving
from apex_pipeline_tests.catalog.race_lake import local_store
from apex_pipeline_tests.lake.tables import NOON, publish_tables

TRACK = "harbor_street_circuit"


@pytest.fixture(scope="module")
def catalog(derived_lake: Path) -> Catalog:
    return open_catalog(derived_lake / "lake")


def _rows(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["count"], found["next"]) == (len(found["rows"]), None)
    return found["rows"]


def _problem(client: httpx.Client, path: str, status: int) -> dict[str, Any]:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["hint"]
    return problem


def test_the_laps_of_a_session_are_those_of_the_catalog(weekend: httpx.Client, catalog: Catalog) -> None:
    expected = catalog.table_arrow("laps", TRACK, "R1")
    rows = _rows(weekend, "/sessions/harbor/r1/laps")
    assert [row["lap_time_s"] for row in rows] == expected["lap_time_s"].to_pylist()
    assert list(rows[0]) == expected.schema.names
    assert rows[0]["lap_start_utc"].endswith("Z")


def test_laps_of_every_session_follow_each_other(weekend: httpx.Client, catalog: Catalog) -> None:
    expected = sum(catalog.rows("laps", *key) for key in catalog.snapshot.keys)
    rows = _rows(weekend, "/tables/laps?columns=track,session")
    assert len(rows) == expected
    assert list(dict.fromkeys((row["track"], row["session"]) for row in rows)) == list(catalog.snapshot.keys)


def test_comparisons_choose_rows(weekend: httpx.Client, catalog: Catalog) -> None:
    laps = catalog.table_arrow("laps", TRACK, "R1").to_pylist()
    middle = sorted(lap["lap_time_s"] for lap in laps if lap["lap_time_s"] is not None)[len(laps) // 2]
    cases = {
        f"lap_time_s<={middle}": [lap["lap_time_s"] is not None and lap["lap_time_s"] <= middle for lap in laps],
        f"lap_time_s>{middle}&is_valid=true": [
            lap["lap_time_s"] is not None and lap["lap_time_s"] > middle and lap["is_valid"] for lap in laps
        ],
        "car_number=13&car_number=2": [lap["car_number"] in {"13", "2"} for lap in laps],
        "car_number!=13": [lap["car_number"] is not None and lap["car_number"] != "13" for lap in laps],
        "unit_lap=null": [lap["unit_lap"] is None for lap in laps],
        "unit_lap!=null": [lap["unit_lap"] is not None for lap in laps],
        "flags=late_trigger_pair": ["late_trigger_pair" in lap["flags"] for lap in laps],
        "flags!=late_trigger_pair": ["late_trigger_pair" not in lap["flags"] for lap in laps],
        "lap_start_utc<2000-01-01T00:00:00Z": [False] * len(laps),
    }
    for query, expected in cases.items():
        found = _rows(weekend, f"/sessions/harbor/R1/laps?{query}")
        chosen = [lap for lap, is_chosen in zip(laps, expected, strict=True) if is_chosen]
        assert [(row["vehicle_id"], row["lap_number"]) for row in found] == [
            (lap["vehicle_id"], lap["lap_number"]) for lap in chosen
        ], query


def test_rows_are_sorted_with_missing_values_last(weekend: httpx.Client) -> None:
    times = [row["lap_time_s"] for row in _rows(weekend, "/tables/laps?sort=-lap_time_s&columns=lap_time_s")]
    known = [time for time in times if time is not None]
    assert known == sorted(known, reverse=True)
    assert times == [*known, *[None] * (len(times) - len(known))]


@pytest.mark.parametrize("query", ["", "&sort=-lap_time_s,vehicle_id,lap_number", "&is_valid=true", "&car=13"])
def test_pages_together_are_the_whole_list(weekend: httpx.Client, query: str) -> None:
    columns = "columns=track,session,vehicle_id,lap_number"
    whole = _rows(weekend, f"/tables/laps?{columns}{query}")
    assert len(whole) > 14
    pages: list[list[dict[str, Any]]] = []
    cursor = ""
    while cursor is not None:
        page = weekend.get(f"{API}/tables/laps?{columns}{query}&limit=7{cursor and f'&cursor={cursor}'}").json()
        pages.append(page["rows"])
        cursor = page["next"]
    assert [row for page in pages for row in page] == whole
    assert {len(page) for page in pages[:-1]} == {7}


def test_a_page_that_ends_with_the_list_has_no_next(weekend: httpx.Client) -> None:
    count = len(_rows(weekend, "/sessions/harbor/R1/laps"))
    assert weekend.get(f"{API}/sessions/harbor/R1/laps?limit={count}").json()["next"] is None
    assert weekend.get(f"{API}/sessions/harbor/R1/laps?limit={count - 1}").json()["next"] is not None


def test_csv_is_whole_or_refused(weekend: httpx.Client) -> None:
    rows = _rows(weekend, "/sessions/harbor/R1/laps?columns=vehicle_id,lap_number")
    answer = weekend.get(f"{API}/sessions/harbor/R1/laps?columns=vehicle_id,lap_number&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["vehicle_id"], int(row["lap_number"])) for row in found] == [tuple(row.values()) for row in rows]
    assert answer.headers["apex-count"] == str(len(rows))
    problem = _problem(weekend, "/sessions/harbor/R1/laps?limit=3&format=csv", 400)
    assert "cannot say that it was cut" in problem["detail"]


def test_arrow_has_the_types_of_the_table_and_the_next_page_in_a_header(
    weekend: httpx.Client, catalog: Catalog
) -> None:
    answer = weekend.get(
        f"{API}/sessions/harbor/R1/laps?limit=5", headers={"Accept": "application/vnd.apache.arrow.stream"}
    )
    found = pa.ipc.open_stream(answer.content).read_all()
    expected = catalog.table_arrow("laps", TRACK, "R1").slice(0, 5)
    assert found.to_pylist() == expected.to_pylist()
    assert found.schema.field("lap_time_s").metadata[b"unit"] == b"seconds"
    again = weekend.get(f"{API}/sessions/harbor/R1/laps?limit=5&cursor={answer.headers['apex-next']}").json()
    assert again["rows"][0]["lap_number"] == catalog.table_arrow("laps", TRACK, "R1")["lap_number"][5].as_py()


def test_sessions_are_those_of_a_track_and_those_that_have_a_table(weekend: httpx.Client) -> None:
    everything = _rows(weekend, "/sessions")
    assert {row["session"] for row in _rows(weekend, "/sessions?track=harbor")} == {"R1", "R2"}
    assert _rows(weekend, "/sessions?has=telemetry") == []
    assert _rows(weekend, "/sessions?has=laps") == everything
    assert len(_rows(weekend, "/tracks")) == len({row["track"] for row in everything})


def test_a_car_is_found_by_number_and_by_vehicle_in_every_table_about_cars(weekend: httpx.Client) -> None:
    by_number = _rows(weekend, "/sessions/harbor/R1/laps?car=13")
    assert by_number == _rows(weekend, "/sessions/harbor/R1/laps?car=gr86-022-13")
    assert {row["vehicle_id"] for row in by_number} == {"GR86-022-13"}
    official = _rows(weekend, "/tables/official_laps?track=harbor&session=R1&car=%2313")
    assert official
    assert {row["car_number"] for row in official} == {"13"}


@pytest.mark.parametrize("name", ["laps", "cars", "quality", "results", "weather", "rejects", "files", "tracks"])
def test_every_table_is_answered(weekend: httpx.Client, name: str) -> None:
    assert weekend.get(f"{API}/tables/{name}").status_code == 200


@pytest.mark.parametrize(
    "name", ["weather", "quality", "note", "best", "results", "positions", "gaps", "penalties", "sectors"]
)
def test_a_session_answers_by_name(weekend: httpx.Client, name: str) -> None:
    assert weekend.get(f"{API}/sessions/harbor/Race%201/{name}").json()["session"] == "R1"


@pytest.mark.parametrize(
    ("path", "status", "suggestion"),
    [
        ("/sessions/harbour/R1/laps", 404, TRACK),
        ("/sessions/harbor/R11/laps", 404, "R1"),
        ("/sessions/harbor/R1/laps?car=133", 404, "13"),
        ("/tables/lap", 404, "laps"),
        ("/tables/laps?track=harbr", 404, TRACK),
        ("/tables/laps?session=R11", 404, "R1"),
        ("/tables/laps?car=133", 404, "13"),
        ("/tables/laps?lap_time<=98", 400, "lap_time_s"),
        ("/tables/laps?columns=lap_tim_s", 400, "lap_time_s"),
        ("/tables/laps?sort=lap_tim_s", 400, "lap_time_s"),
        ("/sessions?has=telemetri", 400, "telemetry"),
        ("/tables/laps?lap_time_method=oficial", 400, "official"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_suggestion(
    weekend: httpx.Client, path: str, status: int, suggestion: str
) -> None:
    assert _problem(weekend, path, status)["suggestion"] == suggestion


@pytest.mark.parametrize(
    "path",
    [
        "/tables/laps?lap_time_s<=fast",
        "/tables/laps?lap_time_s<=NaN",
        "/tables/laps?lap_time_s<=1e999",
        "/tables/laps?vehicle_id<=5",
        "/tables/laps?flags<3",
        "/tables/official_laps?crossing_local_time=noon",
        "/tables/laps?sort=flags",
        "/tables/weather?car=13",
        "/tables/tracks?track=harbor",
        "/tables/telemetry",
        "/tables/laps?cursor=made-up",
    ],
)
def test_what_cannot_be_meant_is_refused(weekend: httpx.Client, path: str) -> None:
    _problem(weekend, path, 400)


def test_a_cursor_belongs_to_its_query(weekend: httpx.Client) -> None:
    cursor = weekend.get(f"{API}/tables/laps?limit=3").json()["next"]
    assert "another query" in _problem(weekend, f"/tables/laps?is_valid=true&cursor={cursor}", 400)["detail"]
    assert "another query" in _problem(weekend, f"/tables/cars?cursor={cursor}", 400)["detail"]
    # How many rows, and in which form, is not part of the query.
    assert weekend.get(f"{API}/tables/laps?limit=4&cursor={cursor}&format=arrow").status_code == 200


def test_an_order_of_more_rows_than_an_answer_may_have_is_refused(
    weekend: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.api.lake.listing.MAX_ROWS", 100)
    assert "would have to be sorted" in _problem(weekend, "/tables/laps?sort=lap_number", 400)["detail"]


def test_a_table_of_more_rows_than_an_answer_may_have_is_refused(
    weekend: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.api.lake.table_routes.MAX_ROWS", 10)
    assert "Parquet" in _problem(weekend, "/tables/laps?session=R1&track=harbor&limit=9", 400)["hint"]


def test_a_page_of_too_much_text_ends_earlier_and_leads_on(
    weekend: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _rows(weekend, "/tables/laps?columns=vehicle_id,lap_number,session,track")
    monkeypatch.setattr("apex_pipeline.api.lake.encoding.JSON_ROWS", 7)
    monkeypatch.setattr("apex_pipeline.api.lake.encoding.MAX_JSON_BYTES", 5_000)
    for order in ("", "&sort=track,session,vehicle_id,lap_number"):
        rows: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            path = f"{API}/tables/laps?columns=vehicle_id,lap_number,session,track{order}&limit=9999&cursor={cursor}"
            page = weekend.get(path if cursor else path.removesuffix("&cursor=")).json()
            assert page["count"] < len(whole)
            rows, cursor = rows + page["rows"], page["next"]
        assert rows == whole


def test_what_a_rollback_took_out_is_listed_as_not_published_and_leads_nowhere(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    first = publish_tables(store, SessionKey("spa", "R1"), laps=2)
    publish_tables(store, SessionKey("spa", "R2"), now=NOON + timedelta(hours=1))
    roll_back(store, plan_rollback(store, first), NOON + timedelta(hours=2))
    with serving(Path(store.uri)) as client:
        for path in ("sessions", "tables/sessions"):
            rows = client.get(f"{API}/{path}").json()["rows"]
            assert [(row["session"], row["is_published"]) for row in rows] == [("R1", True), ("R2", False)], path
        published = client.get(f"{API}/sessions?is_published=true&columns=session").json()["rows"]
        assert published == [{"session": "R1"}]
        assert client.get(f"{API}/sessions/spa/R2/laps").status_code == 404
        page = client.get("/?format=html").text
    assert "sessions/spa/R1/report" in page
    assert "sessions/spa/R2" not in page
    assert "not published" in page
