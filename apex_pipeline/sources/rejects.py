"""Converts rejects to a table; the reasons come from the readers that reject the rows."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from apex_pipeline.sources.base import Reject
from apex_pipeline.tables import REJECTS


def rejects_table(track: str, session: str, rejects: Iterable[Reject]) -> pa.Table:
    """Return the rejects as a table with schema ``REJECTS``, sorted by file and line."""
    seen: Counter[tuple[str, int | None]] = Counter()
    rows: list[dict[str, object]] = []
    for reject in sorted(rejects, key=lambda item: (item.file, item.line or 0, item.reason, item.detail)):
        location = (reject.file, reject.line)
        rows.append(
            {
                "track": track,
                "session": session,
                "source_file": reject.file,
                "source_row": reject.line,
                "occurrence": seen[location],
                "kind": str(reject.kind),
                "reason": reject.reason,
                "detail": reject.detail,
            }
        )
        seen[location] += 1
    return REJECTS.from_rows(rows)
