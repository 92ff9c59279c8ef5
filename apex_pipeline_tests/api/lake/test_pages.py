"""The pages for people: index, report and Parquet file over HTTP."""

import io

import httpx
import pyarrow.parquet as pq
import pytest

_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
_RACE = "/api/v1/sessions/harbor/r1"


def test_a_browser_gets_the_index_and_a_program_what_this_is(weekend: httpx.Client) -> None:
    page = weekend.get("/", headers=_BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "4 of 4 sessions" in page.text
    about = weekend.get("/")
    assert about.headers["content-type"] == "application/json"
    assert about.json()["api"] == "/api/v1"
    assert weekend.get("/?format=html").text == page.text


def test_the_index_is_filtered_by_the_address(weekend: httpx.Client) -> None:
    page = weekend.get("/?track=mesa&kind=race&has=", headers=_BROWSER).text
    assert "2 of 4 sessions" in page
    assert 'value="mesa"' in page


def test_every_link_of_the_index_leads_somewhere(weekend: httpx.Client) -> None:
    page = weekend.get("/", headers=_BROWSER).text
    links = {part.split('"')[0] for part in page.split('href="')[1:]} - {"/", "data:,"}
    assert len(links) == 12
    assert {weekend.get(link.replace("&amp;", "&"), headers=_BROWSER).status_code for link in links} == {200}


def test_the_report_is_a_page_with_a_tag(weekend: httpx.Client) -> None:
    page = weekend.get(f"{_RACE}/report", headers=_BROWSER)
    assert page.text.startswith("<!DOCTYPE html>")
    again = weekend.get(f"{_RACE}/report", headers={**_BROWSER, "If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


def test_the_laps_are_a_parquet_file(weekend: httpx.Client) -> None:
    file = weekend.get(f"{_RACE}/laps.parquet")
    assert file.headers["content-type"] == "application/vnd.apache.parquet"
    laps = pq.read_table(io.BytesIO(file.content))
    assert laps.num_rows == weekend.get(f"{_RACE}/laps").json()["count"]


@pytest.mark.parametrize("path", ["/api/v1/sessions/nowhere/R1/report", "/api/v1/sessions/harbor/R9/laps.parquet"])
def test_what_is_not_there_is_a_problem_with_a_hint(weekend: httpx.Client, path: str) -> None:
    answer = weekend.get(path, headers=_BROWSER)
    assert answer.status_code == 404
    assert answer.json()["hint"]


def test_a_report_is_not_offered_as_rows(weekend: httpx.Client) -> None:
    assert weekend.get(f"{_RACE}/report?format=csv").status_code == 400
    assert weekend.get(f"{_RACE}/laps?format=html").status_code == 400
