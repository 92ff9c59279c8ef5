"""Formats sizes, dollars and counts for people; ``--json`` prints plain numbers."""

from apex_pipeline.amounts import size

__all__ = ["count", "dollars", "size"]

_CENT = 0.01


def dollars(usd: float) -> str:
    """Return an amount of money. Fractions of a cent are shown, because many requests cost less than one cent."""
    if usd == 0 or usd >= _CENT:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if usd >= _CENT / 100 else "under $0.0001"


def count(number: int, noun: str) -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
