"""One request as far as its answer depends on it, and the answer made for it: entity tag, headers, problem or bytes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from apex_pipeline.api.lake.cursors import Cursor, CursorKey
from apex_pipeline.api.lake.encoding import json_document
from apex_pipeline.api.lake.errors import NotFoundError, names_of_the_path
from apex_pipeline.api.lake.forms import MEDIA_TYPES, Form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import MAX_NAME_CHARACTERS
from apex_pipeline.api.lake.query import Query
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.tables.session_key import SessionKey

# Changes when answers to equal questions change, so that no client keeps an old one.
_INTERFACE = "1"
_PAGE_PARAMETERS = ("cursor", "limit", "format")
# What names meant in a catalog: an alias is looked for among all sessions, which takes milliseconds.
_KEYS: WeakKeyDictionary[Catalog, dict[tuple[str, str], SessionKey]] = WeakKeyDictionary()
_MOST_KEYS = 10_000


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        catalog: The lake, in the snapshot of the request.
        path: The path of the address.
        query: Its query.
        form: The form of the answer.
        cursors: Makes the cursor of the next page.
        cursor: The cursor of this page; ``None`` for the first.
    """

    catalog: Catalog
    path: str
    query: Query
    form: Form
    cursors: CursorKey
    cursor: Cursor | None = None

    @property
    def snapshot(self) -> str:
        """Id of the snapshot."""
        return self.catalog.snapshot.id

    def session(self, track: str, session: str) -> SessionKey:
        """Return the key of a session by the names in the path.

        Raises:
            UnpublishedError: The track has no such session.
            NotFoundError: The lake has no such track, or a name may mean several.
        """
        found = _KEYS.setdefault(self.catalog, {})
        key = found.get((track, session))
        if key is None:
            with names_of_the_path():
                key = self.catalog.find_session(checked_name(track), checked_name(session))
            if len(found) >= _MOST_KEYS:
                found.clear()
            found[track, session] = key
        return key

    def source_of(self, key: SessionKey) -> str:
        """Return the digest of the object that names all tables of a session."""
        entry = self.catalog.snapshot.entry(key)
        return "" if entry is None else entry.record

    def next_cursor(self, part: int, row: int, state: str) -> str:
        """Return the cursor of the page that begins there."""
        return self.cursors.text_of(Cursor(self.snapshot, query_digest(self.path, self.query), part, row, state))

    def answer(
        self, body: bytes, source: str | None, headers: Sequence[tuple[str, str]] = (), *, is_of_snapshot: bool = False
    ) -> Answer:
        """Return a finished answer.

        Args:
            body: Its bytes.
            source: Digest of the object that it was made from; ``None`` if it depends on more, and its tag is that of
                its bytes.
            headers: Further headers.
            is_of_snapshot: The snapshot's id is part of it, so another snapshot gives other bytes.
        """
        facts = [_INTERFACE, self.path, self.query.canonical(), self.form, self.snapshot if is_of_snapshot else ""]
        facts.append(hashlib.sha256(body).hexdigest() if source is None else source)
        tag = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
        return Answer(
            body,
            MEDIA_TYPES[self.form],
            f'"{tag}"',
            (("Apex-Snapshot", self.snapshot), *headers),
            is_forever=source is not None,
        )

    def document(self, document: object, source: str | None) -> Answer:
        """Return an answer that is one JSON value."""
        return self.answer(json_document(document), source)


def query_digest(path: str, query: Query) -> str:
    """Return what a page's cursor must have in common with the request: all but page and form."""
    return hashlib.sha256(f"{path}\n{query.canonical(_PAGE_PARAMETERS)}".encode()).hexdigest()[:16]


def checked_name(name: str) -> str:
    """Return a name of the path.

    Raises:
        NotFoundError: It is longer than any name, and not looked for.
    """
    if len(name) > MAX_NAME_CHARACTERS:
        raise NotFoundError(
            f"No name has more than {MAX_NAME_CHARACTERS} characters.", "/api/v1/sessions lists the names there are."
        )
    return name
