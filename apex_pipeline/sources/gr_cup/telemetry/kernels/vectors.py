"""Looks at 32 bytes of text at once, counts bits, and multiplies to 128 bits: instructions that numba lacks.

Each function is defined twice: by its Python code, which says what it returns, and by LLVM code, which gives the same
result on every processor (AVX2, SSE2, NEON); numba supports none with another byte order.

A block is 32 bytes from any position. Masks are integers whose bit ``i`` stands for byte ``i`` of the block. The
compiled functions do not check positions, and ``NUMBA_BOUNDSCHECK`` does not see them: a text is followed by
:data:`PADDING` bytes of any content, so that a block may start at its last byte.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import TEXT, Builder, Context, Value, compiled_as

BLOCK = 32
# Twice a block: a position may also be past the last byte, as that of a cell after the end of a line.
PADDING = 64

_Bytes = npt.NDArray[np.uint8]
_BYTE, _WORD, _LONG_WORD = ir.IntType(8), ir.IntType(64), ir.IntType(128)
_VECTOR = ir.VectorType(_BYTE, BLOCK)
_INDICES = ir.VectorType(ir.IntType(32), BLOCK)
_IS_ZERO_UNDEFINED = ir.Constant(ir.IntType(1), 0)


def _load(builder: Builder, text: Value, at: Value) -> Value:
    """Load the block at a position, which need not be aligned."""
    block = builder.load(builder.bitcast(builder.gep(text, [at]), _VECTOR.as_pointer()))
    block.align = 1
    return block


def _repeat(builder: Builder, byte: Value) -> Value:
    """Return a vector with the low byte of a number in all places."""
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, builder.trunc(byte, _BYTE), ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_INDICES, [0] * BLOCK))


def _as_mask(builder: Builder, is_set: Value) -> Value:
    return builder.zext(builder.bitcast(is_set, ir.IntType(BLOCK)), _WORD)


def _differences(_: Context, builder: Builder, values: Sequence[Value]) -> Value:
    text, one, other = values
    return _as_mask(builder, builder.icmp_unsigned("!=", _load(builder, text, one), _load(builder, text, other)))


def _compared(operator: str, _: Context, builder: Builder, values: Sequence[Value]) -> Value:
    text, at, byte = values
    return _as_mask(builder, builder.icmp_signed(operator, _load(builder, text, at), _repeat(builder, byte)))


def _trailing_zeros(_: Context, builder: Builder, values: Sequence[Value]) -> Value:
    return builder.cttz(values[0], _IS_ZERO_UNDEFINED)


def _leading_zeros(_: Context, builder: Builder, values: Sequence[Value]) -> Value:
    return builder.ctlz(values[0], _IS_ZERO_UNDEFINED)


def _bit_count(_: Context, builder: Builder, values: Sequence[Value]) -> Value:
    return builder.ctpop(values[0])


def _product(context: Context, builder: Builder, values: Sequence[Value]) -> Value:
    product = builder.mul(*(builder.zext(value, _LONG_WORD) for value in values))
    high = builder.lshr(product, ir.Constant(_LONG_WORD, 64))
    halves = [builder.trunc(half, _WORD) for half in (high, product)]
    return context.make_tuple(builder, types.UniTuple(types.uint64, 2), halves)


def _float_of_bits(_: Context, builder: Builder, values: Sequence[Value]) -> Value:
    return builder.bitcast(values[0], ir.DoubleType())


@compiled_as(_differences, types.int64, TEXT, types.int64, types.int64)
def differences(text: _Bytes, one: int, other: int) -> int:
    """Return the mask of the bytes in which two blocks differ."""
    return _mask_of(_block(text, one) != _block(text, other))


@compiled_as(partial(_compared, "=="), types.int64, TEXT, types.int64, types.int64)
def equal(text: _Bytes, at: int, byte: int) -> int:
    """Return the mask of the bytes of a block that equal ``byte``."""
    return _mask_of(_block(text, at) == byte)


@compiled_as(partial(_compared, "<"), types.int64, TEXT, types.int64, types.int64)
def outside_ascii_from(text: _Bytes, at: int, byte: int) -> int:
    """Return the mask of the bytes of a block that are less than ``byte`` (at most 127) or not ASCII.

    One comparison of signed bytes: 0 finds what is not ASCII, 32 also finds line feeds and other control characters.
    """
    return _mask_of(_block(text, at).view(np.int8) < byte)


@compiled_as(_trailing_zeros, types.int64, types.int64)
def trailing_zeros(mask: int) -> int:
    """Return the position of the lowest bit that is set, 64 if none is."""
    return int(mask & -mask).bit_length() - 1 if mask else 64


@compiled_as(_bit_count, types.int64, types.int64)
def bit_count(mask: int) -> int:
    """Return the number of bits that are set."""
    return int(mask).bit_count()


@compiled_as(_leading_zeros, types.int64, types.uint64)
def leading_zeros(number: np.uint64) -> int:
    """Return the number of zeros above the highest bit that is set, 64 if none is."""
    return 64 - int(number).bit_length()


@compiled_as(_product, types.UniTuple(types.uint64, 2), types.uint64, types.uint64)
def product(one: np.uint64, other: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the high and the low 64 bits of a product."""
    high, low = divmod(int(one) * int(other), 2**64)
    return np.uint64(high), np.uint64(low)


@compiled_as(_float_of_bits, types.float64, types.uint64)
def float_of_bits(bits: np.uint64) -> float:
    """Return the double that is stored as these bits."""
    return float(np.uint64(bits).view(np.float64))


def _block(text: _Bytes, at: int) -> _Bytes:
    block = text[at : at + BLOCK]
    if at < 0 or len(block) < BLOCK:
        raise IndexError(f"A block at {at} is not within a text of {len(text)} bytes.")
    return block


def _mask_of(is_set: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(is_set, bitorder="little").tobytes(), "little")
