"""Parses one JSON event and says what is odd about it; what is not exactly JSON is rejected by name.

orjson decides what is valid, because Python's own parser accepts NaN, Infinity and lone surrogates. Python's parser
then gives what orjson hides: repeated keys, and numbers beyond 64 bits.
"""

import json
import math
from typing import Any, NoReturn

import orjson

from apex_pipeline.sources.events.model import BIG_NUMBER, DUPLICATE_KEYS, Node, Reason, UnusableEventError

_LARGEST = 2**64 - 1
_SMALLEST = -(2**63)
# A number of at most 18 digits always fits into 64 bits.
_SAFE_DIGITS = 18


def parse_object(content: bytes) -> tuple[Node, tuple[str, ...]]:
    """Return an object and its flags; of repeated keys the last counts, and big numbers are text.

    Args:
        content: The object in UTF-8.

    Raises:
        UnusableEventError: It is not valid JSON, or not an object.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UnusableEventError(Reason.UNDECODABLE, f"not UTF-8 at byte {error.start} of the event") from None
    flags: set[str] = set()
    found = _parsed(text, flags)
    if not isinstance(found, dict):
        raise UnusableEventError(Reason.NOT_AN_OBJECT)
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # Of repeated keys, the last one hides what the others have.
        if _has_lone_surrogate(found) or (DUPLICATE_KEYS in flags and _has_lone_surrogate(_all_of(text))):
            raise UnusableEventError(Reason.LONE_SURROGATE) from None
        if BIG_NUMBER not in flags:
            raise UnusableEventError(Reason.MALFORMED_JSON, f"line {error.lineno} of the event") from None
    return found, tuple(sorted(flags))


def _parsed(text: str, flags: set[str]) -> Node:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            flags.add(DUPLICATE_KEYS)
        return found

    def integer(digits: str) -> int | str:
        if len(digits) <= _SAFE_DIGITS or (len(digits) <= _SAFE_DIGITS + 2 and _SMALLEST <= int(digits) <= _LARGEST):
            return int(digits)
        flags.add(BIG_NUMBER)
        return digits

    def real(digits: str) -> float | str:
        number = float(digits)
        if math.isfinite(number):
            return number
        flags.add(BIG_NUMBER)
        return digits

    def constant(_: str) -> NoReturn:
        raise UnusableEventError(Reason.NOT_A_NUMBER)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise UnusableEventError(Reason.MALFORMED_JSON, f"{error.msg}, line {error.lineno} of the event") from None
    except RecursionError:
        raise UnusableEventError(Reason.TOO_DEEP) from None


def _all_of(text: str) -> Node:
    """Return what a text holds, with every value of repeated keys."""
    return json.loads(text, object_pairs_hook=list)


def _has_lone_surrogate(node: Node) -> bool:
    try:
        json.dumps(node, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
