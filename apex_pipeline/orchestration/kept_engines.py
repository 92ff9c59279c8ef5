"""Keeps SQLAlchemy's engines of SQLite databases, and with them the open files and the compiled statements.

See ``kept_databases.py`` for Dagster's storage, which uses them.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool

# Dagster's own limit for the event log; its other two databases have SQLite's 5 s, too little for a busy disk.
_BUSY_S = 30


@dataclass
class _Kept:
    """An engine, and the file that it has open: another one may be at its path later."""

    engine: Engine
    file: tuple[int, int] | None


class KeptEngines:
    """One engine per database, the most recently used ones; safe to share between threads.

    Args:
        most: Number of databases that stay open.
        new_page_bytes: Size of the pages of databases that are created; SQLite's default otherwise.
    """

    def __init__(self, most: int = 1, new_page_bytes: int | None = None) -> None:
        self._most = most
        self._new_page_bytes = new_page_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._inherited: list[_Kept] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def engine(self, path: str) -> tuple[Engine, bool]:
        """Return the engine of a database, and whether it was opened for this call.

        It is opened again if the file was replaced or removed since: what is written to a removed file is lost.
        """
        with self._lock:
            self._leave_to_parent()
            kept = self._still_valid(path)
            is_new = kept is None
            if kept is None:
                kept = self._kept[path] = _Kept(self._open(path), file_at(path))
            self._kept.move_to_end(path)
            while len(self._kept) > self._most:
                _, oldest = self._kept.popitem(last=False)
                oldest.engine.dispose()
            return kept.engine, is_new

    def close(self, path: str | None = None) -> None:
        """Close one database, or all."""
        with self._lock:
            self._leave_to_parent()
            for each in [path] if path else list(self._kept):
                kept = self._kept.pop(each, None)
                if kept is not None:
                    kept.engine.dispose()

    def _leave_to_parent(self) -> None:
        """Put everything aside that was inherited from a process that forked this one, and never touch it.

        SQLite forbids that a process uses, or even closes, what it has inherited.
        """
        if self._pid != os.getpid():
            self._inherited += self._kept.values()
            self._kept.clear()
            self._pid = os.getpid()

    def _still_valid(self, path: str) -> _Kept | None:
        kept = self._kept.get(path)
        if kept is None:
            return None
        now = file_at(path)
        if kept.file is None:  # created by the engine's first statement
            kept.file = now
        if now is not None and kept.file == now:
            return kept
        self._kept.pop(path).engine.dispose()
        return None

    def _open(self, path: str) -> Engine:
        # Dagster asks for a second connection within a transaction: threads that had all the others would wait for
        # each other. So there is no limit, and those beyond the usual five are closed after use.
        engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": _BUSY_S, "check_same_thread": False},
            poolclass=QueuePool,
            max_overflow=-1,
        )

        @event.listens_for(engine, "connect")
        def _prepare(connection: sqlite3.Connection, _: object) -> None:
            if self._new_page_bytes and not Path(path).stat().st_size:  # SQLite creates the file when it opens it
                connection.execute(f"PRAGMA page_size = {self._new_page_bytes}")
            # Survives every death of a process. A power cut may take the last second of the history, which is not the
            # lake's: a run whose end is missing is closed like that of a dead process.
            connection.execute("PRAGMA synchronous = NORMAL")

        return engine


def file_at(path: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from a later one there; ``None`` if there is none."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
