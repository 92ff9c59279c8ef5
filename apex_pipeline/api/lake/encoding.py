"""Writes rows as JSON, CSV or Arrow. JSON has null for what is not a number, and times in ISO 8601 with ``Z``."""

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from apex_pipeline.api.lake.limits import JSON_ROWS, MAX_JSON_BYTES

# Between the entries of a list in a cell of CSV: labels do not contain it.
_LIST_SEPARATOR: Final = ";"


def json_rows(rows: pa.Table) -> tuple[bytes, int]:
    """Return the first rows as a JSON array, and how many they are: fewer than all if the text gets too long."""
    pieces: list[bytes] = []
    size = count = 0
    for start in range(0, rows.num_rows, JSON_ROWS):
        part = rows.slice(start, JSON_ROWS)
        # Without its brackets, so that the pieces make one array.
        piece = orjson.dumps(list(row_objects(part)))[1:-1]
        if pieces and size + len(piece) > MAX_JSON_BYTES:
            break
        pieces.append(piece)
        size, count = size + len(piece), count + part.num_rows
    return b"[" + b",".join(pieces) + b"]", count


def row_objects(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each row by column name, with values that JSON has; orjson writes null for NaN and infinity."""
    names = rows.schema.names
    columns = [plain_column(column).to_pylist() for column in rows.columns]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with times as text, and labels as their text; any other column unchanged."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("ms", "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_time(kind):
        return column.cast(pa.string())
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def csv_bytes(rows: pa.Table) -> bytes:
    """Return rows as CSV: header, comma, LF, RFC 4180 quotes; empty for null, lists joined by semicolons."""
    columns = [_csv_column(column) for column in rows.columns]
    names = io.StringIO()
    csv.writer(names, lineterminator="\n").writerow(rows.schema.names)
    out = io.BytesIO()
    out.write(names.getvalue().encode())
    # Its own header would have quotes around each name.
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    pa_csv.write_csv(pa.table(columns, names=rows.schema.names), out, options)
    return out.getvalue()


def _csv_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type):
        return pc.binary_join(column, _LIST_SEPARATOR)
    plain = plain_column(column)
    # As in JSON, what is not a number is not there.
    return pc.if_else(pc.is_finite(plain), plain, None) if pa.types.is_floating(plain.type) else plain


def arrow_bytes(rows: pa.Table) -> bytes:
    """Return rows as an Arrow IPC stream, with the units and descriptions of the columns as metadata."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows.unify_dictionaries().combine_chunks())
    return out.getvalue()


def json_document(document: object) -> bytes:
    """Return a document of plain Python values as JSON."""
    return orjson.dumps(document)
