"""Computes the monthly cost of S3 from a price table; see estimate.py for the requests of a sync.

It does not use the AWS price API: `apex plan` and `apex cost` must work without a network, and a lake needs only a
few prices. The table is maintained by hand and dated: ``PRICE_DATE`` is part of every output of prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Update the date together with the prices. They are list prices without tax; other regions cost up to twice as much.
PRICE_DATE = "2026-06"
PRICE_SOURCE = "aws.amazon.com/s3/pricing, S3 Standard, US East (N. Virginia)"
FREE_TIER = "first 12 months of AWS accounts opened before 2025-07-15; later ones have credits instead"

# AWS sells storage and transfer in units of 2**30 bytes and calls them GB.
BYTES_PER_GB = 1024**3

_TB = 1024.0  # GB
_REST = float("inf")
# Width of each step in GB per month, and dollars per GB.
_STORAGE_USD = ((50 * _TB, 0.023), (450 * _TB, 0.022), (_REST, 0.021))
_EGRESS_USD = ((100.0, 0.0), (10 * _TB, 0.09), (40 * _TB, 0.085), (100 * _TB, 0.07), (_REST, 0.05))
# PUT, COPY, POST and LIST are one class of requests, GET, HEAD and all others the second; DELETE is free.
_PUT_USD = ((_REST, 0.005 / 1000),)
_GET_USD = ((_REST, 0.0004 / 1000),)


@dataclass(frozen=True)
class Usage:
    """Use of S3 in a month.

    Attributes:
        storage_gb: Average amount stored, in GB of 2**30 bytes.
        puts: Requests PUT, COPY, POST and LIST.
        gets: Requests GET and HEAD.
        egress_gb: Transfer to the internet, in GB; into AWS and within a region it is free.
    """

    storage_gb: float = 0.0
    puts: int = 0
    gets: int = 0
    egress_gb: float = 0.0


@dataclass(frozen=True)
class CostLine:
    """One line of the bill.

    Attributes:
        item: Item of the bill.
        amount: Amount used in the month.
        unit: Unit of ``amount``.
        usd: Cost in dollars.
        free: Amount that the free tier covers.
        after_free_usd: Cost in dollars beyond the free tier.
    """

    item: str
    amount: float
    unit: str
    usd: float
    free: float
    after_free_usd: float


def monthly_cost(usage: Usage) -> tuple[CostLine, ...]:
    """Return the bill of a month, line by line."""
    # The first 100 GB of transfer per month are permanently free for every account, so they are in the price table.
    return (
        _line("storage", usage.storage_gb, "GB", _STORAGE_USD, free=5),
        _line("PUT, COPY, POST, LIST", usage.puts, "requests", _PUT_USD, free=2_000),
        _line("GET, HEAD", usage.gets, "requests", _GET_USD, free=20_000),
        _line("out to the internet", usage.egress_gb, "GB", _EGRESS_USD, free=0),
    )


def total_usd(lines: Sequence[CostLine]) -> float:
    """Return the total of a bill without the free tier."""
    return sum(line.usd for line in lines)


def after_free_usd(lines: Sequence[CostLine]) -> float:
    """Return the total of a bill if nothing else uses the free tier of the account."""
    return sum(line.after_free_usd for line in lines)


def _line(item: str, amount: float, unit: str, steps: tuple[tuple[float, float], ...], free: float) -> CostLine:
    return CostLine(item, amount, unit, _price(amount, steps), free, _price(max(amount - free, 0), steps))


def _price(amount: float, steps: tuple[tuple[float, float], ...]) -> float:
    """Add up the steps: each price applies to its share of the amount only."""
    usd, left = 0.0, amount
    for width, price in steps:
        usd += min(left, width) * price
        left -= min(left, width)
    return usd
