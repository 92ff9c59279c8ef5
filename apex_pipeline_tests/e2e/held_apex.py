"""Runs ``apex`` and holds it before the first write of an object with a given prefix: ``PREFIX GATE MODE ARGUMENTS …``.

It creates the file GATE when it gets there. MODE ``asleep`` waits in Python, ``busy`` in native code that returns to
Python after minutes, with a grace period of one second.
"""

import hashlib
import sys
import threading
import time
from pathlib import Path
from typing import Any

from apex_pipeline.cli import main
from apex_pipeline.process import interrupts
from apex_pipeline.storage.local import LocalStore

# Native code has been entered after this time.
_ENTERED_S = 0.3


def _hold(gate: Path, mode: str) -> None:
    if mode == "asleep":
        gate.touch()
        time.sleep(600)
        return
    interrupts.GRACE_S = 1.0
    threading.Timer(_ENTERED_S, gate.touch).start()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000_000)


def _hold_before(method: str, prefix: str, gate: Path, mode: str) -> None:
    write = getattr(LocalStore, method)

    def held(self: LocalStore, key: str, *arguments: Any, **options: Any) -> Any:
        if key.startswith(prefix) and not gate.exists():
            _hold(gate, mode)
        return write(self, key, *arguments, **options)

    setattr(LocalStore, method, held)


if __name__ == "__main__":
    prefix, gate, mode, *arguments = sys.argv[1:]
    for method in ("write_bytes", "write_file", "write_if"):
        _hold_before(method, prefix, Path(gate), mode)
    sys.argv = ["apex", *arguments]
    main()
