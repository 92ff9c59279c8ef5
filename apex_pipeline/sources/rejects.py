"""Rejects as a table: what could not be used, where it stands, and why.

Here belongs the shape only; the words for the reasons are given where the rows are read.
"""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from apex_pipeline.sources.base import Reject
from apex_pipeline.tables import REJECTS


def rejects_table(track: str, session: str, rejects: Iterable[Reject]) -> pa.Table:
    """Return the rejects as a table of schema ``REJECTS``, sorted by file and line."""
    seen: Counter[tuple[str, int | None]] = Counter()
    rows: list[dict[str, object]] = []
    for reject in sorted(rejects, key=lambda item: (item.file, item.line or 0, item.reason, item.detail)):
        place = (reject.file, reject.line)
        rows.append(
            {
                "track": track,
                "session": session,
                "source_file": reject.file,
                "source_row": reject.line,
                "occurrence": seen[place],
                "kind": str(reject.kind),
                "reason": reject.reason,
                "detail": reject.detail,
            }
        )
        seen[place] += 1
    return REJECTS.from_rows(rows)
