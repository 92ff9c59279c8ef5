"""How much a process asks of a bucket: requests, errors, waiting time.

Here belongs the counting, from botocore's own events, so that repeated requests and listings are counted too. Not here:
what the numbers are used for.
"""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

_SERVER_REFUSED = 400  # statuses from here on are errors


@dataclass(frozen=True)
class RequestStats:
    """What was asked of a store.

    Attributes:
        requests: Requests sent, each repetition counted.
        errors: Those that got no answer, or one that is an error (a missing object among them).
        waited_s: Time between sending requests and the beginning of their answers, summed over all threads.
    """

    requests: int = 0
    errors: int = 0
    waited_s: float = 0.0

    @property
    def error_rate(self) -> float:
        """Part of the requests that failed, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def average_ms(self) -> float:
        """Average time to the beginning of an answer, in milliseconds."""
        return 1000 * self.waited_s / self.requests if self.requests else 0.0


class Events(Protocol):
    """The part of botocore's event system that is used here."""

    def register(self, event_name: str, handler: Any, /) -> None:  # noqa: ANN401  -- botocore's own signature
        """Have ``handler`` called at every event of this name."""


class RequestCounter:
    """Counts what the clients it is attached to send; may be shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traffic = RequestStats()
        self._sent = threading.local()

    @property
    def traffic(self) -> RequestStats:
        """The count so far."""
        return self._traffic

    def attach(self, events: Events) -> None:
        """Count what the client with these events sends from now on."""
        events.register("before-send.s3", self._on_send)
        events.register("response-received.s3", self._on_answer)

    def _on_send(self, **_: object) -> None:
        self._sent.at_s = time.perf_counter()

    def _on_answer(self, response_dict: dict[str, Any] | None = None, **_: object) -> None:
        waited_s = time.perf_counter() - getattr(self._sent, "at_s", time.perf_counter())
        failed = response_dict is None or response_dict["status_code"] >= _SERVER_REFUSED
        with self._lock:
            before = self._traffic
            self._traffic = replace(
                before,
                requests=before.requests + 1,
                errors=before.errors + failed,
                waited_s=before.waited_s + waited_s,
            )
