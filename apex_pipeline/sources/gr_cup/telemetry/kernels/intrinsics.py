"""Defines functions by LLVM code, and passes arrays to compiled functions as pointers.

See ``vectors`` for such functions. The LLVM code is generic: it is compiled for whatever processor the machine has, and
a platform that cannot compile it fails; nothing falls back. Without the compiler (``NUMBA_DISABLE_JIT``) the Python
code of each function runs instead, and checks positions.
"""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from inspect import signature as signature_of
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

# Objects of numba and llvmlite, which have no types.
Context = Builder = Kind = Value = Any
Code = Callable[[Context, Builder, Sequence[Value]], Value]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Function = Callable[_Parameters, _Result]
_Number = TypeVar("_Number", bound=np.generic)
_SETTINGS = vars(numba)["config"]  # documented; missing from the stubs

# A text, as an argument of a function that is defined by LLVM code.
TEXT = types.CPointer(types.uint8)


def compiled_as(
    code: Code, result: Kind, *arguments: Kind
) -> Callable[[_Function[_Parameters, _Result]], _Function[_Parameters, _Result]]:
    """Return a decorator that gives a Python function a compiled form; ``.py_func`` is the original function.

    Args:
        code: Adds the LLVM code to a builder, and returns the result.
        result: Numba type of the result.
        arguments: Numba type of each argument.
    """

    def decorate(function: _Function[_Parameters, _Result]) -> _Function[_Parameters, _Result]:
        def define(_: Context, *given: Kind) -> tuple[Kind, Callable[..., Value]]:
            # With ``NUMBA_BOUNDSCHECK`` a text is an array.
            expected = [one if other is TEXT else other for one, other in zip(given, arguments, strict=True)]

            def generate(context: Context, builder: Builder, signature: Kind, values: Sequence[Value]) -> Value:
                kinds = zip(signature.args, values, strict=True)
                return code(context, builder, [_data(context, builder, kind, value) for kind, value in kinds])

            return result(*expected), generate

        return _intrinsic(function, define)

    return decorate


def _intrinsic(
    function: _Function[_Parameters, _Result], define: Callable[..., Any]
) -> _Function[_Parameters, _Result]:
    """Return what numba compiles as ``define`` says; the function itself where nothing is compiled."""
    if _SETTINGS.DISABLE_JIT:
        return function
    define.__name__, define.__module__ = function.__name__, function.__module__
    # Numba asks for the arguments by name, those of the function after its own.
    parameters = [Parameter("context", Parameter.POSITIONAL_ONLY), *signature_of(function).parameters.values()]
    cast("Any", define).__signature__ = Signature(parameters)
    compiled = cast("Any", intrinsic(define))
    compiled.py_func = function
    return cast("_Function[_Parameters, _Result]", compiled)


def _data(context: Context, builder: Builder, kind: Kind, value: Value) -> Value:
    """Return the pointer to the elements of an array, or any other value as it is."""
    return context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value


def _elements(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    return array.reshape(-1)


def _define_pointer(_: Context, array: Kind) -> tuple[Kind, Callable[..., Value]]:
    def generate(context: Context, builder: Builder, signature: Kind, values: Sequence[Value]) -> Value:
        return _data(context, builder, signature.args[0], values[0])

    return types.CPointer(array.dtype)(array), generate


def _pointer() -> Callable[[npt.NDArray[_Number]], npt.NDArray[_Number]]:
    return numba.njit(forceinline=True)(_elements) if _SETTINGS.BOUNDSCHECK else _intrinsic(_elements, _define_pointer)


pointer = _pointer()
"""Return the elements of an array in one dimension: when compiled, the pointer to them.

An array counts its references whenever it is passed to a function, even to an inlined one, and checks the sign of each
position; without both, a line takes half the time. The array must be an argument of the function that Python calls,
which keeps it in memory; one made by compiled code is freed after its last use. With ``NUMBA_BOUNDSCHECK`` it stays an
array, and each position is checked.
"""
