"""Errors that nobody expected, and those of libraries, as problem documents."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI

from apex_pipeline.api.lake.cars import SessionCar, rows_of_car
from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.api.lake.problems import install_problems, problem_response, suggestion_in
from apex_pipeline_tests.servers.asgi import running_asgi


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    app = FastAPI()

    @app.get("/")
    def fail() -> None:
        raise request.param

    install_problems(app)
    with running_asgi(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as found:
        yield found


@pytest.mark.parametrize(
    ("client", "status", "part"),
    [
        (ValueError("internal words"), 500, "This is a bug"),
        (pa.ArrowInvalid("internal words"), 503, "apex verify"),
        (OSError(28, "No space left on device"), 503, ""),
    ],
    indirect=["client"],
)
def test_an_unexpected_error_is_a_problem_that_shows_nothing_of_the_inside(
    client: httpx.Client, status: int, part: str
) -> None:
    answer = client.get("/")
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert part in problem["hint"]
    assert "Traceback" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_the_suggestion_is_the_name_in_the_hint() -> None:
    body = json.loads(bytes(problem_response(404, "Not found", "No.", "Did you mean a? There are: a, b.").body))
    assert (body["suggestion"], body["hint"]) == ("a", "Did you mean a? There are: a, b.")
    assert suggestion_in("There are: a, b.") is None


def test_a_car_without_a_unit_is_found_in_official_tables_by_entry() -> None:
    rows = pa.table({"car_number": ["3", "3", "4"], "entry": [1, 2, 1]})
    car = SessionCar(None, "03", "3", 2)
    assert rows_of_car(rows, car, "official_laps").to_pylist() == [{"car_number": "3", "entry": 2}]
    assert rows_of_car(rows, SessionCar(None, "4", None, None), "official_laps").num_rows == 1


def test_a_table_that_does_not_tell_two_cars_apart_is_refused_for_one_of_them() -> None:
    rows = pa.table({"car_number": ["3", "3", "4"]})
    with pytest.raises(RequestError, match="does not say which of the cars printed 3"):
        rows_of_car(rows, SessionCar(None, "03", "3", 2, is_alone=False), "results")
    # Its own number is printed for another car.
    assert rows_of_car(rows, SessionCar(None, "3", None, None, is_alone=False), "results").num_rows == 0
