"""Migrates a lake in a process of its own that kills itself, as SIGKILL or a power cut would, after some writes.

    python -m apex_pipeline_tests.lake.migrating_process SOURCE TARGET WRITES

The settings come from the environment; ``WRITES`` counts the objects written into the target before the kill.
"""

import os
import signal
import sys
from threading import Lock

from apex_pipeline.lake.migration import migrate
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store_at


def main(source: str, target: str, writes: int) -> None:
    """Migrate, and die after this many writes."""
    settings = load_settings()
    store = open_store_at(target, settings, for_writing=True)
    _die_after(store, writes)
    migrate(open_store_at(source, settings), store)


def _die_after(store: ObjectStore, writes: int) -> None:
    lock, written, write_file = Lock(), [0], store.write_file

    def counted(*arguments: object, **named: object) -> object:
        stored = write_file(*arguments, **named)  # type: ignore[arg-type]  # forwarded unchanged
        with lock:
            written[0] += 1
            if written[0] >= writes:
                os.kill(os.getpid(), signal.SIGKILL)
        return stored

    store.write_file = counted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
