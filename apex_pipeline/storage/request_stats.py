"""Counts the requests a process sends to a bucket, with their errors and latency.

The counts come from botocore's events, so retries and the pages of listings are included.
"""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

_FIRST_ERROR_STATUS = 400


@dataclass(frozen=True)
class RequestStats:
    """Requests sent to a store.

    Attributes:
        requests: Requests sent, including retries.
        errors: Requests without a response or with an error response (including missing objects).
        waited_s: Time from sending a request to the first byte of its response, summed over all threads.
    """

    requests: int = 0
    errors: int = 0
    waited_s: float = 0.0

    def since(self, earlier: "RequestStats") -> "RequestStats":
        """Return the requests that were sent after an earlier count."""
        return RequestStats(
            self.requests - earlier.requests, self.errors - earlier.errors, self.waited_s - earlier.waited_s
        )

    @property
    def error_rate(self) -> float:
        """Fraction of the requests that failed, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def average_ms(self) -> float:
        """Average time to the first byte of a response, in milliseconds."""
        return 1000 * self.waited_s / self.requests if self.requests else 0.0


class Events(Protocol):
    """Subset of botocore's event system used here."""

    def register(self, event_name: str, handler: Any, /) -> None:  # noqa: ANN401  -- botocore's own signature
        """Call ``handler`` on every event of this name."""


class RequestCounter:
    """Counts the requests of the clients it is attached to; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats = RequestStats()
        self._sent = threading.local()

    @property
    def stats(self) -> RequestStats:
        """Counts so far."""
        return self._stats

    def attach(self, events: Events) -> None:
        """Count the requests of the client that emits these events from now on."""
        events.register("before-send.s3", self._on_send)
        events.register("response-received.s3", self._on_response)

    def _on_send(self, **_: object) -> None:
        self._sent.at_s = time.perf_counter()

    def _on_response(self, response_dict: dict[str, Any] | None = None, **_: object) -> None:
        waited_s = time.perf_counter() - getattr(self._sent, "at_s", time.perf_counter())
        failed = response_dict is None or response_dict["status_code"] >= _FIRST_ERROR_STATUS
        with self._lock:
            before = self._stats
            self._stats = replace(
                before,
                requests=before.requests + 1,
                errors=before.errors + failed,
                waited_s=before.waited_s + waited_s,
            )
