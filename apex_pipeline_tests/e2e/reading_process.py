"""A reader that reads every session of a lake in a loop, as a program does that knows nothing of syncs.

    python -m apex_pipeline_tests.e2e.reading_process KNOWN RESULT

``KNOWN`` is a JSON file with the digests of the tables of every version of every session. Every state that is read must
be one of these versions as a whole. The number of reads and every problem are written to ``RESULT`` after each lap.
SIGTERM ends it.
"""

import hashlib
import io
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.errors import ApexError, ObjectMissingError
from apex_pipeline.lake.snapshot import stable_key
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import object_key
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Digest of each table, by session and version.
Known = Mapping[str, Mapping[str, Mapping[str, str]]]

_READ_TABLES = ("laps", "cars", "quality")
_PAUSE_S = 0.05


class Reader:
    """Reads a lake and notes what is wrong.

    Args:
        store: The lake.
        known: The tables of every version.
    """

    def __init__(self, store: ObjectStore, known: Known) -> None:
        self._store = store
        self._known = known
        self._seen: set[SessionKey] = set()
        self.reads = 0
        self.problems: list[str] = []

    def read_all(self) -> None:
        """Read every published session once, from one snapshot, and the laps at their stable names."""
        try:
            catalog = open_catalog()
        except ObjectMissingError as error:
            if self._seen:
                self.problems.append(f"nothing is published any more: {error}")
            return
        except ApexError as error:
            self.problems.append(f"the lake cannot be opened: {error}")
            return
        keys = set(catalog.snapshot.keys)
        if not keys >= self._seen:
            self.problems.append(f"{catalog.snapshot.id} has lost {sorted(self._seen - keys)}")
        self._seen |= keys
        for key in sorted(keys):
            self._read_session(catalog, key)
            self._read_stable_name(key)

    def _read_session(self, catalog: Catalog, key: SessionKey) -> None:
        try:
            session = catalog.snapshot.session(key)
            assert session is not None
            tables = {name: table.sha256 for name, table in session.tables.items()}
            if tables not in self._known[str(key)].values():
                self.problems.append(f"{key} is a mixture in {catalog.snapshot.id}: {self._versions_of(key, tables)}")
            for name in _READ_TABLES:
                catalog.table_arrow(name, *key)
                content = self._store.read_bytes(object_key(tables[name]))
                if hashlib.sha256(content).hexdigest() != tables[name]:
                    self.problems.append(f"{key} {name}: the object does not have its content")
                self.reads += 1
        except ApexError as error:
            self.problems.append(f"{key} cannot be read in {catalog.snapshot.id}: {error}")

    def _read_stable_name(self, key: SessionKey) -> None:
        try:
            content = self._store.read_bytes(stable_key("laps", key))
        except ObjectMissingError:
            return  # the session was published a moment ago, and its names are written next
        except ApexError as error:
            self.problems.append(f"{key}: the stable name cannot be read: {error}")
            return
        digest = hashlib.sha256(content).hexdigest()
        if digest not in {tables["laps"] for tables in self._known[str(key)].values()}:
            self.problems.append(f"{key}: the stable name has unknown laps {digest}")
        pq.ParquetFile(io.BytesIO(content)).read()
        self.reads += 1

    def _versions_of(self, key: SessionKey, tables: Mapping[str, str]) -> str:
        versions = self._known[str(key)]
        found = {
            name: [version for version, known in versions.items() if known.get(name) == sha256]
            for name, sha256 in tables.items()
        }
        missing = sorted({name for known in versions.values() for name in known} - tables.keys())
        return f"{found}, without {missing}"


def main() -> None:
    """Read until SIGTERM."""
    known_path, result = Path(sys.argv[1]), Path(sys.argv[2])
    known: Known = json.loads(known_path.read_text())
    for text in known:
        parse_session_key(text)
    is_over: list[bool] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        is_over.append(True)

    signal.signal(signal.SIGTERM, end)
    reader = Reader(open_store(load_settings(), for_writing=False), known)
    while not is_over:
        reader.read_all()
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps({"reads": reader.reads, "problems": reader.problems}))
        partial.replace(result)
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
