"""Opens what a command of ``apex`` executes its runs with: the user's Dagster home and all of the pipeline's jobs.

Commands import this module only when there is work to do, because importing Dagster takes 2 s, longer than finding
that nothing has changed.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.history import prune_if_due
from apex_pipeline.orchestration.instance import open_instance
from apex_pipeline.orchestration.runner import Runner
from apex_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)


@contextmanager
def open_runner(settings: Settings) -> Generator[Runner]:
    """Open a runner on the instance in ``DAGSTER_HOME``, which is created on first use."""
    with open_instance(settings.dagster_home, settings.memory_limit) as instance:
        yield Runner(build_definitions(settings), instance)
        pruned = prune_if_due(instance, timedelta(days=settings.history_days))
        if pruned is not None and pruned.runs:
            _LOG.info("Removed %d Dagster runs whose results were replaced since.", pruned.runs)
