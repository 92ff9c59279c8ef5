"""Checks are part of the step that makes a table: they look at the written file, and none passes on nothing."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from apex_pipeline import sources
from apex_pipeline.orchestration.assets import gr_cup
from apex_pipeline.orchestration.assets._derivation import derive_tables
from apex_pipeline.orchestration.assets.gr_cup_checks import GR_CUP_CHECKS
from apex_pipeline.orchestration.checks import nothing_to_check
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.sources.gr_cup.derive import LapTables
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.leases import held
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once
from apex_pipeline_tests.orchestration.lake_runs import STEPS, Attempt, LakeRuns
from apex_pipeline_tests.sources.toy import PIT_STOPS, PitStops

R1 = "spa/R1"

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeRuns]:
    with made_once(LakeRuns, tmp_path_factory) as lake:
        lake.race(R1)
        lake.sync()
        yield lake


@pytest.fixture
def published(original: LakeRuns, tmp_path: Path) -> Iterator[LakeRuns]:
    """A lake with one published session."""
    with copied(original, tmp_path) as lake:
        yield lake


def change_laps(monkeypatch: pytest.MonkeyPatch, change: Callable[[pa.Table], pa.Table]) -> None:
    """Let the derivation of laps return other laps, as a defect in it would."""
    derive: Any = gr_cup.derive_lap_tables

    def changed(*arguments: object) -> LapTables:
        tables = derive(*arguments)
        return replace(tables, laps=change(tables.laps))

    monkeypatch.setattr(gr_cup, "derive_lap_tables", changed)


def _overlapping(laps: pa.Table) -> pa.Table:
    """Return the laps, all of which start with the first one of the race."""
    first = pc.min(laps["lap_start_utc"])
    position = laps.schema.get_field_index("lap_start_utc")
    return laps.set_column(position, laps.schema.field(position), pa.repeat(first, laps.num_rows).cast(first.type))


def _repeated(laps: pa.Table) -> pa.Table:
    return pa.concat_tables([laps, laps.slice(0, 1)])


# -- blocking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "check"), [(_overlapping, "laps_do_not_overlap"), (_repeated, "matches_schema")], ids=["overlap", "key"]
)
def test_a_failing_blocking_check_stops_publication_and_keeps_what_was_published(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch, change: Callable[[pa.Table], pa.Table], check: str
) -> None:
    before = published.session(R1)
    published.race(R1, laps=6)
    change_laps(monkeypatch, change)
    attempt = published.run_session(R1)
    assert list(attempt.failures) == ["laps"]
    assert f"laps: {check}" in attempt.failure
    assert not attempt.checks[f"laps.{check}"].passed
    assert attempt.checks[f"laps.{check}"].blocking
    assert set(attempt.made) == {*STEPS[0], *STEPS[1], *STEPS[2]}
    assert published.session(R1) == before


def test_a_table_that_failed_a_blocking_check_is_not_published_by_hand_either(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published.session(R1)
    with monkeypatch.context() as patch:
        change_laps(patch, _overlapping)
        assert not published.materialize(R1, *STEPS[3])
    attempt = published.materialize(R1, "lake/published")
    assert "laps failed laps_do_not_overlap" in attempt.failure
    assert "Materialize tables/laps of the partition spa/R1 again" in attempt.failure
    assert published.session(R1) == before
    # The tables behind it read what passed before, and publication is still refused.
    assert published.materialize(R1, *STEPS[5])
    assert not published.materialize(R1, "lake/published")
    assert published.materialize(R1, *STEPS[3])
    assert published.materialize(R1, "lake/published")
    assert published.session(R1) == before


def test_a_step_whose_check_failed_holds_no_lease(published: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    change_laps(monkeypatch, _overlapping)
    attempt = published.materialize(R1, *STEPS[3])
    assert not attempt
    with held(published.store, R1, "testing", timeout_s=0):
        pass


def test_a_failing_blocking_check_is_not_retried(published: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    change_laps(monkeypatch, _overlapping)
    attempt = published.materialize(R1, *STEPS[3])
    kinds = [event.event_type_value for event in attempt.result.all_events]
    assert "STEP_UP_FOR_RETRY" not in kinds


def test_the_other_tables_of_the_step_are_not_published_without_the_one_that_failed(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.race(R1, laps=6)
    for step in STEPS[:3]:
        assert published.materialize(R1, *step)
    change_laps(monkeypatch, _overlapping)
    assert not published.materialize(R1, *STEPS[3])
    assert "Materialize the asset tables/laps" in published.materialize(R1, "tables/quality").failure
    assert "laps failed" in published.materialize(R1, "lake/published").failure


# -- rows where rows must exist ----------------------------------------------------------------------------------------


def _without_rows(lake: LakeRuns, name: str) -> None:
    """Leave a file of the session with its header only."""
    path = lake.source / "spa" / name
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")


def _attempt_without(lake: LakeRuns, name: str) -> Attempt:
    lake.race(R1)
    _without_rows(lake, name)
    lake.materialize(R1, "lake/files")
    return lake.run_session(R1)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("R1_lap_start.csv", "laps"),
        ("R1_telemetry.csv", "telemetry"),
        ("23_AnalysisEnduranceWithSections_R1.CSV", "official_laps"),
    ],
)
def test_a_table_without_rows_is_red_if_a_file_should_have_given_some(lake: LakeRuns, name: str, table: str) -> None:
    attempt = _attempt_without(lake, name)
    assert attempt, attempt.failures
    assert lake.rows(R1)[table] == 0
    check = attempt.checks[f"{table}.has_rows"]
    assert (check.passed, check.severity, check.blocking) == (False, _ERROR, False)
    assert check.metadata["files"].value == 1


def test_no_check_passes_on_a_table_without_rows_if_a_file_should_have_given_some(lake: LakeRuns) -> None:
    attempt = _attempt_without(lake, "R1_telemetry.csv")
    check = attempt.checks["telemetry.every_reading_accounted_for"]
    assert (check.passed, check.severity) == (False, _WARN)
    assert check.description == "Not checked: telemetry has no rows, although 1 files should have given some."


def test_a_check_without_a_file_to_have_rows_from_passes_and_says_so(lake: LakeRuns) -> None:
    lake.race(R1)
    (lake.source / "spa" / "R1_telemetry.csv").unlink()
    attempt = lake.run_session(R1)
    assert attempt, attempt.failures
    for name in ("has_rows", "every_reading_accounted_for"):
        check = attempt.checks[f"telemetry.{name}"]
        assert check.passed
        assert "no file" in str(check.description).lower()


@pytest.mark.parametrize(
    "check",
    [check for check in GR_CUP_CHECKS if check.table.name != "telemetry"],
    ids=lambda check: f"{check.table.name}.{check.name}",
)
def test_a_check_without_rows_never_passes_silently(check: Any) -> None:
    class Empty:
        """Tables without rows, of a session with one file of each kind."""

        def read(self, table: Any) -> pa.Table:
            return table.empty()

        def without_rows(self, table: Any) -> dg.AssetCheckResult:
            return nothing_to_check(table, 1)

    result = check.evaluate(Empty())
    assert not result.passed
    assert result.description


@pytest.mark.parametrize(("unexplained", "is_passed"), [([0, 0], True), ([0, 7], False), ([7, 7], False)])
def test_rows_whose_time_is_not_explained_fail_a_check(
    unexplained: list[int],
    is_passed: bool,  # noqa: FBT001  -- a test parameter
) -> None:
    class Cars:
        """Two cars, the first with two pieces of its clock."""

        def read(self, table: Any) -> pa.Table:
            columns = {"vehicle_id": ["a", "a", "b"], "clock_piece": [1, 2, 1], "clock_residual_s": [0.0, 0.5, 1.5]}
            return table.from_columns({**columns, "unexplained_rows": [unexplained[0], *unexplained]})

    (check,) = (check for check in GR_CUP_CHECKS if check.name == "sample_times_explained")
    result = check.evaluate(Cars())  # type: ignore[arg-type]  -- all it reads
    assert result.passed == is_passed
    assert result.metadata["unexplained_rows"].value == sum(unexplained)


# -- what is written ---------------------------------------------------------------------------------------------------


def test_checks_look_at_the_file_that_was_written(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checked: list[int] = []
    violations = PIT_STOPS.__class__.violations

    def watch(self: Any, table: pa.Table) -> list[str]:
        if self.name == "laps":
            checked.append(table.num_rows)
        return violations(self, table)

    monkeypatch.setattr(PIT_STOPS.__class__, "violations", watch)
    attempt = published.materialize(R1, *STEPS[3])
    stored = pq.ParquetFile(attempt.made["tables/laps"]["dagster/uri"]).read()
    assert checked == [stored.num_rows]


def test_checks_alone_look_at_the_tables_derived_before(published: LakeRuns) -> None:
    ((name, result),) = _checks_alone(published, "laps_do_not_overlap").items()
    assert name == "laps_do_not_overlap"
    assert result.passed
    assert result.metadata["laps"].value == 8


def test_a_check_that_fails_alone_keeps_its_table_from_being_published(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.assets.gr_cup_checks.count_overlaps", lambda _: 3)
    with pytest.raises(dg.Failure, match=r"laps: laps_do_not_overlap \(laps 8, overlapping_laps 3\)"):
        _checks_alone(published, "laps_do_not_overlap")
    assert "laps failed laps_do_not_overlap" in published.materialize(R1, "lake/published").failure


def _checks_alone(lake: LakeRuns, *names: str) -> dict[str, dg.AssetCheckResult]:
    """Evaluate checks of ``laps`` as a run does in which no asset is selected; Dagster has no such run in process."""
    context: Any = SimpleNamespace(
        run=SimpleNamespace(run_id=""),
        partition_key=R1,
        has_partition_key=True,
        instance=lake.instance,
        log=logging.getLogger(__name__),
        op_execution_context=SimpleNamespace(op_handle=SimpleNamespace(name="laps")),
        selected_asset_keys=set[dg.AssetKey](),
        selected_asset_check_keys={dg.AssetCheckKey(dg.AssetKey(["tables", "laps"]), name) for name in names},
    )
    resource = LakeResource.from_settings(lake.settings)
    results = list(
        derive_tables(context, resource, gr_cup.GrCup(), GR_CUP_CHECKS, lambda _: pytest.fail("nothing is derived"))
    )
    return {str(result.check_name): result for result in results if isinstance(result, dg.AssetCheckResult)}


# -- sources without assets of their own -------------------------------------------------------------------------------


class _WithInputs(PitStops):
    """The toy source, which says from which files its rows come."""

    table_inputs = {PIT_STOPS.name: ("pit_stops",)}  # noqa: RUF012  -- as the protocol declares it


def test_a_source_without_assets_of_its_own_has_the_shared_checks(
    lake: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_registered", [_WithInputs()])
    lake.home()
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\n"})
    attempt = lake.run_session(R1)
    assert attempt, attempt.failures
    assert attempt.checks["pit_stops.matches_schema"].passed
    assert not attempt.checks["pit_stops.has_rows"].passed
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\n7,0,31\n"})
    attempt = lake.run_session(R1)
    assert "pit_stops: matches_schema" in attempt.failures["pit_stops"]["text"]
    assert lake.rows(R1) == {PIT_STOPS.name: 0}


def test_a_required_table_that_a_source_does_not_derive_fails_by_name(
    lake: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    monkeypatch.setattr(PitStops, "derive", lambda *_: iter(()))
    lake.home()
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\n"})
    attempt = lake.run_session(R1)
    assert "The source pit_stops did not derive pit_stops of spa/R1" in attempt.failures["pit_stops"]["text"]
    assert lake.published == []


def test_an_optional_table_may_be_missing(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PitStops, "optional_tables", (replace(PIT_STOPS, name="pit_penalties"),))
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    lake.home()
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\n7,3,31\n"})
    attempt = lake.run_session(R1)
    assert attempt, attempt.failures
    assert attempt.made["tables/pit_penalties"] == {"note": "The source pit_stops derived no such table."}
    assert lake.rows(R1) == {PIT_STOPS.name: 1}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0])
def test_a_step_and_its_checks_read_no_object_twice(
    published: LakeRuns, monkeypatch: pytest.MonkeyPatch, step: tuple[str, ...]
) -> None:
    read: Counter[str] = Counter()
    for name in ("read_bytes", "read_with_tag", "open_stream", "open_as_file"):
        monkeypatch.setattr(LocalStore, name, _counting(getattr(LocalStore, name), read))
    assert published.materialize(R1, *step)
    objects = {key: times for key, times in read.items() if key.startswith("objects/")}
    # Tables without rows are one object.
    tables = Counter(object_key(record.sha256) for record in published.session(R1).tables.values())
    assert all(times <= tables[key] for key, times in objects.items()), objects
    assert bool(objects) is (step[0] in {"tables/laps", "tables/telemetry", "tables/quality"})


def _counting(method: Callable[..., Any], read: Counter[str]) -> Callable[..., Any]:
    def counted(store: LocalStore, key: str, *more: Any, **named: Any) -> Any:
        read[key] += 1
        return method(store, key, *more, **named)

    return counted
