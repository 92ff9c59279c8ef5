"""Contains the job that RQ runs for a race; ``queues.py`` puts it into the queue under this module's name.

RQ runs each job in a process of its own, so it opens its own connections. ``worker.py`` imports this module before it
waits for jobs, and with it everything that a job needs: a job then starts within milliseconds.
"""

from apex_pipeline.races.process import process_race
from apex_pipeline.races.services import opened_services
from apex_pipeline.settings import load_settings


def process(race_id: str) -> str:
    """Process a race, and return what became of it for the dashboard.

    A race that failed is a job that succeeded: the row says why, and RQ has nothing to repeat.
    """
    with opened_services(load_settings()) as services:
        outcome = process_race(services, race_id)
    return f"{outcome.status}, {outcome.laps} laps {outcome.error}".strip()
