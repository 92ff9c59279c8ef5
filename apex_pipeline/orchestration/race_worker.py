"""Works on races in runs of Dagster: those of a machine without Redis, and on any machine those that are read again.

The id of a run is that of the race's job. Without Redis,
``races/queues.py`` starts it as a process of its own (``apex race worker --burst``), which loads Dagster once for all
races that wait.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.instance import COMMAND_TAG, open_instance
from apex_pipeline.orchestration.runner import Runner
from apex_pipeline.races.errors import RaceNotFoundError
from apex_pipeline.races.process import process_race
from apex_pipeline.races.reaper import reap
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.views import RaceView, WaitingRace, list_races, view_race, waiting_races

_LOG = logging.getLogger(__name__)

# Dagster shows the second one in the column "Launched by".
_TAGS: Final[Mapping[str, str]] = {COMMAND_TAG: "race", "user": "apex race worker"}
# Races that another attempt holds are looked at again after this time; their worker may have died.
_LOOK_AGAIN_S: Final = 5.0


def work_on_races(services: RaceServices, report: Callable[[RaceView], None], *, burst: bool) -> None:
    """Process the races that wait, and look for more until there are none, or without ``burst`` for ever.

    Args:
        services: Database, store and queue.
        report: Called with each race that has been worked on.
        burst: End when no race is in processing.
    """
    settings = services.settings
    with open_instance(settings.dagster_home, settings.memory_limit) as instance:
        runner = Runner(build_definitions(settings), instance, _TAGS)
        while True:
            for view in _work_once(services, runner, waiting_races(services.database)):
                report(view)
            reap(services)
            if burst and not list_races(services.database, status="Processing", limit=1):
                return
            if not waiting_races(services.database):
                time.sleep(_LOOK_AGAIN_S)


@dataclass(frozen=True)
class Reprocessed:
    """What became of a race that was read again.

    Attributes:
        race_id: The race.
        run_id: The run that did it.
        status: Ready or Failed.
        laps: Its published laps; those from before, if it failed.
        error: Why it failed; empty if it did not.
    """

    race_id: str
    run_id: str
    status: str
    laps: int
    error: str


def reprocess_races(services: RaceServices, race_ids: Iterable[str]) -> list[Reprocessed]:
    """Read races again from their uploaded bytes, each in a run of its own; ids and links of their laps stay.

    Raises:
        RaceNotFoundError: There is no race with one of these ids; those before it were read.
    """
    settings = services.settings
    done: list[Reprocessed] = []
    with open_instance(settings.dagster_home, settings.memory_limit) as instance:
        runner = Runner(build_definitions(settings), instance, _TAGS)
        for race_id in race_ids:
            view_race(services.database, race_id)  # an unknown id is an error, not a run that fails
            failure = runner.run_race(race_id, str(uuid4()))
            view = view_race(services.database, race_id)
            status, error = ("Failed", failure.problem) if failure else (view.status, "")
            done.append(Reprocessed(race_id, view.job_id, status, view.laps_count, error))
    return done


def _work_once(services: RaceServices, runner: Runner, races: Iterable[WaitingRace]) -> Iterable[RaceView]:
    for race in races:
        failure = runner.run_race(race.race_id, race.job_id)
        if failure and race in waiting_races(services.database):
            # The run ended before it reached the race: Dagster's home is what is damaged, and laps need none of it.
            _LOG.warning("The race %s is processed without Dagster: %s", race.race_id, failure.problem)
            process_race(services, race.race_id)
        with suppress(RaceNotFoundError):  # deleted meanwhile
            yield view_race(services.database, race.race_id)
