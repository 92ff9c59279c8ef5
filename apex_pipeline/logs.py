"""How log lines are written: as text for people, or one JSON object per line for programs.

Here belongs the form only. What is told is said where it happens; a module that has more to say than a sentence passes
the :data:`FIELDS` as ``extra``.

Why not python-json-logger: the fields are a fixed interface, and writing them takes less code than configuring it.
"""

import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

# What a line can carry beside its message.
FIELDS = ("event", "track", "session", "key", "attempt", "outcome", "duration_ms")

_TEXT = "%(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object, with all :data:`FIELDS` (null where a record has none) and the run.

    Args:
        run_id: What all lines of this run carry; by default a new one.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self._run_id = run_id or uuid.uuid4().hex

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON; a traceback is in ``error``."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name, None) for name in FIELDS},
            "run_id": self._run_id,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(
    log_format: Literal["text", "json"], level: int = logging.WARNING, run_id: str | None = None
) -> None:
    """Write the log of this process to standard error.

    Args:
        log_format: ``text`` or ``json``, as ``APEX_LOG_FORMAT`` says.
        level: Least level that is written.
        run_id: As for :class:`JsonLines`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(run_id) if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
