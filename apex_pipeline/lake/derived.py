"""Tables that were derived and checked and are not published yet.

A derivation step adds its tables to the list of its session once their checks have passed; the list names the objects
by digest, so publication needs nothing but what the steps themselves wrote. Publication removes the list. While it is
there, either the session is being worked on or a run ended between two steps, and the next sync finishes the work.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from apex_pipeline.errors import ConfigurationError, PermanentError, StoreCorruptionError
from apex_pipeline.lake.documents import NameText, SessionText, dump_document, read_document
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import DERIVED_PREFIX, derived_key
from apex_pipeline.tables.session_key import SessionKey, parse_session_key


@dataclass(frozen=True)
class DerivedTables:
    """The derived and unpublished tables of a session.

    Attributes:
        key: ``track/session``.
        inputs_version: Version of the files they were derived from.
        tables: The tables by name.
        failed: Tables that failed a blocking check when they were last derived, with the names of these checks.
    """

    key: SessionText
    inputs_version: str
    tables: dict[NameText, TableRecord] = field(default_factory=dict[str, TableRecord])
    failed: dict[NameText, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    format: int = 1


def derived_list(store: ObjectStore, key: SessionKey, inputs_version: str) -> DerivedTables:
    """Return the session's list of tables that were derived from these files and are not published yet.

    A damaged list counts as empty, as does one of other files: the tables are derived again.
    """
    empty = DerivedTables(str(key), inputs_version)
    try:
        found = read_document(store, derived_key(str(key)), DerivedTables)
    except StoreCorruptionError:
        return empty
    is_current = found is not None and (found.key, found.inputs_version) == (str(key), inputs_version)
    return found if found is not None and is_current else empty


def read_derived(store: ObjectStore, key: SessionKey, inputs_version: str) -> dict[str, TableRecord]:
    """Return the tables in the session's :func:`derived_list`."""
    return dict(derived_list(store, key, inputs_version).tables)


def add_derived(store: ObjectStore, key: SessionKey, inputs_version: str, tables: Mapping[str, TableRecord]) -> None:
    """Add tables to the session's list; tables of other files are dropped from it.

    Only the holder of the session's lease writes the list.
    """
    before = derived_list(store, key, inputs_version)
    failed = {name: checks for name, checks in before.failed.items() if name not in tables}
    _write(store, replace(before, tables={**before.tables, **tables}, failed=failed), key)


def add_failed(
    store: ObjectStore, key: SessionKey, inputs_version: str, names: Iterable[str], failed: Mapping[str, Sequence[str]]
) -> None:
    """Note that tables failed a blocking check: until they are derived again, the session cannot be published.

    Args:
        store: The lake.
        key: The session.
        inputs_version: Version of the files.
        names: The tables of the step, which are dropped from the list.
        failed: Those of them that failed, with the names of the checks.
    """
    before = derived_list(store, key, inputs_version)
    dropped = set(names)
    tables = {name: table for name, table in before.tables.items() if name not in dropped}
    failing = {name: tuple(checks) for name, checks in failed.items()}
    _write(store, replace(before, tables=tables, failed={**before.failed, **failing}), key)


def require_no_failed(found: DerivedTables) -> None:
    """Raise an error if a table of the session has failed a blocking check.

    Raises:
        PermanentError: One has.
    """
    if found.failed:
        findings = ", ".join(f"{name} failed {' and '.join(checks)}" for name, checks in found.failed.items())
        again = ", ".join(f"tables/{name}" for name in found.failed)
        raise PermanentError(
            f"The session {found.key} is not published: {findings}. What was published before stays.",
            f"Materialize {again} of the partition {found.key} again once the cause is mended.",
        )


def unfinished_sessions(keys: Iterable[str]) -> Iterator[SessionKey]:
    """Yield the sessions that have a list among these keys of a lake; other files below its folder are passed over."""
    for name in (key.removeprefix(DERIVED_PREFIX) for key in keys if key.startswith(DERIVED_PREFIX)):
        try:
            key = parse_session_key(name.removesuffix(".json"))
        except ConfigurationError:
            continue
        if derived_key(str(key)) == DERIVED_PREFIX + name:
            yield key


def clear_derived(store: ObjectStore, key: SessionKey) -> None:
    """Remove the session's list."""
    store.delete(derived_key(str(key)))


def _write(store: ObjectStore, document: DerivedTables, key: SessionKey) -> None:
    in_order = replace(
        document, tables=dict(sorted(document.tables.items())), failed=dict(sorted(document.failed.items()))
    )
    store.write_bytes(derived_key(str(key)), dump_document(in_order))
