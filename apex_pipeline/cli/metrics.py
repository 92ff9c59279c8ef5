"""Implements ``apex metrics``; see ops/metrics.py for how they are computed, ops/prometheus.py for the format."""

import sys
from dataclasses import asdict
from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline.cli.emit import TextTable, print_line
from apex_pipeline.cli.format import count, size
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import Lake, store_at
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.ops.metrics import LakeMetrics, SessionMetrics, measure_lake

_COUNTS = ("laps", "readings in", "= cells out", "+ exact duplicates", "+ rejected", "rejected rows", "quality")
_READINGS = ("readings_in", "cells_out", "exact_duplicates", "rejected")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("track", "session")),
        *((name, pa.int64()) for name in ("laps", "telemetry_rows", *_READINGS, "rejected_rows", "table_bytes")),
        ("quality", pa.float64()),
    ]
)


@lists
def metrics_command(
    context: typer.Context,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print them in the text format of Prometheus.")
    ] = False,
    lake: Lake = None,
) -> Listing:
    """Show metrics of the published lake: sessions, files, bytes, laps, readings, quality."""
    if prometheus and any(context.params.get(name) for name in ("as_json", "as_csv", "parquet")):
        raise ConfigurationError(
            "--prometheus and --json, --csv or --parquet cannot be combined.", "Choose one of them."
        )
    store = store_at(lake)
    metrics = measure_lake(store, require_snapshot(store))
    traffic = asdict(metrics.traffic) | {"average_ms": metrics.traffic.average_ms}
    return Listing(
        pa.Table.from_pylist([_row(one) for one in metrics.sessions], _SCHEMA),
        "Metrics of the published sessions",
        keys=2,
        document=asdict(metrics) | {"traffic": traffic},
        render=lambda: _print_prometheus(metrics) if prometheus else _print_metrics(metrics),
    )


def _row(one: SessionMetrics) -> dict[str, object]:
    facts = asdict(one)
    return {**facts, **(facts["readings"] or {})}


def _print_prometheus(metrics: LakeMetrics) -> None:
    # Imported here: prometheus_client imports an HTTP server, which would cost every command 0.1 s.
    from apex_pipeline.ops.prometheus import prometheus_text  # noqa: PLC0415

    sys.stdout.write(prometheus_text(metrics))


def _print_metrics(metrics: LakeMetrics) -> None:
    by_status = ", ".join(f"{number:,} {status}" for status, number in metrics.files.items())
    print_line(f"Lake       {metrics.lake}, snapshot {metrics.snapshot}")
    print_line(f"Published  {metrics.published_utc:%Y-%m-%d %H:%M:%SZ}, {count(len(metrics.sessions), 'session')}")
    print_line(f"Raw files  {size(metrics.raw_bytes)}: {by_status}")
    print_line(f"Tables     {size(sum(one.table_bytes for one in metrics.sessions))}")
    table = TextTable(["session"], _COUNTS)
    for one in metrics.sessions:
        table.add(f"{one.track}/{one.session}", *_cells(one))
    table.show()
    traffic = metrics.traffic
    if traffic.requests:
        requests, errors = count(traffic.requests, "request"), count(traffic.errors, "error")
        print_line(f"This run   {requests}, {errors}, {traffic.average_ms:.0f} ms on average")


def _cells(one: SessionMetrics) -> list[str]:
    readings = [""] * 4 if one.readings is None else [f"{number:,}" for number in asdict(one.readings).values()]
    quality = "" if one.quality is None else f"{one.quality:.0f}"
    return [f"{one.laps:,}", *readings, f"{one.rejected_rows:,}", quality]
