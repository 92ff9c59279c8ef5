"""Remembers what the files of a track are, so that an unsynced lake is identified once per loader and not per call.

The names of files say little before a sync: the start of each has to be read, one request per file. The result holds
while the listing shows the same files with the same tags.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.storage.base import ObjectInfo

# Files remembered at most, about 1 kB each; a season has some hundred.
_MOST_FILES = 20_000


class IdentifiedFiles:
    """Identities of the files of each track, by what a listing showed of them; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, list[FileIdentity]] = OrderedDict()

    def identities(
        self, rules: str, listed: Iterable[ObjectInfo], identify: Callable[[], list[FileIdentity]]
    ) -> list[FileIdentity]:
        """Return the identities of files, identified now unless they are known in exactly this state.

        Args:
            rules: Version of the rules by which they are identified.
            listed: The files of one track as listed; only versions of the same content have the same tag.
            identify: Identifies them, which reads the start of each.
        """
        state = (rules, tuple((item.key, item.size, item.tag) for item in listed))
        with self._lock:
            if state in self._known:
                self._known.move_to_end(state)
                return self._known[state]
        found = identify()
        with self._lock:
            self._known[state] = found
            while sum(map(len, self._known.values())) > _MOST_FILES and len(self._known) > 1:
                self._known.popitem(last=False)
        return found
