"""``apex metrics``: what is published, in numbers.

Here belongs the printing; the counting is ``lake/metrics.py``, Prometheus' format ``lake/exposition.py``.
"""

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.cli.console import console
from apex_pipeline.cli.figures import count, size
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.published import require_snapshot
from apex_pipeline.ops.metrics import LakeMetrics, SessionMetrics, measure_lake


def metrics_command(
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print them as Prometheus reads them.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Show what is published in numbers: sessions, files, bytes, laps, readings, quality."""
    if prometheus and as_json:
        raise ConfigurationError("--prometheus and --json are two formats.", "Choose one of them.")
    store = store_at(lake)
    metrics = measure_lake(store, require_snapshot(store))
    if prometheus:
        # Here, because prometheus_client brings an HTTP server along: 0.1 s that no other command has to pay.
        from apex_pipeline.ops.prometheus import prometheus_text  # noqa: PLC0415  -- see above

        sys.stdout.write(prometheus_text(metrics))
    elif as_json:
        sys.stdout.write(json.dumps(_as_dict(metrics)) + "\n")
    else:
        _print(metrics)


def _as_dict(metrics: LakeMetrics) -> dict[str, Any]:
    facts = asdict(metrics) | {"published_utc": metrics.published_utc.isoformat()}
    return facts | {"traffic": asdict(metrics.traffic) | {"average_ms": metrics.traffic.average_ms}}


def _print(metrics: LakeMetrics) -> None:
    tables = sum(one.table_bytes for one in metrics.sessions)
    by_status = ", ".join(f"{number:,} {status}" for status, number in metrics.files.items())
    _say(f"Lake       {metrics.lake}, snapshot {metrics.snapshot}")
    _say(f"Published  {metrics.published_utc:%Y-%m-%d %H:%M:%SZ}, {count(len(metrics.sessions), 'session')}")
    _say(f"Raw files  {size(metrics.raw_bytes)}: {by_status}")
    _say(f"Tables     {size(tables)}")
    console().print(_table(metrics))
    traffic = metrics.traffic
    if traffic.requests:
        _say(
            f"This look  {count(traffic.requests, 'request')}, {count(traffic.errors, 'error')}, "
            f"{traffic.average_ms:.0f} ms on average"
        )


def _table(metrics: LakeMetrics) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("session", overflow="fold")
    names = ("laps", "readings in", "= cells out", "+ exact duplicates", "+ rejected", "rejected rows", "quality")
    for name in names:
        table.add_column(name, justify="right")
    for one in metrics.sessions:
        table.add_row(f"{one.track}/{one.session}", *_cells(one))
    return table


def _cells(one: SessionMetrics) -> list[str]:
    readings = [""] * 4 if one.readings is None else [f"{number:,}" for number in asdict(one.readings).values()]
    quality = "" if one.quality is None else f"{one.quality:.0f}"
    return [f"{one.laps:,}", *readings, f"{one.rejected_rows:,}", quality]


def _say(line: str) -> None:
    console().print(line, markup=False, highlight=False, soft_wrap=True)


__all__ = ["metrics_command"]
