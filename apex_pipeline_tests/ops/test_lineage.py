"""Tracing laps back to their raw rows, on a weekend with known faults."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.demo import FaultKind, GroundTruth, WeekendOptions, make_weekend
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot, session_table
from apex_pipeline.ops.lineage import Evidence, LapTrace, trace_lap
from apex_pipeline.sources.cells import masked_line
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import LAPS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import publish_folder

_HARBOR = SessionKey("harbor_street_circuit", "R2")


@dataclass(frozen=True)
class Harness:
    """A synthetic weekend and the lake with its published tables."""

    folder: Path
    truth: GroundTruth
    store: LocalStore
    snapshot: Snapshot

    def laps(self, key: SessionKey) -> list[dict[str, Any]]:
        session = self.snapshot.session(key)
        assert session is not None
        return session_table(self.store, session, LAPS).to_pylist()

    def traces_of(self, kind: FaultKind) -> Iterator[LapTrace]:
        """Trace the laps with an injected fault of this kind."""
        faults = self.truth.faults_of(kind)
        assert faults
        for fault in faults:
            assert fault.vehicle_id is not None
            assert fault.lap_number is not None
            yield trace_lap(self.store, SessionKey(fault.track, fault.session), fault.vehicle_id, fault.lap_number)


@pytest.fixture(scope="module")
def harness(weekend: tuple[Path, GroundTruth]) -> Harness:
    base, truth = weekend
    store = LocalStore(base / "lake", DigestCache())
    return Harness(base / "files", truth, store, require_snapshot(store))


def _evidence(trace: LapTrace, role: str) -> Evidence:
    (evidence,) = (evidence for evidence in trace.evidence if evidence.role == role)
    return evidence


def test_every_row_has_the_text_of_its_line_and_the_digest_of_its_file(harness: Harness) -> None:
    rows = [row for item in trace_lap(harness.store, _HARBOR, "13", 5).evidence for row in item.rows]
    assert len(rows) >= 5
    for row in rows:
        content = (harness.folder / row.file).read_bytes()
        assert row.sha256 == hashlib.sha256(content).hexdigest()
        assert row.line is not None
        assert row.text == masked_line(content.decode().replace("\r\n", "\n").split("\n")[row.line - 1])


def test_a_lap_starts_and_ends_with_messages_of_its_own_car(harness: Harness) -> None:
    trace = trace_lap(harness.store, _HARBOR, "13", 5)
    assert [item.role for item in trace.evidence] == ["begin", "end", "official"]
    for role, column in (("begin", "lap_start_utc"), ("end", "lap_end_utc")):
        evidence, time = _evidence(trace, role), trace.lap[column]
        stamp = f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
        assert (evidence.note, evidence.stamped_utc_ms) == ("", evidence.used_utc_ms)
        assert all("GR86-022-13" in (row.text or "") for row in evidence.rows)
        assert any(stamp in (row.text or "") for row in evidence.rows)
        assert {Path(row.file).stem.rpartition("_lap_")[2] for row in evidence.rows} >= {"start", "end"}


def test_the_official_row_belongs_to_the_car_and_lap(harness: Harness) -> None:
    trace = trace_lap(harness.store, _HARBOR, "13", 5)
    (row,) = _evidence(trace, "official").rows
    minutes, seconds = divmod(trace.lap["official_lap_time_s"], 60)
    assert (row.text or "").startswith("13;1;5;")
    assert f"{minutes:.0f}:{seconds:06.3f}" in (row.text or "")


@pytest.mark.parametrize("key", [_HARBOR, SessionKey("mesa_verde_raceway", "R1")], ids=str)
def test_the_timestamps_of_every_lap_differ_by_its_trigger_time(harness: Harness, key: SessionKey) -> None:
    laps = [lap for lap in harness.laps(key) if lap["trigger_lap_time_s"] is not None]
    assert len(laps) > 30
    for lap in laps:
        trace = trace_lap(harness.store, key, lap["vehicle_id"], lap["lap_number"])
        start, end = _evidence(trace, "begin").stamped_utc_ms, _evidence(trace, "end").stamped_utc_ms
        assert start is not None
        assert end is not None
        assert (end - start) / 1000 == pytest.approx(lap["trigger_lap_time_s"], abs=0.043)


def test_a_late_timestamp_is_reported_with_its_delay_and_repair(harness: Harness) -> None:
    for trace in harness.traces_of(FaultKind.LATE_TRIGGER_PAIR):
        end = _evidence(trace, "end")
        assert end.note.startswith("Stamped ")
        assert end.note.endswith("s late and repaired (late_trigger_pair).")
        assert (end.stamped_utc_ms or 0) - (end.used_utc_ms or 0) > 10_000


def test_a_missing_crossing_is_reported_and_not_replaced_by_another(harness: Harness) -> None:
    for trace in harness.traces_of(FaultKind.MISSING_CROSSING):
        end = _evidence(trace, "end")
        assert (end.stamped_utc_ms, end.rows, end.note) == (None, (), "No lap file has it.")
        assert _evidence(trace, "begin").rows
        assert _evidence(trace, "official").rows


def test_a_lap_beyond_the_export_is_reported_as_such(harness: Harness) -> None:
    (fault,) = harness.truth.faults_of(FaultKind.TRUNCATED_EXPORT)
    key = SessionKey(fault.track, fault.session)
    lap = next(lap for lap in reversed(harness.laps(key)) if "truncated_export" in lap["flags"])
    end = _evidence(trace_lap(harness.store, key, lap["vehicle_id"], lap["lap_number"]), "end")
    assert (end.rows, end.note) == ((), "No lap file has it. It is outside the period they cover.")


def test_an_extra_crossing_is_shown_as_ignored(harness: Harness) -> None:
    for trace in harness.traces_of(FaultKind.EXTRA_CROSSING):
        between = _evidence(trace, "between")
        assert between.rows
        assert between.used_utc_ms is None
        assert trace.evidence[0].stamped_utc_ms < between.stamped_utc_ms  # type: ignore[operator]


def test_all_rows_of_a_bounce_are_shown(harness: Harness) -> None:
    for trace in harness.traces_of(FaultKind.BOUNCED_TRIGGER):
        assert max(len(_evidence(trace, role).rows) for role in ("begin", "end")) >= 6


def test_a_lap_missing_from_official_timing_has_no_official_row(harness: Harness) -> None:
    lap = next(lap for lap in harness.laps(_HARBOR) if lap["official_lap_number"] is None)
    trace = trace_lap(harness.store, _HARBOR, lap["vehicle_id"], lap["lap_number"])
    assert {item.role for item in trace.evidence} <= {"begin", "between", "end"}


def test_a_crossing_seen_only_in_telemetry_is_traced_to_the_telemetry_file(tmp_path: Path) -> None:
    # Detecting crossings takes 10 samples per second; the telemetry of a 2 MB weekend has fewer.
    truth = make_weekend(tmp_path / "weekend", WeekendOptions(target_bytes=40_000_000))
    fault = next(item for item in truth.faults_of(FaultKind.MISSING_CROSSING) if item.track == _HARBOR.track)
    track_folder = Path(fault.file).parts[0]
    shutil.move(tmp_path / "weekend" / track_folder, tmp_path / "files" / track_folder)
    store = LocalStore(tmp_path / "lake", DigestCache())
    store.prepare_for_writing()
    snapshot = publish_folder(store, tmp_path / "files", tmp_path / "scratch", with_official=False)
    session = snapshot.session(SessionKey(fault.track, fault.session))
    assert session is not None
    laps = session_table(store, session, LAPS).to_pylist()
    split = next(lap for lap in laps if lap["vehicle_id"] == fault.vehicle_id and lap["source_row"] is None)
    first = trace_lap(store, session.key, split["vehicle_id"], split["lap_number"])
    second = trace_lap(store, session.key, split["vehicle_id"], split["lap_number"] + 1)
    for evidence in (_evidence(first, "end"), _evidence(second, "begin")):
        (row,) = evidence.rows
        assert "telemetry" in row.file
        assert (row.line, row.text, evidence.note) == (None, None, "Only telemetry shows it.")
        assert row.sha256 == hashlib.sha256((tmp_path / "files" / row.file).read_bytes()).hexdigest()


def test_a_raw_file_replaced_after_the_derivation_is_an_error(tmp_path: Path, harness: Harness) -> None:
    shutil.copytree(harness.store.uri, tmp_path / "lake")
    store = LocalStore(tmp_path / "lake", DigestCache())
    (row, *_) = _evidence(trace_lap(store, _HARBOR, "13", 5), "end").rows
    store.write_bytes(raw_key(row.file), store.read_bytes(raw_key(row.file)) + b"\n")
    with pytest.raises(StoreCorruptionError, match=r"has changed since the published tables were derived.*Run a sync"):
        trace_lap(store, _HARBOR, "13", 5)


def test_an_unpublished_session_is_an_error_that_lists_the_published_ones(harness: Harness) -> None:
    with pytest.raises(ObjectMissingError, match=r"harbor_street_circuit/R9 is not published.*mesa_verde_raceway/R1"):
        trace_lap(harness.store, SessionKey("harbor_street_circuit", "R9"), "13", 5)


def test_an_unknown_lap_is_an_error_that_lists_the_known_ones(harness: Harness) -> None:
    with pytest.raises(ConfigurationError, match=r"GR86-022-13 has no lap 99\. It has -?\d+ to \d+; `apex laps`"):
        trace_lap(harness.store, _HARBOR, "13", 99)


@pytest.fixture(scope="module")
def barber(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Snapshot]:
    """Return a lake with the lap files and official timing of both Barber races."""
    base = tmp_path_factory.mktemp("barber")
    without_telemetry = shutil.ignore_patterns("*telemetry*")
    shutil.copytree(real_data / "grcup" / "barber", base / "files" / "barber", ignore=without_telemetry)
    store = LocalStore(base / "lake", DigestCache())
    store.prepare_for_writing()
    return store, publish_folder(store, base / "files", base / "scratch")


_BARBER = SessionKey("barber_motorsports_park", "R1")


def test_the_late_timestamp_behind_the_false_best_lap_of_barber_is_shown(barber: tuple[LocalStore, Snapshot]) -> None:
    """The trigger of GR86-036-98 is stamped 35 s late, so the following lap appears to take 63.6 s."""
    trace = trace_lap(barber[0], _BARBER, "98", 20)
    assert (trace.lap["lap_time_s"], trace.lap["trigger_lap_time_s"]) == (98.496, 63.606)
    start = _evidence(trace, "begin")
    assert start.note == "Stamped 34.781 s late and repaired (late_trigger_pair)."
    assert any("2025-09-06T19:13:36.859Z" in (row.text or "") for row in start.rows)


def test_a_timestamp_corrected_by_its_bounce_is_reported_as_such(barber: tuple[LocalStore, Snapshot]) -> None:
    session = barber[1].session(_BARBER)
    assert session is not None
    laps = session_table(barber[0], session, LAPS).to_pylist()
    bounced = [lap for lap in laps if "bounced_trigger" in lap["flags"]]
    traces = [trace_lap(barber[0], _BARBER, lap["vehicle_id"], lap["lap_number"]) for lap in bounced[:20]]
    notes = {_evidence(trace, role).note for trace in traces for role in ("begin", "end")}
    corrected = [note for note in notes if note.endswith(" s late, as the rows of its bounce show.")]
    assert corrected
    assert all(0.021 < float(note.split()[1]) <= 0.043 for note in corrected)
