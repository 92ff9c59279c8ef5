"""Ends connections over which no request arrives: uvicorn waits for the end of a head as long as the client likes.

Between two requests it is uvicorn's keep-alive timeout that ends a silent connection. A request that has arrived is
not limited here, however long its answer takes.
"""

import asyncio
from typing import Any, Final

# A head has some hundred bytes; a phone in a tunnel sends it again after 1, 2, 4 and 8 s.
_HEAD_TIMEOUT_S: Final = 20.0


def with_head_timeout(protocol: Any, timeout_s: float = _HEAD_TIMEOUT_S) -> type[asyncio.Protocol]:  # noqa: ANN401
    """Return a protocol of uvicorn's that also ends connections whose next head is not there in time.

    Args:
        protocol: One of uvicorn's protocols for HTTP; which of them there is depends on what is installed.
        timeout_s: Seconds from the connection, or from the first byte after an answer, to the end of the head.
    """

    class WithHeadTimeout(protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_waiting()
            elif self._deadline is None:
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            self._deadline = self.loop.call_later(timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return WithHeadTimeout
