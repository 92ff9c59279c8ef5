"""Whatever order the steps of three sessions run in, and whenever their files change, nothing wrong is published.

No table is published with other rows than a sync of the same files gives, and none is materialized without the rows
that its files have. A step that cannot do its work fails by name.
"""

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_pipeline import sources
from apex_pipeline.lake.records import read_record
from apex_pipeline.tables.session_key import parse_session_key
from apex_pipeline_tests.orchestration.lake_runs import STEPS, LakeRuns
from apex_pipeline_tests.sources.toy import PIT_STOPS, PitStops

pytestmark = pytest.mark.soak

_SESSIONS = ("spa/R1", "spa/R2", "monza/R1")
_TYPED = {"ConfigurationError", "FileChangedError", "ObjectMissingError", "SourceError"}

# The steps of a source with one table.
_TOY_STEPS = (("lake/files",), ("lake/session",), (f"tables/{PIT_STOPS.name}",), ("lake/published",))

# A change of a session's files (its new state), or a step that is materialized.
_Events = list[tuple[str, tuple[str, ...] | int]]


class _Pits(PitStops):
    """The toy source, which says from which files its rows come."""

    table_inputs = {PIT_STOPS.name: ("pit_stops",)}  # noqa: RUF012  -- as the protocol declares it


class _Model:
    """A lake, the rows that each state of a session's files gives, and what the steps have made so far.

    Args:
        lake: The lake.
        write: Writes the files of a session in one of its states.
        rows: Rows of each table by state.
    """

    def __init__(
        self, lake: LakeRuns, write: Callable[[str, int], None], rows: dict[tuple[str, int], dict[str, int]]
    ) -> None:
        self._lake = lake
        self._write = write
        self._rows = rows
        # The state of the files by the version of the inputs that the record names.
        self._state_of: dict[tuple[str, str], int] = {}
        self._present: dict[str, int] = {}

    def change(self, key: str, state: int) -> None:
        self._write(key, state)
        self._present[key] = state

    def materialize(self, key: str, step: tuple[str, ...]) -> bool:
        """Materialize a step and compare what it made; return whether it succeeded."""
        attempt = self._lake.materialize(key, *step)
        if attempt:
            assert set(attempt.made) == set(step)
        else:
            assert {facts["error"] for facts in attempt.failures.values()} <= _TYPED, attempt.failures
        if attempt and step == ("lake/session",):
            record = read_record(self._lake.store, parse_session_key(key))
            assert record is not None
            self._state_of[key, record.inputs_version] = self._present[key]
        for asset, facts in attempt.made.items():
            if asset.startswith("tables/"):
                record = read_record(self._lake.store, parse_session_key(key))
                assert record is not None
                state = self._state_of[key, record.inputs_version]
                assert facts["dagster/partition_row_count"] == self._rows[key, state][asset.removeprefix("tables/")]
        self.require_right()
        return bool(attempt)

    def run(self, events: _Events, steps: tuple[tuple[str, ...], ...]) -> None:
        """Apply the events to the three sessions, then materialize the steps in order, none of which may fail.

        Whatever happened before, the steps in order bring every session up to date.
        """
        for key in _SESSIONS:
            self.change(key, 0)
        for key, event in events:
            if isinstance(event, int):
                self.change(key, event)
            else:
                self.materialize(key, event)
        for key in _SESSIONS:
            for step in steps:
                assert self.materialize(key, step), (key, step)

    def require_right(self) -> None:
        """Every published session has exactly the tables that a sync of one state of its files gives."""
        for key in self._lake.published:
            session = self._lake.session(key)
            state = self._state_of[key, session.inputs_version]
            assert self._lake.rows(key) == self._rows[key, state]


def _pit_file(key: str, state: int) -> str:
    stops = [f"{car},{lap},{30 + _SESSIONS.index(key)}.5" for car in (7, 8) for lap in range(1, state + 2)]
    return "\n".join(["car,lap,stop_s", *stops]) + "\n"


def _toy_model(lake: LakeRuns) -> _Model:
    rows = {(key, state): {PIT_STOPS.name: 2 * (state + 1)} for key in _SESSIONS for state in range(3)}
    return _Model(lake, lambda key, state: lake.write(key, {"pit_stops.csv": _pit_file(key, state)}), rows)


@pytest.fixture
def only_pits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_registered", [_Pits()])


@pytest.fixture
def toy_lake(tmp_path: Path, only_pits: None) -> Iterator[LakeRuns]:
    lake = LakeRuns(tmp_path)
    yield lake
    lake.close()


def test_no_permutation_of_a_sessions_steps_publishes_anything_wrong(toy_lake: LakeRuns) -> None:
    """All 24 orders one after the other, each after a change of the session's file."""
    model, key = _toy_model(toy_lake), _SESSIONS[0]
    in_order = 0
    for number, order in enumerate(permutations(_TOY_STEPS)):
        model.change(key, number % 3)
        made = [model.materialize(key, step) for step in order]
        in_order += all(made) and order == _TOY_STEPS
    assert in_order == 1


_EVENTS = st.lists(
    st.tuples(st.sampled_from(_SESSIONS), st.one_of(st.sampled_from(_TOY_STEPS), st.integers(0, 2))),
    min_size=4,
    max_size=10,
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=_EVENTS)
def test_no_order_of_steps_over_three_sessions_publishes_anything_wrong(
    events: _Events, tmp_path_factory: pytest.TempPathFactory, only_pits: None
) -> None:
    lake = LakeRuns(tmp_path_factory.mktemp("order"))
    try:
        _toy_model(lake).run(events, _TOY_STEPS)
        assert lake.published == sorted(_SESSIONS)
    finally:
        lake.close()


@pytest.mark.soak
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    events=st.lists(
        st.tuples(st.sampled_from(_SESSIONS), st.one_of(st.sampled_from(STEPS), st.integers(0, 1))),
        min_size=6,
        max_size=20,
    )
)
def test_no_order_of_steps_of_car_data_publishes_anything_wrong(
    events: _Events, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = _synced_rows(tmp_path_factory.mktemp("synced"))
    lake = LakeRuns(tmp_path_factory.mktemp("order"))
    try:
        _Model(lake, lambda key, state: lake.race(key, laps=3 + state), rows).run(events, STEPS)
        assert lake.published == sorted(_SESSIONS)
    finally:
        lake.close()


_rows_of_a_sync: dict[tuple[str, int], dict[str, int]] = {}


def _synced_rows(folder: Path) -> dict[tuple[str, int], dict[str, int]]:
    """Return the rows that a sync publishes for both states of each session."""
    for state in range(2):
        if (_SESSIONS[0], state) not in _rows_of_a_sync:
            lake = LakeRuns(folder / str(state))
            for key in _SESSIONS:
                lake.race(key, laps=3 + state)
            lake.sync()
            _rows_of_a_sync.update({(key, state): lake.rows(key) for key in _SESSIONS})
            lake.close()
    return _rows_of_a_sync
