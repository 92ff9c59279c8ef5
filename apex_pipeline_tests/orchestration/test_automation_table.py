"""Which automation exists where: one closed table, which the definitions and the documentation follow."""

import re
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from apex_pipeline.orchestration.automation_table import ALERT_SENSOR, AUTOMATIONS, RACE_SENSOR, Presence
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.settings import Environment, load_settings

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "automation.md"
_ENVIRONMENTS = get_args(Environment)


def _found(environment: Environment) -> dict[str, Presence]:
    settings = load_settings(
        environment=environment, alert_webhook_url="http://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/ams2"
    )
    repository = build_definitions(settings).get_repository_def()
    found = {
        sensor.name: sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs
    } | {
        schedule.name: schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        for schedule in repository.schedule_defs
    }
    return {name: Presence.ON if is_on else Presence.OFF for name, is_on in found.items()}


@pytest.mark.parametrize("environment", _ENVIRONMENTS)
def test_the_definitions_of_each_environment_have_what_the_table_says(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.find_spec", lambda _: object())
    wanted = {name: row[environment] for name, row in AUTOMATIONS.items()}
    assert _found(environment) == {name: state for name, state in wanted.items() if state is not Presence.ABSENT}


def test_every_row_covers_every_environment() -> None:
    assert {frozenset(row) for row in AUTOMATIONS.values()} == {frozenset(_ENVIRONMENTS)}


def test_without_any_setting_nothing_runs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.find_spec", lambda _: object())
    repository = build_definitions(load_settings()).get_repository_def()
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}
    assert {schedule.default_status for schedule in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}
    assert not {ALERT_SENSOR, RACE_SENSOR} & {sensor.name for sensor in repository.sensor_defs}


def test_the_documentation_has_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: [cell.strip() for cell in cells.split("|")[-len(_ENVIRONMENTS) :]] for name, cells in rows}
    wanted = {name: [str(row[environment]) for environment in _ENVIRONMENTS] for name, row in AUTOMATIONS.items()}
    assert {name: documented.get(name) for name in wanted} == wanted
