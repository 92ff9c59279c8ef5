"""The index of a lake: what it lists, how it is filtered, where it leads."""

from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.index_page import IndexFilter, index_page
from apex_pipeline.reports.index_tables import index_tables
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.reports.session_report.race_tables import publish, race

_SESSIONS = {
    SessionKey("harbor_street_circuit", "R1"): race(3, 4),
    SessionKey("harbor_street_circuit", "R2"): {},
    SessionKey("mesa_verde_raceway", "R1"): {**race(2, 3, numbers=["<b>"]), "quality": []},
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("index"), _SESSIONS)


def _page(lake: Path, **chosen: str) -> str:
    return index_page(index_tables(open_catalog(lake)), IndexFilter(**chosen), "snapshot")


def test_every_session_is_listed_with_its_best_lap_and_quality(lake: Path) -> None:
    page = _page(lake)
    assert "3 of 3 sessions" in page
    best = open_catalog(lake).session("harbor_street_circuit", "R1").best(frame="arrow").to_pylist()[0]
    assert f"<td>1:{best['lap_time_s'] - 60:06.3f}</td>" in page
    assert f"#{best['car_number']}</bdi>" in page
    assert "<td>80</td>" in page
    # The one without laps and scores says so by dashes.
    assert page.count("<td>\u2013</td>") == 3


def test_it_leads_to_the_report_and_to_the_laps(lake: Path) -> None:
    page = _page(lake)
    for path in ("report", "laps?format=csv", "laps.parquet"):
        assert f'href="/api/v1/sessions/mesa_verde_raceway/R1/{path}"' in page


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"track": "HARBOR"}, 2),
        ({"track": " verde "}, 1),
        ({"track": "nowhere"}, 0),
        ({"kind": "race"}, 3),
        ({"kind": "practice"}, 0),
        ({"has": "nothing"}, 0),
        ({"track": '"><script>'}, 0),
    ],
)
def test_it_is_filtered_without_a_script(lake: Path, chosen: dict[str, str], count: int) -> None:
    page = _page(lake, **chosen)
    assert page.count(">CSV</a>") == count
    assert ("No session is like this." in page) == (count == 0)
    assert "<script" not in page


def test_names_are_text(lake: Path) -> None:
    page = _page(lake)
    assert "#&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_lake_whose_sessions_have_neither_laps_nor_scores_has_an_index(tmp_path: Path) -> None:
    only = publish(tmp_path, {SessionKey("harbor_street_circuit", "R1"): {}})
    assert "1 of 1 sessions" in _page(only)
