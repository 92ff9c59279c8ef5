"""Contains what a lease says: who holds it, what for, and for how long; see leases.py for acquiring one.

A record comes from another process, another version or a damaged disk, so every field is checked before it is used.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apex_pipeline.storage.processes import ProcessId

# A record has about 500 bytes. Whatever is larger is not one, and is not read.
MAX_BYTES = 16 * 1024
# A lease that lasts longer could block others for longer than anyone would wait.
MAX_LIFETIME_S = 600.0
_LONGEST_TEXT = 120


@dataclass(frozen=True)
class LeaseRecord:
    """The content of a lease.

    Attributes:
        owner: The process that holds it.
        command: What that process runs, for example ``apex sync``.
        token: Unique per acquisition.
        doing: What the holder does, for messages.
        since_utc: Time of the acquisition, by the holder's clock; for messages only.
        lifetime_s: How long it lasts without renewal, in seconds.
        renewals: Number of renewals so far. Every renewal changes the content, and so the tag.
        is_released: Whether the holder has given it back.
    """

    owner: ProcessId
    command: str
    token: str
    doing: str
    since_utc: datetime
    lifetime_s: float
    renewals: int = 0
    is_released: bool = False

    def to_json(self, now_utc: datetime) -> bytes:
        """Return the record as JSON.

        Args:
            now_utc: The present by this machine's clock, for people who read the file; never compared.
        """
        return json.dumps(
            {
                "owner": self.owner._asdict(),
                "command": self.command,
                "token": self.token,
                "doing": self.doing,
                "since": self.since_utc.isoformat(timespec="seconds"),
                "lifetime_s": self.lifetime_s,
                "renewals": self.renewals,
                "renewed": now_utc.isoformat(timespec="seconds"),
                "expires": (now_utc + timedelta(seconds=self.lifetime_s)).isoformat(timespec="seconds"),
                "released": self.is_released,
            },
            indent=1,
        ).encode()


def parse_record(content: bytes) -> LeaseRecord | None:
    """Parse a record; ``None`` if it is damaged."""
    try:
        document: Any = json.loads(content)
        owner = document["owner"]
        return LeaseRecord(
            owner=ProcessId(
                _text(owner, "host"), _text(owner, "namespace"), _integer(owner, "pid"), _integer(owner, "started")
            ),
            command=_text(document, "command"),
            token=_text(document, "token"),
            doing=_text(document, "doing"),
            since_utc=datetime.fromisoformat(_text(document, "since")).astimezone(UTC),
            lifetime_s=_lifetime(document["lifetime_s"]),
            renewals=_integer(document, "renewals"),
            is_released=document["released"] is True,
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def this_command() -> str:
    """Return the name of the running program and its subcommand, without further arguments."""
    program, *arguments = sys.argv or [""]
    shown = [Path(program).name, *(word for word in arguments[:1] if word.isalpha())]
    return clean(" ".join(shown))


def clean(text: str) -> str:
    """Return a text without control characters and of bounded length, because it is shown on another terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_TEXT])


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return clean(value)


def _integer(document: Mapping[str, Any], name: str) -> int:
    value = document[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(name)
    return value


def _lifetime(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("lifetime_s")
    if not 0 < value <= MAX_LIFETIME_S:
        raise ValueError("lifetime_s")
    return float(value)
