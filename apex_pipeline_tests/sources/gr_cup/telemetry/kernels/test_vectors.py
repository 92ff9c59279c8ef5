"""The compiled form of each instruction returns what its Python code says, for every block and number."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.kernels import intrinsics, vectors
from apex_pipeline_tests.examples import at_least

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
NUMBERS = st.integers(0, 2**64 - 1).map(np.uint64)


def in_python(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the Python code of an instruction."""
    return cast("Any", function).py_func


@numba.njit
def masks_of(text: Bytes, one: int, other: int, byte: int) -> tuple[int, int, int]:
    elements = intrinsics.pointer(text)
    return (
        vectors.differences(elements, one, other),
        vectors.equal(elements, one, byte),
        vectors.outside_ascii_from(elements, one, byte),
    )


@numba.njit
def counts_of(mask: int) -> tuple[int, int]:
    return vectors.trailing_zeros(mask), vectors.bit_count(mask)


@numba.njit
def numbers_of(one: np.uint64, other: np.uint64) -> tuple[np.uint64, np.uint64, int]:
    high, low = vectors.product(one, other)
    return high, low, vectors.leading_zeros(one)


@numba.njit
def double_of(bits: np.uint64) -> float:
    return vectors.float_of_bits(bits)


@at_least(300)
@given(st.data())
def test_masks_of_a_block_are_those_of_its_python_code(data: st.DataObject) -> None:
    alphabet = st.sampled_from([0, 10, 13, 31, 32, 44, 48, 57, 127, 128, 255])
    text = np.array(data.draw(st.lists(alphabet, min_size=vectors.BLOCK, max_size=100)), np.uint8)
    places = st.integers(0, len(text) - vectors.BLOCK)
    one, other, byte = data.draw(places), data.draw(places), data.draw(st.integers(0, 127))

    assert masks_of(text, one, other, byte) == (
        in_python(vectors.differences)(text, one, other),
        in_python(vectors.equal)(text, one, byte),
        in_python(vectors.outside_ascii_from)(text, one, byte),
    )


@pytest.mark.parametrize("place", range(vectors.BLOCK))
def test_bit_i_of_a_mask_stands_for_byte_i(place: int) -> None:
    text = np.full(2 * vectors.BLOCK, ord("a"), np.uint8)
    text[place] = 200

    assert masks_of(text, 0, vectors.BLOCK, 97) == (1 << place, 2**32 - 1 - (1 << place), 1 << place)


def test_control_characters_and_bytes_outside_ascii_are_found_with_one_comparison() -> None:
    every_byte = np.arange(256, dtype=np.uint8)
    found = [
        at + bit
        for at in range(0, 256, vectors.BLOCK)
        for bit in range(vectors.BLOCK)
        if masks_of(every_byte, at, 0, 32)[2] >> bit & 1
    ]
    assert found == [*range(32), *range(128, 256)]


@given(st.integers(0, 2**32 - 1))
def test_bits_of_a_mask_are_counted(mask: int) -> None:
    expected = (in_python(vectors.trailing_zeros)(mask), in_python(vectors.bit_count)(mask))
    assert counts_of(mask) == expected == ((mask & -mask).bit_length() - 1 if mask else 64, mask.bit_count())


@given(NUMBERS, NUMBERS)
def test_products_have_128_bits(one: np.uint64, other: np.uint64) -> None:
    high, low, zeros = numbers_of(one, other)

    assert (high, low) == in_python(vectors.product)(one, other)
    assert int(high) << 64 | int(low) == int(one) * int(other)
    assert zeros == in_python(vectors.leading_zeros)(one) == 64 - int(one).bit_length()


@given(st.floats(allow_nan=False))
def test_the_bits_of_a_double_become_the_double(number: float) -> None:
    bits = np.float64(number).view(np.uint64)
    assert double_of(bits) == in_python(vectors.float_of_bits)(bits) == number


def test_a_block_that_is_not_within_the_text_is_refused_where_nothing_is_compiled() -> None:
    text = np.zeros(vectors.BLOCK + 1, np.uint8)
    assert in_python(vectors.equal)(text, 1, 0) == 2**32 - 1
    for outside in (2, -1):
        with pytest.raises(IndexError, match="not within a text of 33 bytes"):
            in_python(vectors.equal)(text, outside, 0)
