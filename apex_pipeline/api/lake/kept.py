"""Keeps finished answers as bytes, and lets equal requests that come at the same time share one."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace

from apex_pipeline.api.lake.errors import BusyError
from apex_pipeline.api.lake.limits import ANSWER_TIMEOUT_S, KEPT_ANSWER_BYTES, KEPT_BYTES, MAX_WAITING

# Key, headers and the entry itself, roughly.
_OVERHEAD_BYTES = 1_000


@dataclass(frozen=True)
class Answer:
    """One finished answer.

    Attributes:
        body: Its bytes.
        media_type: What they are.
        etag: Strong entity tag, in quotes.
        headers: Further headers.
        is_kept: Whether an equal request may get it again: it depends on nothing but snapshot and query.
        is_forever: Whether it is the same for as long as its snapshot exists.
    """

    body: bytes
    media_type: str
    etag: str
    headers: tuple[tuple[str, str], ...] = ()
    is_kept: bool = True
    is_forever: bool = True


@dataclass
class Counts:
    """What happened to the answers, for the metrics."""

    hits: int = 0
    made: int = 0
    shared: int = 0
    dropped: int = 0


@dataclass
class KeptAnswers:
    """Answers by key, the least recently used dropped first; belongs to one event loop."""

    limit: int = KEPT_BYTES
    counts: Counts = field(default_factory=Counts)
    size: int = 0
    _kept: "OrderedDict[Hashable, Answer]" = field(default_factory=OrderedDict)
    _made: "dict[Hashable, asyncio.Future[Answer]]" = field(default_factory=dict)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the kept answer, that of an equal request in work, or a new one.

        Args:
            key: Everything that the answer depends on.
            make: Makes the answer.

        Raises:
            BusyError: Too many others are in work, or this one takes too long; it goes on, for the next request.
        """
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            self.counts.hits += 1
            return found
        if key in self._made:
            self.counts.shared += 1
        elif len(self._made) >= MAX_WAITING:
            raise BusyError("Too many different answers are being made at the moment.", "Try again in some seconds.")
        else:
            self._made[key] = asyncio.ensure_future(make())
            self._made[key].add_done_callback(lambda made: self._finish(key, made))
        try:
            # A caller who gives up does not stop the work for the others.
            return await asyncio.wait_for(asyncio.shield(self._made[key]), ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise BusyError(
                f"The answer was not ready within {ANSWER_TIMEOUT_S:.0f} s.", "Try again later, or ask for less."
            ) from None

    def _finish(self, key: Hashable, made: "asyncio.Future[Answer]") -> None:
        del self._made[key]
        if made.cancelled() or made.exception() is not None:
            return
        self.counts.made += 1
        answer = made.result()
        room = len(answer.body) + _OVERHEAD_BYTES
        if not answer.is_kept or room > min(self.limit, KEPT_ANSWER_BYTES):
            return
        # A copy, because orjson leaves up to 4 kB unused behind the bytes of an answer.
        self._kept[key] = replace(answer, body=bytes(memoryview(answer.body)))
        self.size += room
        while self.size > self.limit:
            _, dropped = self._kept.popitem(last=False)
            self.size -= len(dropped.body) + _OVERHEAD_BYTES
            self.counts.dropped += 1
