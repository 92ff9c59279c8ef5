"""Settings of Dagster's daemon that only environment variables can make; ``dagster.yaml`` has the rest.

Imports nothing, for the command that starts the daemon; see docs/dagster.md for daemons that are started otherwise.
"""

from collections.abc import Mapping
from types import MappingProxyType

DAEMON_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    # Otherwise a backfill fails for good, and its queued runs are canceled, if the daemon looks at it while the code
    # server is being restarted (Dagster 1.13). With it, the backfill goes on once the code server answers.
    {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}
)
