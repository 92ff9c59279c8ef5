"""The accuracy report of a synthetic weekend and of real files, in a lake."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.ops.accuracy import measure_session
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.derived import publish_folder

_R1 = SessionKey("harbor_street_circuit", "R1")


def _measure(store: LocalStore, key: SessionKey, scratch: Path) -> AccuracyReport | None:
    snapshot = require_snapshot(store)
    workspace = Workspace(500_000_000, scratch)
    return measure_session(store, snapshot, require_session(snapshot, key), load_settings(), workspace)


def test_laps_of_the_synthetic_weekend_match_its_ground_truth(
    weekend: tuple[Path, GroundTruth], lake: LocalStore, tmp_path: Path
) -> None:
    for session in weekend[1].sessions:
        report = _measure(lake, SessionKey(session.track, session.session), tmp_path)
        assert report is not None
        assert (report.is_right, report.missed, report.invented) == (True, 0, ())
        assert report.best_listed_s == pytest.approx(session.best_lap.lap_time_s)
        assert report.best_hidden_s == pytest.approx(session.best_lap.lap_time_s, abs=0.05)


@pytest.mark.parametrize("missing", ["lap_end|lap_start|lap_time", "23_"], ids=["lap files", "official laps"])
def test_a_session_without_lap_files_or_official_laps_has_no_report(
    weekend: tuple[Path, GroundTruth], tmp_path: Path, missing: str
) -> None:
    shutil.copytree(weekend[0] / "files" / "harbor_street_circuit", tmp_path / "files" / "harbor_street_circuit")
    for path in (tmp_path / "files" / "harbor_street_circuit").iterdir():
        if any(word in path.name for word in missing.split("|")):
            path.unlink()
    store = open_lake(tmp_path / "one-sided")
    publish_folder(store, tmp_path / "files", tmp_path / "scratch")
    assert _measure(store, _R1, tmp_path) is None


def test_real_races_are_correct_and_their_blind_laps_are_accurate(real_data: Path, tmp_path: Path) -> None:
    store = open_lake(tmp_path / "lake")
    snapshot = publish_folder(store, real_data / "grcup" / "sebring", tmp_path / "scratch")
    reports = [_measure(store, record.key, tmp_path) for record in snapshot.sessions]
    both = pool_reports([report for report in reports if report is not None])
    assert (both.official, both.comparable, both.missed) == (401 + 332, 657, 0)
    assert both.is_right
    assert both.within_500ms / both.matched > 0.985
