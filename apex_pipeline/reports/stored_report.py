"""Makes the report of a published session and puts it into the lake; see ``session_report`` for what is in it.

The asset ``reports/session`` calls this. It needs the extra ``pipeline`` no more than ``apex report`` does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.lake.session_reports import write_report
from apex_pipeline.lake.tables import require_session
from apex_pipeline.reports.session_report import compose_report, facts_of
from apex_pipeline.reports.session_report.preview import preview_of
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables import LAPS
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class StoredReport:
    """What was put into the lake.

    Attributes:
        uri: Where the file is.
        sha256: Digest of its bytes.
        bytes: Its size.
        snapshot: Id of the snapshot that everything in it is from.
        cars: Number of cars in the table ``laps``.
        laps: Number of its rows.
        lacking: Names of the parts that say in a sentence what is missing.
        preview: The first things it says, as Markdown.
    """

    uri: str
    sha256: str
    bytes: int
    snapshot: str
    cars: int
    laps: int
    lacking: tuple[str, ...]
    preview: str


def store_report(
    store: ObjectStore, key: SessionKey, settings: Settings, require_lease: Callable[[], None]
) -> StoredReport:
    """Make the report of a session from what is published now, and replace its former one with it.

    The page is complete before anything is written, so whatever fails leaves the former one as it is.

    Args:
        store: The lake, opened for writing.
        key: The session.
        settings: Name the file with the user's own tracks.
        require_lease: As for ``write_report``.

    Raises:
        NotPublishedError: The session is not published.
        StoreCorruptionError: A table of the session is damaged.
        LeaseLostError: This process no longer holds the session's lease.
    """
    catalog = Catalog(store, settings=settings)
    require_session(catalog.snapshot, key)
    facts = facts_of(RaceSession(catalog, key))
    report = compose_report(facts)
    cars, laps = _cars_and_laps(catalog, key)
    stored = write_report(store, key, report.page.encode(), require_lease)
    return StoredReport(
        uri=store.uri_of(stored.key),
        sha256=stored.sha256 or "",
        bytes=stored.size,
        snapshot=facts.snapshot,
        cars=cars,
        laps=laps,
        lacking=report.lacking,
        preview=preview_of(facts),
    )


def _cars_and_laps(catalog: Catalog, key: SessionKey) -> tuple[int, int]:
    if not catalog.has_table(LAPS.name, *key):
        return 0, 0
    laps = catalog.table_arrow(LAPS.name, *key)
    return len(laps["vehicle_id"].unique()), laps.num_rows
