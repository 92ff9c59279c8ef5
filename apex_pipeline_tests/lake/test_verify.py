"""Whether a lake holds what it says, and the report of truth over real files in it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.demo import AnswerSheet, WeekendOptions, make_weekend
from apex_pipeline.lake.published import require_session, require_snapshot
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot
from apex_pipeline.lake.verify import report_truth, verify_lake
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.gr_cup.naming import load_rules
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.truth import TruthReport, pooled
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.layout import raw_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.lake.derived import publish_folder

_R1 = SessionKey("harbor_street_circuit", "R1")
_LAP_FILE = "harbor_street_circuit/R1_harbor_lap_end.csv"


@pytest.fixture(scope="module")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerSheet]:
    """A made weekend, and beside it (folder ``lake``) the lake made from it."""
    base = tmp_path_factory.mktemp("verify")
    sheet = make_weekend(base / "files", WeekendOptions(target_bytes=2_000_000))
    publish_folder(_lake(base / "lake"), base / "files", base / "scratch")
    return base, sheet


def _lake(folder: Path) -> LocalStore:
    store = LocalStore(folder, Fingerprints())
    store.prepare_for_writing()
    return store


@pytest.fixture
def lake(weekend: tuple[Path, AnswerSheet], tmp_path: Path) -> LocalStore:
    """A copy of that lake to damage."""
    shutil.copytree(weekend[0] / "lake", tmp_path / "lake")
    return _lake(tmp_path / "lake")


def _problems(store: LocalStore) -> dict[str, str]:
    findings = verify_lake(store, require_snapshot(store))
    return {finding.what: finding.problem for finding in findings if finding.problem}


def test_every_raw_file_and_session_of_a_sound_lake_is_looked_at_and_good(lake: LocalStore) -> None:
    findings = verify_lake(lake, require_snapshot(lake))
    looked_at = [finding.what for finding in findings]
    raw_files = [item.key.removeprefix("data/") for item in lake.list("data/")]
    sessions = [f"{track}_{session}" for track in ("harbor", "mesa") for session in ("R1", "R2")]
    assert sorted(looked_at[: len(raw_files)]) == sorted(raw_files)
    assert len(looked_at) == len(raw_files) + len(sessions)
    assert [finding for finding in findings if finding.problem] == []


def test_a_raw_file_that_is_gone_is_found(lake: LocalStore) -> None:
    lake.delete(raw_key(_LAP_FILE))
    assert _problems(lake) == {_LAP_FILE: "is gone from the lake"}


def test_a_raw_file_of_another_size_is_found(lake: LocalStore) -> None:
    content = lake.read_bytes(raw_key(_LAP_FILE))
    lake.write_bytes(raw_key(_LAP_FILE), content + b"\n")
    assert _problems(lake) == {
        _LAP_FILE: f"has {len(content) + 1:,} bytes, the catalog says {len(content):,}",
    }


def test_a_raw_file_of_the_same_size_and_another_content_is_found(lake: LocalStore) -> None:
    content = lake.read_bytes(raw_key(_LAP_FILE))
    lake.write_bytes(raw_key(_LAP_FILE), content.replace(b"R1", b"R2", 1))
    assert _problems(lake) == {_LAP_FILE: "has another SHA-256 than the catalog says"}


@pytest.mark.parametrize("table", ["laps", "quality", "telemetry"])
def test_a_table_that_is_not_the_published_one_is_found(lake: LocalStore, table: str) -> None:
    lake.delete(table_key("tables", table, str(_R1)))
    assert list(_problems(lake)) == [str(_R1)]
    assert _problems(lake)[str(_R1)].startswith(f"{table}: ")
    assert "is not the file that was published" in _problems(lake)[str(_R1)]


def _with_record(snapshot: Snapshot, session: SessionRecord) -> Snapshot:
    others = [record for record in snapshot.sessions if record.key != session.key]
    return replace(snapshot, sessions=(session, *others))


def test_a_session_published_without_a_table_is_found(lake: LocalStore) -> None:
    snapshot = require_snapshot(lake)
    session = require_session(snapshot, _R1)
    older = replace(session, tables={name: record for name, record in session.tables.items() if name != "cars"})
    findings = verify_lake(lake, _with_record(snapshot, older))
    assert [(item.what, item.problem) for item in findings if item.problem] == [(str(_R1), "cars is missing")]


def test_a_table_that_does_not_fit_its_schema_is_found(lake: LocalStore) -> None:
    snapshot = require_snapshot(lake)
    session = require_session(snapshot, _R1)
    swapped = replace(session, tables={**session.tables, "laps": session.tables["weather"]})
    (problem,) = [item.problem for item in verify_lake(lake, _with_record(snapshot, swapped)) if item.problem]
    assert "laps: column vehicle_id is missing" in problem
    assert "laps: column observed_utc is not declared" in problem


def test_a_table_file_that_is_no_parquet_is_found(lake: LocalStore) -> None:
    snapshot = require_snapshot(lake)
    session = require_session(snapshot, _R1)
    facts = lake.write_bytes(session.tables["laps"].key, b"no parquet")
    assert facts.sha256 is not None
    damaged = replace(session.tables["laps"], sha256=facts.sha256)
    findings = verify_lake(lake, _with_record(snapshot, replace(session, tables={**session.tables, "laps": damaged})))
    (problem,) = [item.problem for item in findings if item.problem]
    assert problem.startswith("laps: ")


def _truth(store: LocalStore, key: SessionKey, scratch: Path) -> TruthReport | None:
    snapshot = require_snapshot(store)
    workspace = Workspace(500_000_000, scratch)
    return report_truth(store, snapshot, require_session(snapshot, key), load_rules(), workspace)


def test_truth_of_the_made_weekend_is_what_its_answers_say(
    weekend: tuple[Path, AnswerSheet], lake: LocalStore, tmp_path: Path
) -> None:
    for session in weekend[1].sessions:
        report = _truth(lake, SessionKey(session.track, session.session), tmp_path)
        assert report is not None
        assert (report.is_right, report.missed, report.invented) == (True, 0, ())
        assert report.best_listed_s == pytest.approx(session.best_lap.lap_time_s)
        assert report.best_hidden_s == pytest.approx(session.best_lap.lap_time_s, abs=0.05)


@pytest.mark.parametrize("missing", ["lap_end|lap_start|lap_time", "23_"], ids=["lap files", "official laps"])
def test_a_session_with_one_side_only_has_no_truth_to_tell(
    weekend: tuple[Path, AnswerSheet], tmp_path: Path, missing: str
) -> None:
    shutil.copytree(weekend[0] / "files" / "harbor_street_circuit", tmp_path / "files" / "harbor_street_circuit")
    for path in (tmp_path / "files" / "harbor_street_circuit").iterdir():
        if any(word in path.name for word in missing.split("|")):
            path.unlink()
    store = _lake(tmp_path / "one-sided")
    publish_folder(store, tmp_path / "files", tmp_path / "scratch")
    assert _truth(store, _R1, tmp_path) is None


def test_real_races_are_right_and_their_hidden_laps_near(real_data: Path, tmp_path: Path) -> None:
    store = _lake(tmp_path / "lake")
    snapshot = publish_folder(store, real_data / "grcup" / "sebring", tmp_path / "scratch")
    reports = [_truth(store, record.key, tmp_path) for record in snapshot.sessions]
    both = pooled([report for report in reports if report is not None])
    assert (both.official, both.comparable, both.missed) == (401 + 332, 657, 0)
    assert both.is_right
    assert both.within_500ms / both.matched > 0.985
