"""Log lines in JSON for programs and in text for people."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.logs import FIELDS, JsonLines, set_up_logging
from apex_pipeline_tests.catalog.loaders.harness import LAP_TABLE, PRACTICE, local_harness


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capture: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capture.readouterr().err.splitlines()]


@pytest.mark.req("A-084", "A-085", "A-081", "A-082")
def test_loading_is_logged_as_one_json_object_per_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness = local_harness(tmp_path)
    harness.put({PRACTICE: LAP_TABLE})
    set_up_logging("json", logging.INFO, run_id="run-1")
    harness.loader.load_lap_times("barber_motorsports_park", "practice")
    harness.loader.load_lap_times("barber_motorsports_park", "race")
    logged = lines(capsys)
    assert all({*FIELDS, "run_id", "time", "level", "message"} <= set(line) for line in logged)
    assert {line["run_id"] for line in logged} == {"run-1"}
    started, tried, loaded = logged[:3]
    assert started["message"] == "Loading lap times for barber_motorsports_park/practice"
    assert (started["event"], started["outcome"], started["key"]) == ("load_lap_times", "begun", None)
    assert (tried["attempt"], tried["outcome"]) == (1, "tried")
    assert (loaded["track"], loaded["session"]) == ("barber_motorsports_park", "practice")
    assert (loaded["key"], loaded["outcome"]) == (PRACTICE, "loaded")
    assert loaded["duration_ms"] > 0
    assert (logged[-1]["level"], logged[-1]["outcome"]) == ("WARNING", "not_found")


def test_other_records_have_the_same_fields_and_tracebacks_stay_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("json")
    try:
        int("näh")
    except ValueError:
        logging.getLogger("elsewhere").exception("It failed: %s", Path("x"))
    logging.getLogger("elsewhere").info("not written")
    (line,) = lines(capsys)
    assert line["message"] == "It failed: x"
    assert line["event"] is None
    assert "ValueError: invalid literal" in line["error"]
    assert line["time"].endswith("Z")


def test_every_run_has_its_own_id() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "text", None, None)
    one, other = (json.loads(JsonLines().format(record))["run_id"] for _ in range(2))
    assert one != other


def test_text_format_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text")
    logging.getLogger("apex").warning("A lap is %s.", "long")
    assert capsys.readouterr().err == "WARNING apex: A lap is long.\n"


def test_an_interruption_that_a_library_logs_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text")
    for error in (KeyboardInterrupt(), ValueError("broken")):
        logging.getLogger("sqlalchemy.pool").error("Exception closing connection", exc_info=error)
    assert capsys.readouterr().err.count("Exception closing connection") == 1
