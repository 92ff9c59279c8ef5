"""Formats sizes, dollars and counts for people; ``--json`` prints plain numbers."""

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000
_CENT = 0.01


def size(number: int) -> str:
    """Return a number of bytes in a suitable unit, such as ``5.0 MB``."""
    amount, unit = float(number), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{number} B" if unit == 0 else f"{amount:,.1f} {_UNITS[unit]}"


def dollars(usd: float) -> str:
    """Return an amount of money. Fractions of a cent are shown, because many requests cost less than one cent."""
    if usd == 0 or usd >= _CENT:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if usd >= _CENT / 100 else "under $0.0001"


def count(number: int, noun: str) -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
