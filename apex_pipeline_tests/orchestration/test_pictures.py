"""The pictures of a table: stored if they are small, and otherwise a line says that one is left out."""

from typing import Any
from unittest.mock import create_autospec

import dagster as dg
import pytest

from apex_pipeline.orchestration import pictures
from apex_pipeline.orchestration.checks import SessionTables
from apex_pipeline.orchestration.pictures import pictures_of
from apex_pipeline.reports.svg import MAX_BYTES
from apex_pipeline.tables import LAPS, WEATHER


def _pictures(monkeypatch: pytest.MonkeyPatch, drawn: str | None) -> dict[str, Any]:
    monkeypatch.setattr(pictures, "_DRAWN", {LAPS.name: lambda _: {"lap_times": drawn}})
    return pictures_of(LAPS, create_autospec(SessionTables, instance=True))


def test_a_picture_that_is_too_large_is_left_out_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    (left_out,) = _pictures(monkeypatch, "x" * (MAX_BYTES + 1)).values()
    assert isinstance(left_out, dg.TextMetadataValue)
    assert left_out.text == "The picture is left out: it has 60,001 bytes, and at most 60,000 are stored."


def test_a_picture_of_the_largest_size_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _pictures(monkeypatch, "x" * MAX_BYTES) == {"lap_times": dg.MetadataValue.md("x" * MAX_BYTES)}


def test_bytes_count_and_not_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(_pictures(monkeypatch, "é" * MAX_BYTES)["lap_times"], dg.TextMetadataValue)


def test_without_anything_to_draw_there_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _pictures(monkeypatch, None) == {}
    assert pictures_of(WEATHER, create_autospec(SessionTables, instance=True)) == {}
