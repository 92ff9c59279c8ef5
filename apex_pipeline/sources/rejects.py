"""Converts rejects to a table; the reasons come from the readers that reject the rows."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.unreadable import UnreadableFile
from apex_pipeline.tables import REJECTS
from apex_pipeline.tables.model import Row

# Reason of the row that stands for all rows of a file.
UNREADABLE_FILE = "unreadable_file"

# Reasons of rejects without a line: they stand for a whole file or for a column of it.
REMARKS = frozenset({"unreadable_cells", "out_of_range", "ends_at_row_limit"})
_CONFLICT = "conflicting_duplicate"

# A problem with its next step is longer than the value of a cell.
_SHOWN_CHARACTERS = 400


def file_rejects(files: Iterable[UnreadableFile]) -> list[Reject]:
    """Return one reject per file that was left out, which stands for all its rows."""
    return [
        Reject(file.path, None, file.kind, UNREADABLE_FILE, file.public_reason[:_SHOWN_CHARACTERS]) for file in files
    ]


def unreadable_files(rejects: Iterable[pa.Table]) -> list[tuple[str, str]]:
    """Return path and reason of each file that was left out, sorted by path.

    Args:
        rejects: Rejects tables of a session.
    """
    rows: list[Row] = [row for table in rejects for row in table.to_pylist()]
    return sorted((row["source_file"], row["detail"]) for row in rows if row["reason"] == UNREADABLE_FILE)


def file_remarks(rejects: Iterable[pa.Table]) -> list[str]:
    """Return what the rejects tables of a session say about whole files and columns, one sentence each."""
    rows: list[Row] = [row for table in rejects for row in table.to_pylist()]
    remarks = [
        f"{row['source_file']}: {row['detail']}." for row in rows if row["reason"] in REMARKS and not row["source_row"]
    ]
    cells = Counter((row["source_file"], row["detail"].split("=")[0]) for row in rows if _is_out_of_range(row))
    remarks += [
        f"{file}: {column}: {count:,} out of bounds, published as null." for (file, column), count in cells.items()
    ]
    conflicts = Counter(row["source_file"] for row in rows if row["reason"] == _CONFLICT)
    remarks += [
        f"{file} contradicts another file of the session in {count:,} rows, which are left out."
        for file, count in conflicts.items()
    ]
    return sorted(remarks)


def _is_out_of_range(row: Row) -> bool:
    return row["reason"] == "out_of_range" and row["source_row"] is not None


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
