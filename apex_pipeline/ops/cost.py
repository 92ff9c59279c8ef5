"""What a lake in S3 costs: the price table, and dollars for a month of use.

Here belong prices, with the day they were looked up, and the multiplication. Not here: how many requests a sync sends
(``forecast.py``) and how the sum is shown (``cli/cost.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Change the date with the prices. They are list prices without tax; other regions cost up to twice as much.
PRICE_DATE = "2026-06"
PRICE_SOURCE = "aws.amazon.com/s3/pricing, S3 Standard, US East (N. Virginia)"
FREE_TIER = "first 12 months of AWS accounts opened before 2025-07-15; later ones have credits instead"

# AWS sells storage and transfer in units of 2**30 bytes and calls them GB.
BYTES_PER_GB = 1024**3

_TB = 1024.0  # GB
_REST = float("inf")
# How many GB (per month) each price holds for, and dollars per GB.
_STORAGE_USD = ((50 * _TB, 0.023), (450 * _TB, 0.022), (_REST, 0.021))
_EGRESS_USD = ((100.0, 0.0), (10 * _TB, 0.09), (40 * _TB, 0.085), (100 * _TB, 0.07), (_REST, 0.05))
# PUT, COPY, POST and LIST are one class of requests, GET, HEAD and all others the second; DELETE is free.
_PUT_USD = ((_REST, 0.005 / 1000),)
_GET_USD = ((_REST, 0.0004 / 1000),)


@dataclass(frozen=True)
class Usage:
    """What is used in a month.

    Attributes:
        storage_gb: Mean of what is stored, in GB of 2**30 bytes.
        puts: Requests PUT, COPY, POST and LIST.
        gets: Requests GET and HEAD.
        egress_gb: What goes out to the internet, in GB; into AWS, and inside one region, is free.
    """

    storage_gb: float = 0.0
    puts: int = 0
    gets: int = 0
    egress_gb: float = 0.0


@dataclass(frozen=True)
class CostLine:
    """One line of the bill.

    Attributes:
        item: What is paid for.
        amount: How much of it is used in the month.
        unit: What ``amount`` counts.
        usd: Dollars for it.
        free: How much of it the free tier gives.
        after_free_usd: Dollars for what is beyond the free tier.
    """

    item: str
    amount: float
    unit: str
    usd: float
    free: float
    after_free_usd: float


def monthly_cost(usage: Usage) -> tuple[CostLine, ...]:
    """Return the bill of a month, line by line."""
    # The free 100 GB of transfer are every account's, for ever: they are in the price.
    return (
        _line("storage", usage.storage_gb, "GB", _STORAGE_USD, free=5),
        _line("PUT, COPY, POST, LIST", usage.puts, "requests", _PUT_USD, free=2_000),
        _line("GET, HEAD", usage.gets, "requests", _GET_USD, free=20_000),
        _line("out to the internet", usage.egress_gb, "GB", _EGRESS_USD, free=0),
    )


def total_usd(lines: Sequence[CostLine]) -> float:
    """Return the sum of a bill, without any free tier."""
    return sum(line.usd for line in lines)


def after_free_usd(lines: Sequence[CostLine]) -> float:
    """Return the sum of a bill for an account that has the free tier to itself."""
    return sum(line.after_free_usd for line in lines)


def _line(item: str, amount: float, unit: str, steps: tuple[tuple[float, float], ...], free: float) -> CostLine:
    return CostLine(item, amount, unit, _price(amount, steps), free, _price(max(amount - free, 0), steps))


def _price(amount: float, steps: tuple[tuple[float, float], ...]) -> float:
    """Add up the steps: each price is for its own share of the amount, not for all of it."""
    usd, left = 0.0, amount
    for width, price in steps:
        usd += min(left, width) * price
        left -= min(left, width)
    return usd


__all__ = [
    "BYTES_PER_GB",
    "FREE_TIER",
    "PRICE_DATE",
    "PRICE_SOURCE",
    "CostLine",
    "Usage",
    "after_free_usd",
    "monthly_cost",
    "total_usd",
]
