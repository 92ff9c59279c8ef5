"""Contains ``SingleFlight``: threads that request the same work at the same time share one execution of it.

Results are not kept once the work is done; see caching.py for a cache.

Why not a library: a dictionary of futures and a lock, 50 lines, are enough.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class SingleFlight:
    """Runs work once for all threads that request it at the same time: the first runs it, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}

    def do(self, name: Hashable, work: Callable[[], _Result]) -> _Result:
        """Return the result of ``work``, or that of the thread already running it.

        An error is raised in every waiting thread; the next call runs the work again.

        Args:
            name: Identifies the work; work with different names runs in parallel.
            work: Called without arguments.
        """
        with self._lock:
            running = self._running.get(name)
            future: Future[_Result] = Future()
            if running is None:
                self._running[name] = future
        return running.result() if running is not None else self._run(name, future, work)

    def _run(self, name: Hashable, future: Future[_Result], work: Callable[[], _Result]) -> _Result:
        try:
            result = work()
        except BaseException as error:
            self._remove(name)
            future.set_exception(error)
            raise
        self._remove(name)
        future.set_result(result)
        return result

    def _remove(self, name: Hashable) -> None:
        with self._lock:
            del self._running[name]
