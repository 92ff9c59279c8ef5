"""``apex cost``: what a month of the lake costs in S3, as it is or as one imagines it.

Here belongs the printing; prices and arithmetic are ``lake/cost.py``.
"""

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.cli.console import console
from apex_pipeline.cli.figures import count, dollars, size
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.ops.cost import (
    BYTES_PER_GB,
    FREE_TIER,
    PRICE_DATE,
    PRICE_SOURCE,
    CostLine,
    Usage,
    after_free_usd,
    monthly_cost,
    total_usd,
)

# Objects that one LIST tells.
_LISTED = 1000


def cost_command(
    storage_gb: Annotated[float | None, typer.Option(help="GB stored.", min=0)] = None,
    gets: Annotated[int | None, typer.Option(help="GET and HEAD requests a month.", min=0)] = None,
    puts: Annotated[int | None, typer.Option(help="PUT, COPY, POST and LIST requests a month.", min=0)] = None,
    egress_gb: Annotated[float | None, typer.Option(help="GB read over the internet a month.", min=0)] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Show the cost of a month in S3: of the lake as it is, or of the amounts given."""
    if all(amount is None for amount in (storage_gb, gets, puts, egress_gb)):
        facts, usage = _lake_as_it_is(lake)
    else:
        facts, usage = {}, Usage(storage_gb or 0, puts or 0, gets or 0, egress_gb or 0)
    lines = monthly_cost(usage)
    if as_json:
        sys.stdout.write(json.dumps(facts | _as_dict(lines)) + "\n")
        return
    if facts:
        _say(f"Lake      {facts['lake']}: {count(facts['objects'], 'object')}, {size(facts['bytes'])}")
        _say("          " + ", ".join(f"{area} {size(number)}" for area, number in facts["bytes_by_area"].items()))
        _say("          in S3, and with everything read once a month over the internet:")
    console().print(_table(lines))
    _say(f"Prices of {PRICE_DATE}: {PRICE_SOURCE}.")
    _say(f"Free tier: {FREE_TIER}.")


def _lake_as_it_is(lake: str | None) -> tuple[dict[str, Any], Usage]:
    """Return what the lake holds, and a month in which all of it is stored, listed once and read once from outside."""
    store = store_at(lake)
    areas: Counter[str] = Counter()
    objects = 0
    for item in store.list():
        areas[item.key.partition("/")[0]] += item.size
        objects += 1
    whole = sum(areas.values())
    facts = {"lake": store.uri, "objects": objects, "bytes": whole, "bytes_by_area": dict(sorted(areas.items()))}
    return facts, Usage(whole / BYTES_PER_GB, puts=1 + objects // _LISTED, gets=objects, egress_gb=whole / BYTES_PER_GB)


def _as_dict(lines: tuple[CostLine, ...]) -> dict[str, Any]:
    return {
        "lines": [asdict(line) for line in lines],
        "total_usd": total_usd(lines),
        "after_free_tier_usd": after_free_usd(lines),
        "price_date": PRICE_DATE,
        "price_source": PRICE_SOURCE,
        "free_tier": FREE_TIER,
    }


def _table(lines: tuple[CostLine, ...]) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("a month of", "together")
    table.add_column("amount", justify="right")
    table.add_column("costs", dollars(total_usd(lines)), justify="right")
    table.add_column("of it free", justify="right")
    table.add_column("costs with free tier", dollars(after_free_usd(lines)), justify="right")
    for line in lines:
        free = _amount(line.free, line.unit) if line.free else ""
        table.add_row(line.item, _amount(line.amount, line.unit), dollars(line.usd), free, dollars(line.after_free_usd))
    return table


def _amount(number: float, unit: str) -> str:
    named = "request" if (number, unit) == (1, "requests") else unit
    return f"{number:,.3f}".rstrip("0").rstrip(".") + f" {named}"


def _say(line: str) -> None:
    console().print(line, markup=False, highlight=False, soft_wrap=True)


__all__ = ["cost_command"]
