"""Runs the command ``apex`` and holds it at chosen functions: a slow machine, a paused container or a stalled disk.

    python -m apex_pipeline_tests.e2e.barrier MODULE:FUNCTION[~TEXT] GATE [MODULE:NAME=SECONDS …] -- sync FOLDER

At the first call of the function (with ``TEXT`` among its arguments, as text) the process makes the file
``GATE.reached`` and waits for ``GATE.go``. ``MODULE:NAME=SECONDS`` sets a constant, for example the lifetime of a
lease, which is 60 s otherwise. Nothing else is changed. See machine.py for the side of the tests.
"""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from typing import Any

from apex_pipeline.__main__ import main
from apex_pipeline.process.exit import end_process
from apex_pipeline.process.interrupts import report_interruption, watch_signals

watch_signals()  # as `apex` does before it imports anything else

_POLL_S = 0.02
# A test that failed leaves its processes behind.
_LONGEST_S = 300.0


def hold(where: str, gate: Path) -> None:
    """Replace a function, so that its first call waits until the gate is opened.

    Args:
        where: ``module:function`` or ``module:Class.function``, with ``~text`` for calls with this text only.
        gate: Path of the gate, without its suffixes.
    """
    place, _, text = where.partition("~")
    owner, name = _place(place)
    real: Callable[..., Any] = getattr(owner, name)
    held: list[bool] = []

    def wait_and_call(*arguments: object, **named: object) -> object:
        if not held and any(text in str(value) for value in (*arguments, *named.values(), "")):
            held.append(True)
            gate.with_suffix(".reached").touch()
            deadline_s = time.monotonic() + _LONGEST_S
            while not gate.with_suffix(".go").exists() and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
        return real(*arguments, **named)

    setattr(owner, name, wait_and_call)


def set_seconds(place: str, seconds: float) -> None:
    """Set a constant, as a number or as a time span, whichever it is, also where it is a default of its module."""
    owner, name = _place(place)
    before = getattr(owner, name)
    after = timedelta(seconds=seconds) if isinstance(before, timedelta) else seconds
    setattr(owner, name, after)
    for function in map(unwrap, filter(callable, vars(owner).values())):
        defaults: dict[str, object] = getattr(function, "__kwdefaults__", None) or {}
        defaults.update({parameter: after for parameter, value in defaults.items() if value is before})


def _place(place: str) -> tuple[Any, str]:
    module, _, name = place.partition(":")
    owner: Any = import_module(module)
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, last


def _prepare(arguments: Sequence[str]) -> None:
    rest = list(arguments)
    while rest:
        place, is_constant, value = rest.pop(0).partition("=")
        if is_constant:
            set_seconds(place, float(value))
        else:
            hold(place, Path(rest.pop(0)))


if __name__ == "__main__":
    _end = sys.argv.index("--")
    try:
        _prepare(sys.argv[1:_end])
    except KeyboardInterrupt as _interrupted:
        end_process(report_interruption(_interrupted))
    sys.argv = ["apex", *sys.argv[_end + 1 :]]
    main()
