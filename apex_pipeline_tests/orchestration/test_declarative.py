"""How Dagster's declarative automation treats assets that are made from our sessions; docs/dagster.md has the rules.

The pipeline itself is automated by a sensor that compares; only its reports have a condition (test_reports.py). These
are the reasons for it, and what somebody can rely on who puts a condition on an asset of their own. Ticks are
simulated; nothing is executed.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from apex_pipeline.orchestration.interface import PUBLISHED, sessions

# The function that Dagster offers for such tests uses a beta parameter of its own.
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

_STINTS, _SEASON = dg.AssetKey(["mine", "stints"]), dg.AssetKey(["mine", "season"])
R1, R2, R3 = "spa/R1", "spa/R2", "spa/R3"


class _Ticks:
    """Ticks over one asset of a session and one of all sessions, both made from ``lake/published``.

    Args:
        instance: The Dagster instance.
        of_session: Condition of the asset of a session.
        of_all: Condition of the asset of all sessions.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        of_session: Any = None,
        of_all: Any = None,
    ) -> None:
        @dg.asset(key=_STINTS, deps=[PUBLISHED], partitions_def=sessions, automation_condition=of_session)
        def stints() -> None:
            """Never executed."""

        @dg.asset(key=_SEASON, deps=[PUBLISHED], automation_condition=of_all)
        def season() -> None:
            """Never executed."""

        self._instance = instance
        self._definitions = dg.Definitions([dg.AssetSpec(PUBLISHED, partitions_def=sessions), stints, season])
        self._cursor: object = None

    def tick(self) -> set[str]:
        """Evaluate the conditions once, and return what they request: sessions, or ``all``."""
        result = dg.evaluate_automation_conditions(self._definitions, self._instance, cursor=self._cursor)  # type: ignore[arg-type]
        self._cursor = result.cursor
        requested = list(result.get_requested_partitions(_STINTS))
        is_all = result.get_num_requested(_SEASON) > 0
        return {key for key in (*requested, "all" if is_all else None) if key}

    def publish(self, *keys: str) -> None:
        """Publish sessions, as runs of the pipeline do."""
        for key in keys:
            self._instance.report_runless_asset_event(dg.AssetMaterialization(PUBLISHED, partition=key))

    def make(self, asset: dg.AssetKey, key: str | None = None) -> None:
        """Materialize an asset."""
        self._instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [R1, R2])
        yield instance


@pytest.mark.parametrize("condition", [dg.AutomationCondition.eager(), dg.AutomationCondition.on_missing()])
def test_a_condition_does_not_fill_in_what_was_published_before_it(
    instance: dg.DagsterInstance, condition: Any
) -> None:
    ticks = _Ticks(instance, condition)
    ticks.publish(R1, R2)
    assert [ticks.tick(), ticks.tick()] == [set(), set()]


@pytest.mark.parametrize("condition", [dg.AutomationCondition.eager(), dg.AutomationCondition.on_missing()])
def test_a_new_session_is_requested_once_it_is_published(instance: dg.DagsterInstance, condition: Any) -> None:
    ticks = _Ticks(instance, condition)
    ticks.tick()
    instance.add_dynamic_partitions("sessions", [R3])
    assert ticks.tick() == set()
    ticks.publish(R3)
    assert [ticks.tick(), ticks.tick()] == [{R3}, set()]


@pytest.mark.parametrize(
    ("condition", "requested"),
    [(dg.AutomationCondition.eager(), {R1}), (dg.AutomationCondition.on_missing(), set[str]())],
)
def test_a_session_that_is_published_again_is_requested_by_eager_only(
    instance: dg.DagsterInstance, condition: Any, requested: set[str]
) -> None:
    ticks = _Ticks(instance, condition)
    ticks.publish(R1, R2)
    for key in (R1, R2):
        ticks.make(_STINTS, key)
    ticks.tick()
    ticks.publish(R1)
    assert ticks.tick() == requested


def test_an_asset_of_all_sessions_waits_until_every_session_is_published(instance: dg.DagsterInstance) -> None:
    ticks = _Ticks(instance, of_all=dg.AutomationCondition.eager())
    ticks.tick()
    ticks.publish(R1)
    assert ticks.tick() == set()
    ticks.publish(R2)
    assert ticks.tick() == {"all"}


def test_without_the_condition_on_missing_inputs_it_is_requested_at_the_first_one(instance: dg.DagsterInstance) -> None:
    condition = dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
    ticks = _Ticks(instance, of_all=condition)
    ticks.tick()
    ticks.publish(R1)
    assert ticks.tick() == {"all"}


def test_eager_loses_a_session_that_is_published_while_the_asset_is_made(instance: dg.DagsterInstance) -> None:
    condition = dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
    ticks = _Ticks(instance, of_all=condition)
    ticks.tick()
    ticks.publish(R1)
    assert ticks.tick() == {"all"}
    ticks.publish(R2)  # too late for the run that was requested
    ticks.make(_SEASON)
    assert [ticks.tick() for _ in range(3)] == [set(), set(), set()]


@pytest.mark.parametrize(
    ("condition", "requests"),
    [
        (dg.AutomationCondition.execution_failed(), [{"all"}, {"all"}, {"all"}]),
        (dg.AutomationCondition.execution_failed().newly_true(), [{"all"}, set[str](), set[str]()]),
    ],
)
def test_a_failed_execution_is_requested_for_ever_unless_only_its_beginning_counts(
    instance: dg.DagsterInstance, condition: Any, requests: list[set[str]]
) -> None:
    ticks = _Ticks(instance, of_all=condition)
    ticks.tick()
    _fail(instance)
    assert [ticks.tick() for _ in range(3)] == requests


def _fail(instance: dg.DagsterInstance) -> None:
    """Let a run of the asset of all sessions fail."""

    @dg.asset(key=_SEASON)
    def season() -> None:
        raise dg.Failure("It cannot be made.")

    dg.materialize([season], instance=instance, raise_on_error=False)
