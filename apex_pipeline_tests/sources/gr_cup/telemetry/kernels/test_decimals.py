"""Numbers are read as the nearest double, which is the one that Python reads."""

import random
from collections.abc import Callable, Iterator

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.kernels import decimals, intrinsics
from apex_pipeline_tests.examples import at_least

_PADDING = b"\n" * 64


@numba.njit(nogil=True)
def read_all(text: np.ndarray, values: np.ndarray, kinds: np.ndarray, ends: np.ndarray) -> None:
    elements = intrinsics.pointer(text)
    at = 0
    for line in range(len(values)):
        values[line], kinds[line], ends[line] = decimals.read_decimal(elements, at)
        while elements[at] != 10:
            at += 1
        at += 1


def read(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return value and kind of each text, and how many of its characters were read."""
    text = np.frombuffer("\n".join([*texts, ""]).encode() + _PADDING, np.uint8).copy()
    values, kinds, ends = np.empty(len(texts)), np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
    read_all(text, values, kinds, ends)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
    return values, kinds, ends - starts


def with_point(digits: int, places: int) -> str:
    """Return an integer with a decimal point so many places from the right."""
    text = str(digits).rjust(places + 1, "0")
    return f"{text[:-places]}.{text[-places:]}" if places else text


def halfway(chance: random.Random) -> str:
    """Return a number in the middle of two doubles, or one unit of its last digit next to it."""
    places = chance.randrange(5)
    odd = chance.randrange(2**53, min(2**54, 10**19 // 5**places)) | 1
    return with_point(odd * 5**places + chance.choice([-1, 0, 0, 0, 1]), places)


def near_a_middle(chance: random.Random) -> str:
    """Return the first 19 digits of the middle of two doubles."""
    mantissa, exponent = chance.randrange(2**53, 2**54) | 1, chance.randrange(1, 78)
    places = exponent
    digits = str(mantissa * 5**exponent)
    places -= max(0, len(digits) - 19)
    number = int(digits[:19]) + chance.choice([-1, 0, 1])
    return with_point(number, min(max(places, 0), 27))


def digits_and_places(chance: random.Random) -> str:
    return with_point(chance.randrange(10 ** chance.randrange(1, 20)), chance.randrange(28))


def as_printed(chance: random.Random) -> str:
    """Return a double as a device prints it, such as 0.34600000000000003."""
    return str(
        chance.choice([chance.random(), chance.randrange(20_000) * 0.005, np.float64(np.float32(chance.random()))])
    )


KINDS: tuple[Callable[[random.Random], str], ...] = (halfway, near_a_middle, digits_and_places, as_printed)


def texts_of(chance: random.Random, count: int) -> list[str]:
    texts = (chance.choice(("", "-")) + chance.choice(KINDS)(chance) for _ in range(count))
    return [text if "e" not in text else "0.5" for text in texts]


def differing(texts: list[str]) -> Iterator[str]:
    values, kinds, ends = read(texts)
    expected = np.array([float(text) for text in texts]) + 0.0
    is_wrong = (values.view(np.uint64) != expected.view(np.uint64)) | (kinds != decimals.EXACT)
    is_wrong |= ends != np.array([len(text) for text in texts])
    yield from (texts[index] for index in np.flatnonzero(is_wrong))


@at_least(500)
@given(st.integers(0, 10**19 - 1), st.integers(0, 27), st.sampled_from(["", "-"]))
@example(2**53 + 1, 0, "")
@example(10**19 - 1, 27, "")
@example((2**53 + 1) * 5**4, 4, "-")
@example((2**53 + 3) * 5**4, 4, "")
@example(0, 27, "-")
@example(9007199254740993, 3, "")
def test_up_to_nineteen_digits_are_read_as_the_nearest_double(digits: int, places: int, sign: str) -> None:
    text = sign + with_point(digits, places)
    assert list(differing([text])) == []


def test_numbers_halfway_between_two_doubles_go_to_the_even_one() -> None:
    texts = texts_of(random.Random(3), 20_000)  # noqa: S311  -- a seeded test
    assert sum("." in text for text in texts) > 15_000
    assert list(differing(texts)) == []


@pytest.mark.soak
def test_ten_million_texts_are_read_as_python_reads_them() -> None:
    chance = random.Random(11)  # noqa: S311  -- a seeded test
    for _ in range(100):
        assert list(differing(texts_of(chance, 100_000))) == []


@at_least(300)
@given(st.text(st.sampled_from("0123456789.-+e ,"), max_size=30))
def test_a_number_ends_at_the_first_byte_that_does_not_belong_to_it(text: str) -> None:
    number = decimals_prefix(text)
    (value,), (kind,), (end,) = read([text])

    if number is None:
        assert kind == decimals.NOT_DECIMAL
        return
    assert end == len(number)
    if kind == decimals.EXACT:
        assert value == float(number) + 0.0
    else:
        assert kind == decimals.TOO_LONG
        digits = number.lstrip("-")
        assert len(digits.replace(".", "").lstrip("0")) > 19 or len(digits.partition(".")[2]) > 27


def decimals_prefix(text: str) -> str | None:
    """Return the longest plain decimal number that a text starts with, ``None`` if it has none or ends at its point."""
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    behind = rest[len(whole) :]
    if not whole:
        return None
    if not behind.startswith("."):
        return sign + whole
    fraction = behind[1 : 1 + len(behind[1:]) - len(behind[1:].lstrip("0123456789"))]
    return f"{sign}{whole}.{fraction}" if fraction else None


@pytest.mark.parametrize("text", ["1" * 20, "0." + "0" * 27 + "1", "1" * 10 + "." + "1" * 10])
def test_longer_numbers_are_left_to_be_filled_in(text: str) -> None:
    _, (kind,), (end,) = read([text])
    assert (kind, end) == (decimals.TOO_LONG, len(text))


@pytest.mark.parametrize("text", ["0" * 30 + "5", "0" * 30 + ".5", "-" + "0" * 25 + "." + "0" * 27])
def test_leading_zeros_are_not_counted_as_digits(text: str) -> None:
    assert list(differing([text])) == []


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0." + "0" * 25])
def test_a_negative_zero_loses_its_sign(text: str) -> None:
    (value,), _, _ = read([text])
    assert value == 0
    assert not np.signbit(value)
