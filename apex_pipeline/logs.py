"""Contains the log formats: text for people, or one JSON object per line for programs.

A module that logs more than a message passes the :data:`FIELDS` as ``extra``.

python-json-logger is not used: the fields are a fixed interface, and writing them takes less code than configuring it.
"""

import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

# Fields a log line may have in addition to its message.
FIELDS = ("event", "track", "session", "key", "attempt", "outcome", "duration_ms")

_TEXT = "%(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """Formats each record as one JSON object with all :data:`FIELDS` (null if the record lacks one) and the run id.

    Args:
        run_id: Id in every line of this run; by default a new one.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self._run_id = run_id or uuid.uuid4().hex

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON, with any traceback in ``error``."""
        created = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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
    """Send this process's log to standard error.

    Args:
        log_format: ``text`` or ``json``, from ``APEX_LOG_FORMAT``.
        level: Lowest level that is written.
        run_id: As for :class:`JsonLines`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(run_id) if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
