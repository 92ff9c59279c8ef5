"""Finds the file of a session: tries the patterns in order, then the naming rules, and logs each attempt.

Works even if the credentials may read the bucket but not list it. See filenames.py for the patterns, raw_index.py for
the index of the lake.
"""

import logging
from collections.abc import Callable, Iterator

from apex_pipeline.catalog.loaders.failures import MissingOrForbiddenError
from apex_pipeline.catalog.loaders.fetch import ObjectReader
from apex_pipeline.catalog.loaders.filenames import LoadKind, file_names
from apex_pipeline.catalog.loaders.raw_index import RawIndex
from apex_pipeline.errors import ObjectMissingError, StorePermissionError
from apex_pipeline.lake.names import track_hint
from apex_pipeline.settings import Settings
from apex_pipeline.storage.layout import raw_path
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# Name of a session's file in messages.
WHAT = {LoadKind.LAP_START: "lap times", LoadKind.TELEMETRY: "telemetry"}


def event_of(kind: LoadKind) -> str:
    """Return the event name of a call in structured log lines."""
    return f"load_{'lap_times' if kind is LoadKind.LAP_START else 'telemetry'}"


class FileLookup:
    """The search for one file of one session.

    Args:
        kind: ``LAP_START`` or ``TELEMETRY``.
        asked_for: Track and session as requested by the application.
        key_of: Returns the key for a track and a file name.
    """

    def __init__(self, kind: LoadKind, asked_for: SessionKey, key_of: Callable[[str, str], str]) -> None:
        self.kind = kind
        self.asked_for = asked_for
        self._key_of = key_of
        self._attempts: list[str] = []

    def in_index(self, index: RawIndex) -> list[str]:
        """Return the path of the session's file, or several paths if the session has several files of the kind.

        Raises:
            ObjectMissingError: There is no such file.
        """
        for key in self._keys():
            if raw_path(key) in index.objects:
                return [raw_path(key)]
        for pattern in index.name_patterns(self.kind):
            self._report(pattern)
        paths = index.files_called(*self.asked_for, self.kind)
        if not paths:
            known = ", ".join(index.sessions(self.asked_for.track)) or "none"
            raise ObjectMissingError(
                f"There is no file with the {WHAT[self.kind]} of {self.asked_for}; tried {', '.join(self._attempts)} "
                "and every name that the naming rules recognize.",
                f"Check track, session and file names; {self.asked_for.track} has lap files of: {known}."
                f"{'' if known != 'none' else f' {track_hint(self.asked_for.track, index.tracks())}'}",
            )
        return paths

    def without_listing(
        self, reader: ObjectReader, settings: Settings, refusal: StorePermissionError
    ) -> tuple[RawIndex, str]:
        """Return the path of the session's file, and an index of only this file, if listing the lake is forbidden.

        Args:
            reader: Reads the lake.
            settings: For the user's own tracks and patterns.
            refusal: The error of the refused listing.

        Raises:
            MissingOrForbiddenError: None of the keys built from the patterns can be read.
        """
        for key in self._keys():
            try:
                found = reader.store.head(key)
            except StorePermissionError:
                continue
            if found is not None:
                return RawIndex(reader, settings, [found]), raw_path(key)
        raise MissingOrForbiddenError(
            f"No file with the {WHAT[self.kind]} of {self.asked_for} can be read; tried {', '.join(self._attempts)}. "
            f"They are missing or forbidden, which S3 does not distinguish without s3:ListBucket. {refusal.problem}",
            refusal.hint,
        ) from refusal

    def _keys(self) -> Iterator[str]:
        for name in file_names(self.kind, *self.asked_for):
            self._report(name)
            yield self._key_of(self.asked_for.track, name)

    def _report(self, name: str) -> None:
        self._attempts.append(name)
        fields = {
            "event": event_of(self.kind),
            "track": self.asked_for.track,
            "session": self.asked_for.session,
            "attempt": len(self._attempts),
            "outcome": "tried",
        }
        _LOG.info("Attempting pattern: %s", name, extra=fields)
