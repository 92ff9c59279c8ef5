"""Damages every kind of object of a lake, one at a time: verification names it, and no reader returns a wrong value."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.errors import ApexError
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    UNASSIGNED_RECORD_KEY,
    derived_key,
    object_key,
    published_session_key,
    raw_key,
    record_key,
    shard_key,
    snapshot_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables

pytestmark = pytest.mark.req("A-117")

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")


def _flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


def _with_wrong_types(content: bytes) -> bytes:
    """Return a JSON object with every value replaced by a number; for anything else, a JSON object."""
    try:
        document = json.loads(content)
    except ValueError:
        document = {}
    return json.dumps(dict.fromkeys(document, 7) if isinstance(document, dict) else {}).encode()


_DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": _flipped,
    "garbage": lambda content: b"\xff\x00" * (len(content) // 2 + 1),
    "deep": lambda _: b"[" * 200_000,
    "wrong types": _with_wrong_types,
}
_KINDS: dict[str, Callable[[Snapshot], str]] = {
    "pointer": lambda _: CURRENT_SNAPSHOT_KEY,
    "snapshot": lambda snapshot: snapshot_key(snapshot.id),
    "shard": lambda snapshot: shard_key(snapshot.shards[0]),
    "published record": lambda snapshot: published_session_key(snapshot.entries[_R1].record),
    "table": lambda snapshot: object_key(require_session(snapshot, _R1).tables["laps"].sha256),
    "stable name": lambda snapshot: require_session(snapshot, _R1).tables["laps"].key,
    "record": lambda _: record_key(str(_R1)),
    "raw file": lambda _: raw_key("spa/R1_lap_start.csv"),
    "files": lambda _: "catalog/files.parquet",
    "tracks": lambda _: "catalog/tracks.parquet",
    "sessions": lambda _: "catalog/sessions.parquet",
}
# A flipped bit here may change nothing that a reader uses: a description in the footer, or the note of an evidence.
_MAY_BE_HARMLESS = {("files", "flipped"), ("tracks", "flipped"), ("sessions", "flipped"), ("record", "flipped")}


@pytest.fixture
def lake(store: LocalStore) -> LocalStore:
    publish_tables(store, _R1, laps=2)
    publish_tables(store, _R2, laps=3, now=NOON + timedelta(hours=1))
    return store


def _readings(store: LocalStore) -> dict[str, Callable[[], Any]]:
    """Return what consumers read, by name."""
    return {
        "laps": lambda: Catalog(store).table_arrow("laps", "spa", "R1").to_pylist(),
        "other laps": lambda: Catalog(store).table_arrow("laps", "spa", "R2").to_pylist(),
        "files": lambda: Catalog(store).files().to_dict("records"),
        "sessions": lambda: [list(row[:2]) for row in Catalog(store).sessions().itertuples(index=False)],
        "tracks": lambda: Catalog(store).tracks().to_dict("records"),
        "as of": lambda: Catalog(store, NOON).table_arrow("laps", "spa", "R1").to_pylist(),
    }


@pytest.mark.parametrize("damage", _DAMAGE)
@pytest.mark.parametrize("kind", _KINDS)
def test_damage_is_named_and_never_read(lake: LocalStore, kind: str, damage: str) -> None:
    expected = {name: str(read()) for name, read in _readings(lake).items()}
    key = _KINDS[kind](require_snapshot(lake))
    path = Path(lake.uri_of(key))
    content = _DAMAGE[damage](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    for name, read in _readings(lake).items():
        try:
            found = str(read())
        except ApexError:
            continue
        assert found == expected[name], name

    wrong = {finding.key: finding.problem for finding in verify_lake(lake, is_deep=True).wrong}
    if (kind, damage) not in _MAY_BE_HARMLESS:
        # A missing document has no finding of its own: the one that names it says so.
        assert key in wrong or key in " ".join(map(str, wrong.values()))
    assert all(wrong.values())


@pytest.mark.parametrize("damage", [name for name in _DAMAGE if name not in {"missing", "flipped"}])
@pytest.mark.parametrize("key", [UNASSIGNED_RECORD_KEY, derived_key(str(_R1)), "catalog/forgotten.json"])
def test_a_damaged_side_document_is_named_and_hides_no_table(lake: LocalStore, key: str, damage: str) -> None:
    derive_tables(lake, _R1, "v2", laps=9, only=["laps"])
    content = _DAMAGE[damage](b'{"files": []}')
    lake.write_bytes(key, content or b"")
    assert key in {finding.key for finding in verify_lake(lake).wrong}
    assert len(Catalog(lake).laps("spa", "R1")) == 2


def test_a_huge_document_is_refused_without_reading_it(lake: LocalStore) -> None:
    for key in (CURRENT_SNAPSHOT_KEY, snapshot_key(require_snapshot(lake).id)):
        path = Path(lake.uri_of(key))
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(65 * 1024**2)  # a hole: it takes no space on the disk
        assert key in {finding.key for finding in verify_lake(lake).wrong}
        with pytest.raises(ApexError, match="at most 67,108,864 were expected"):
            Catalog(lake)
        path.write_bytes(content)
