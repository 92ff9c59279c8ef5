"""A large S3 object read once, front to back, without a copy on this machine's disk.

Here belongs fetching one block ahead and verifying the whole at its end. The requests themselves, and asking again
where a reply breaks off, are made by ``reading.py``; reading here and there is ``ranges.py``.
"""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# One block is worked on while the next one is on its way. At 100 MB/s a request of 50 ms costs a third of 16 MB, which
# fetching ahead hides; two such blocks are what this may cost in memory.
BLOCK_BYTES = 16 * 1024**2


class VerifiedStream(io.RawIOBase):
    """A read-only stream that ends only if everything read was what had been stored.

    Args:
        fetch: Returns exactly ``length`` bytes from ``start``; called in another thread.
        size: Bytes of the object.
        unit: Every fetch begins and ends at a multiple of this (or at the end): what ``fetch`` can check by itself.
        verify: Called with the SHA-256 of everything when its end was read; raises if it is not the recorded one.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, unit: int, verify: Callable[[str], None]) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._verify = verify
        self._block_bytes = max(1, BLOCK_BYTES // unit) * unit
        self._digest = hashlib.sha256()
        self._block = memoryview(b"")
        self._asked = 0
        self._ahead: Future[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- the stub's Buffer type is 3.12's
        """Read into ``buffer`` and return the number of bytes; 0 only after the whole was verified.

        Raises:
            StoreCorruptionError: The bytes differ from the recorded digest.
            VanishedFileError: The object was replaced or deleted meanwhile.
            StoreUnavailableError: The store cannot be reached any more.
        """
        if not self._block and not self._next_block():
            return 0
        length = min(len(buffer), len(self._block))
        buffer[:length] = self._block[:length]
        self._block = self._block[length:]
        return length

    def close(self) -> None:
        """Stop fetching."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        super().close()

    def _next_block(self) -> bool:
        if self._ahead is None:
            self._ask()
        content = self._ahead.result() if self._ahead else b""
        self._block = memoryview(content)
        self._ask()
        self._digest.update(content)
        if not content:
            self._verify(self._digest.hexdigest())
        return bool(content)

    def _ask(self) -> None:
        length = min(self._block_bytes, self._size - self._asked)
        self._ahead = self._thread.submit(self._fetch, self._asked, length) if length else None
        self._asked += length


__all__ = ["BLOCK_BYTES", "VerifiedStream"]
