"""`apex report`: the file it writes, and what it says where it cannot."""

import json
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex


def test_a_report_is_written_beside_where_the_command_was_run(demo_dir: Path, apex: Apex) -> None:
    result = apex("report", "harbor", "r1")
    assert result.code == 0
    file = demo_dir / "harbor_street_circuit_R1.html"
    assert result.out.startswith("harbor_street_circuit_R1.html: ")
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "Harbor Street Circuit" in page
    assert len(page.encode()) < 400_000
    file.unlink()


def test_the_file_can_be_named_and_is_replaced(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    target = tmp_path / "new" / "report.html"
    facts = json.loads(apex("report", "mesa", "R2", "--out", str(target), "--json").out)
    assert facts == {
        "target": str(target),
        "track": "mesa_verde_raceway",
        "session": "R2",
        "bytes": target.stat().st_size,
    }
    first = target.read_bytes()
    assert apex("report", "mesa", "R2", "--out", str(target)).code == 0
    assert target.read_bytes() == first
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.usefixtures("demo_dir")
def test_an_unknown_session_is_an_error_with_the_ones_there_are(apex: Apex) -> None:
    result = apex("report", "harbor", "R9")
    assert result.code != 0
    assert "R1" in result.error


@pytest.mark.usefixtures("demo_dir")
def test_a_folder_in_the_place_of_the_file_is_an_error_that_names_it(tmp_path: Path, apex: Apex) -> None:
    result = apex("report", "harbor", "R1", "--out", str(tmp_path))
    assert result.code != 0
    assert str(tmp_path) in result.error
    assert "Unexpected" not in result.error
