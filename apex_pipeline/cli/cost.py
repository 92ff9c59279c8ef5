"""Implements ``apex cost``; see ops/cost.py for the prices and the arithmetic."""

from collections import Counter
from typing import Annotated, Any

import pyarrow as pa
import typer

from apex_pipeline.cli.emit import TextTable, print_line
from apex_pipeline.cli.format import count, dollars, size
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import Lake, store_at
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

# Keys per reply to a LIST request.
_KEYS_PER_LIST = 1000
_SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("amount", pa.float64()),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("usd", "free", "after_free_usd")),
    ]
)


@lists
def cost_command(
    storage_gb: Annotated[float | None, typer.Option(help="GB stored.", min=0)] = None,
    gets: Annotated[int | None, typer.Option(help="GET and HEAD requests a month.", min=0)] = None,
    puts: Annotated[int | None, typer.Option(help="PUT, COPY, POST and LIST requests a month.", min=0)] = None,
    egress_gb: Annotated[float | None, typer.Option(help="GB read over the internet a month.", min=0)] = None,
    lake: Lake = None,
) -> Listing:
    """Estimate the monthly S3 cost of the lake, or of the amounts given."""
    if all(amount is None for amount in (storage_gb, gets, puts, egress_gb)):
        measured, usage = _measure(lake)
    else:
        measured, usage = {}, Usage(storage_gb or 0, puts or 0, gets or 0, egress_gb or 0)
    lines = monthly_cost(usage)
    facts = measured | {
        "lines": lines,
        "total_usd": total_usd(lines),
        "after_free_tier_usd": after_free_usd(lines),
        "price_date": PRICE_DATE,
        "price_source": PRICE_SOURCE,
        "free_tier": FREE_TIER,
    }
    rows = [{name: getattr(line, name) for name in _SCHEMA.names} for line in lines]
    return Listing(
        pa.Table.from_pylist(rows, _SCHEMA),
        "Cost per month in S3",
        document=facts,
        render=lambda: _print_cost(measured, lines),
    )


def _measure(lake: str | None) -> tuple[dict[str, Any], Usage]:
    """Return the size of the lake, and the monthly usage if it is stored, listed once and downloaded once."""
    store = store_at(lake)
    areas: Counter[str] = Counter()
    objects = 0
    for item in store.list():
        areas[item.key.partition("/")[0]] += item.size
        objects += 1
    total = sum(areas.values())
    facts = {"lake": store.uri, "objects": objects, "bytes": total, "bytes_by_area": dict(sorted(areas.items()))}
    return facts, Usage(
        total / BYTES_PER_GB, puts=1 + objects // _KEYS_PER_LIST, gets=objects, egress_gb=total / BYTES_PER_GB
    )


def _print_cost(measured: dict[str, Any], lines: tuple[CostLine, ...]) -> None:
    if measured:
        print_line(f"Lake      {measured['lake']}: {count(measured['objects'], 'object')}, {size(measured['bytes'])}")
        areas = measured["bytes_by_area"].items()
        print_line("          " + ", ".join(f"{area} {size(number)}" for area, number in areas))
        print_line("          if stored in S3 and read once a month over the internet:")
    table = TextTable(["per month"], ["amount", "cost", "free", "with free tier"])
    for line in lines:
        free = _amount(line.free, line.unit) if line.free else ""
        table.add(line.item, _amount(line.amount, line.unit), dollars(line.usd), free, dollars(line.after_free_usd))
    table.add(*_totals(lines))
    table.show()
    print_line(f"Prices of {PRICE_DATE}: {PRICE_SOURCE}.")
    print_line(f"Free tier: {FREE_TIER}.")


def _totals(lines: tuple[CostLine, ...]) -> tuple[str, ...]:
    return "total", "", dollars(total_usd(lines)), "", dollars(after_free_usd(lines))


def _amount(number: float, unit: str) -> str:
    noun = "request" if (number, unit) == (1, "requests") else unit
    return f"{number:,.3f}".rstrip("0").rstrip(".") + f" {noun}"
