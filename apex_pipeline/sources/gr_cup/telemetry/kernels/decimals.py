"""Reads decimal numbers such as ``-12.5`` in one pass, as the nearest double.

Up to 2**53 and 22 decimals, an integer and a power of ten are exact as doubles, so their quotient is rounded once. Up
to 19 digits and 27 decimals, the method of Eisel and Lemire finds the nearest double from a product of 128 bits (D.
Lemire, "Number Parsing at a Gigabyte per Second", 2021): 4 ns, where Arrow takes 50. What is longer is left to Arrow.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import Bytes, Ints
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import float_of_bits, leading_zeros, product

MINUS, _POINT, ZERO = 45, 46, 48
EXACT, TOO_LONG, NOT_DECIMAL = 0, 1, 2
# Nineteen digits fit an unsigned 64-bit integer.
_LONGEST_MANTISSA = 19
_LARGEST_EXACT = np.uint64(2**53)
_POWERS_OF_TEN = 10.0 ** np.arange(23)
_MOST_EXACT_DECIMALS = 22
# 5**27 is the largest power of five below 2**64, up to which one product of 128 bits always decides how to round.
_MOST_DECIMALS = 27

_EXPLICIT_BITS, _EXPONENT_BIAS = 52, 1023
_ONE, _IMPLICIT_BIT = np.uint64(1), np.uint64(1 << _EXPLICIT_BITS)
# Bits of the product's high half below the 55 that decide: 53 of the mantissa, one to round and one to spare.
_SPARE_BITS = np.uint64(9)
_UNDECIDED = np.uint64(0x1FF)
_TOP_BIT = np.uint64(63)


def _inverse_powers_of_five() -> np.ndarray:
    """Return 5**-n in 128 bits, the highest of them set, rounded up; high and low half of each. Shape (28, 2)."""
    table = np.zeros((_MOST_DECIMALS + 1, 2), np.uint64)
    table[0] = 1 << 63, 0
    for decimals in range(1, _MOST_DECIMALS + 1):
        power = 5**decimals
        inverse = 2 ** ((power - 1).bit_length() + 127) // power + 1
        table[decimals] = divmod(inverse, 2**64)
    return table


_INVERSE_POWERS_OF_FIVE = _inverse_powers_of_five()


@compiled
def read_decimal(text: Bytes, start: int) -> tuple[float, int, int]:
    """Read the number at a position, up to the first byte that does not belong to it.

    Returns:
        The number; :data:`EXACT`, :data:`TOO_LONG` (a number to be filled in later) or :data:`NOT_DECIMAL`; and the
        position after it.
    """
    is_negative = text[start] == MINUS
    first = start + is_negative
    mantissa, at = _digits_at(text, first, np.uint64(0))
    digits, decimals = at - first, 0
    if digits > 0 and text[at] == _POINT:
        point = at
        mantissa, at = _digits_at(text, point + 1, mantissa)
        decimals = at - point - 1
        if decimals == 0:
            return 0.0, NOT_DECIMAL, at
        digits += decimals
    if digits == 0:
        return 0.0, NOT_DECIMAL, at
    if digits > _LONGEST_MANTISSA:
        digits -= _leading_zero_digits(text, first, at)
    if digits > _LONGEST_MANTISSA or decimals > _MOST_DECIMALS:
        return 0.0, TOO_LONG, at
    value = nearest(mantissa, decimals)
    # 0.0 - value instead of -value gives a zero without sign, so that all zeros have equal bits.
    return (0.0 - value if is_negative else value), EXACT, at


@compiled
def _digits_at(text: Bytes, at: int, number: np.uint64) -> tuple[np.uint64, int]:
    """Append the digits at a position to a number; return it and the position after them."""
    digit = text[at] - np.uint8(ZERO)
    while digit <= 9:  # noqa: PLR2004  -- decimal digits; the difference of other bytes is larger, or wraps around
        number = number * np.uint64(10) + np.uint64(digit)
        at += 1
        digit = text[at] - np.uint8(ZERO)
    return number, at


@compiled
def _leading_zero_digits(text: Bytes, at: int, end: int) -> int:
    zeros = 0
    while at < end and (text[at] == ZERO or text[at] == _POINT):
        zeros += text[at] == ZERO
        at += 1
    return zeros


@compiled
def nearest(mantissa: np.uint64, decimals: int) -> float:
    """Return the double nearest to ``mantissa / 10**decimals``, of two equally near ones the even one."""
    if mantissa <= _LARGEST_EXACT and decimals <= _MOST_EXACT_DECIMALS:
        return np.float64(mantissa) / _POWERS_OF_TEN[decimals]
    if mantissa == 0:
        return 0.0
    shift = leading_zeros(mantissa)
    high, low = _product_with_inverse(mantissa << np.uint64(shift), decimals)
    carry = high >> _TOP_BIT
    dropped = carry + _SPARE_BITS
    bits = high >> dropped
    # The binary exponent of 10**-decimals is that of 5**-decimals, log2(10) = 217706 / 2**16 to 16 bits.
    exponent = ((217_706 * -decimals) >> 16) + 63 + np.int64(carry) - shift + _EXPONENT_BIAS
    # A tie to an even number is rounded down; only a power of five up to 5**4 leaves one exactly in the middle.
    if low <= _ONE and decimals <= 4 and (bits & np.uint64(3)) == _ONE and (bits << dropped) == high:  # noqa: PLR2004
        bits &= ~_ONE
    bits = (bits + (bits & _ONE)) >> _ONE
    if bits >= _IMPLICIT_BIT << _ONE:
        bits, exponent = _IMPLICIT_BIT, exponent + 1
    return float_of_bits((bits & ~_IMPLICIT_BIT) | (np.uint64(exponent) << np.uint64(_EXPLICIT_BITS)))


@compiled
def _product_with_inverse(mantissa: np.uint64, decimals: int) -> tuple[np.uint64, np.uint64]:
    """Return the product of a normalized mantissa with 5**-decimals; the low half of the power only where it counts."""
    high, low = product(mantissa, _INVERSE_POWERS_OF_FIVE[decimals, 0])
    if (high & _UNDECIDED) == _UNDECIDED:
        more, _ = product(mantissa, _INVERSE_POWERS_OF_FIVE[decimals, 1])
        low += more
        if low < more:
            high += _ONE
    return high, low


@compiled
def gather_bytes(text: Bytes, slices: Ints, out: Bytes) -> None:
    """Concatenate slices of a text; ``slices`` holds their first bytes and lengths in columns 1 and 2."""
    at = 0
    for row in range(len(slices)):
        start, length = slices[row, 1], slices[row, 2]
        for index in range(length):
            out[np.uint64(at + index)] = text[np.uint64(start + index)]
        at += length
