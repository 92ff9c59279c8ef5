"""Contains the one single flight of the project: threads that ask for the same work share one run of it.

Nothing is kept once the work is done; see caching.py for what is.

Why not a library: a dictionary of futures and a lock, 50 lines, are all it takes.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class SingleFlight:
    """Runs work once for all threads that ask for it at the same time: the first does it, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Any]] = {}

    def do(self, name: Hashable, work: Callable[[], _Result]) -> _Result:
        """Return what ``work`` returns, or what the thread that is already running it gets.

        An error is raised in every waiting thread, and the next one to ask tries again.

        Args:
            name: What is asked for; work of different names runs in parallel.
            work: The work.
        """
        with self._lock:
            other = self._under_way.get(name)
            mine: Future[_Result] = Future()
            if other is None:
                self._under_way[name] = mine
        return other.result() if other is not None else self._lead(name, mine, work)

    def _lead(self, name: Hashable, mine: Future[_Result], work: Callable[[], _Result]) -> _Result:
        try:
            result = work()
        except BaseException as error:
            self._forget(name)
            mine.set_exception(error)
            raise
        self._forget(name)
        mine.set_result(result)
        return result

    def _forget(self, name: Hashable) -> None:
        with self._lock:
            del self._under_way[name]
