"""Tells whether runs of an instance may be executed on another machine, where folders of this one do not exist.

Dagster's own launcher starts a run as a process of the code location's machine; those for Celery, Kubernetes, Docker
and the like send it elsewhere, whatever machine that is today.
"""

import dagster as dg

from apex_pipeline.errors import ConfigurationError

_BUILT_IN = "dagster."


def runs_elsewhere(instance: dg.DagsterInstance | None) -> bool:
    """Return whether runs of this instance may be executed on another machine; not without an instance."""
    return instance is not None and not type(instance.run_launcher).__module__.startswith(_BUILT_IN)


def refuse_folder(what: str, folder: str, remedy: str) -> ConfigurationError:
    """Return the error about a folder of one machine in a deployment with several."""
    return ConfigurationError(
        f"The {what} {folder} is a folder, and the runs of this Dagster instance may be executed on any machine: each "
        "would have a folder of its own.",
        remedy,
    )
