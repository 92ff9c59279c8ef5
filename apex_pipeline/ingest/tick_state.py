"""Contains what an automation keeps from one tick to the next, as the text of a sensor's cursor.

Losing it loses nothing: what is due is found by comparison, and the next tick only waits once more for files to settle.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class TickState:
    """What is kept of a tick.

    Attributes:
        resume: The last session asked for; the next tick starts behind it.
        watched: State of the files to be copied, by session; of a bounded number of sessions.
        outdated_since: The first tick that found the tables of all sessions outdated, if they still were.
        reported: State of the sessions that was last reported.
    """

    resume: str = ""
    watched: Mapping[str, str] = field(default_factory=dict[str, str])
    outdated_since: datetime | None = None
    reported: str = ""

    def to_text(self) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "resume": self.resume,
                "watched": dict(self.watched),
                "outdated_since_s": self.outdated_since.timestamp() if self.outdated_since else None,
                "reported": self.reported,
            }
        )


def parse_tick_state(text: str | None) -> TickState:
    """Parse the text of a tick; another version's or somebody's own text counts as none."""
    try:
        found = json.loads(text or "{}")
        since = found.get("outdated_since_s")
        return TickState(
            str(found.get("resume", "")),
            {str(name): str(state) for name, state in found.get("watched", {}).items()},
            None if since is None else datetime.fromtimestamp(float(since), UTC),
            str(found.get("reported", "")),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, OSError):
        return TickState()
