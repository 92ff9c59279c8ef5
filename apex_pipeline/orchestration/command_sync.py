"""Syncs as ``apex sync`` does: in this process, on the user's Dagster home.

See ``sync.py`` for what a sync does; Dagster is imported only if there is something to do.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from apex_pipeline.orchestration.sync import SyncListener, SyncOutcome, sync_with
from apex_pipeline.process.absent_modules import absent
from apex_pipeline.settings import Settings

if TYPE_CHECKING:
    from apex_pipeline.orchestration.runner import Runner


# Part of what Dagster's migrations load; it loads the lexers of all languages of the web to colour error pages.
_NOT_NEEDED = "mako.ext.pygmentplugin"


def sync(settings: Settings, listener: SyncListener) -> SyncOutcome:
    """Bring the lake up to date with the source folder; the errors are those of :func:`sync_with`.

    Args:
        settings: The configuration.
        listener: Called with each progress event.
    """
    return sync_with(_open_runner, settings, listener)


def _open_runner(settings: Settings) -> AbstractContextManager["Runner"]:
    with absent(_NOT_NEEDED):
        from apex_pipeline.orchestration.command_runner import open_runner  # noqa: PLC0415  -- takes 2 s: only if needed

    return open_runner(settings)
