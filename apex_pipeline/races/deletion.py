"""Deletes a race, rows and objects, and finds objects that belong to no race.

The row goes last. It is marked first, which takes the race from everyone and stops its worker from publishing; a
deletion that is cut off is finished by the reaper.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from sqlalchemy import delete, select, update

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races.models import Race
from apex_pipeline.races.race_ids import is_race_id
from apex_pipeline.races.results import remove_race_objects
from apex_pipeline.races.services import RaceServices
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.layout import RACES_PREFIX, TABLES_PREFIX
from apex_pipeline.tables.races import AMS2_TABLES

# Ids compared with the database in one query.
_BATCH = 500


def delete_race(services: RaceServices, race_id: str) -> bool:
    """Delete a race with everything that belongs to it, and return whether it was there; may be repeated.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        StoreError: The store refused; the race is gone for everyone, and its objects are deleted later.
        StoreUnavailableError: As above.
    """
    database = services.database
    mark = {"deleted_at": database.now, "attempts": Race.attempts + 1, "unique_sha256": None}
    with database.writing() as session:
        marked = update(Race).where(Race.race_id == race_id, Race.deleted_at.is_(None)).values(mark)
        was_there = session.scalar(marked.returning(Race.race_id)) is not None
    with database.reading() as session:
        is_marked = session.get(Race, race_id) is not None
    if is_marked:
        _finish(services, race_id)
    return was_there


def finish_deletions(services: RaceServices, older_than: timedelta) -> int:
    """Finish the deletions that were begun this long ago, and return how many there were."""
    cut_off = select(Race.race_id).where(Race.deleted_at < services.database.ago(older_than))
    with services.database.reading() as session:
        found = session.scalars(cut_off).all()
    for race_id in found:
        _finish(services, race_id)
    return len(found)


def _finish(services: RaceServices, race_id: str) -> None:
    remove_race_objects(services.store, race_id)
    with services.database.writing() as session:
        session.execute(delete(Race).where(Race.race_id == race_id, Race.deleted_at.is_not(None)))


def find_orphans(services: RaceServices, older_than: timedelta, now: datetime) -> list[ObjectInfo]:
    """Return the objects of races that have no row, if all of a race's objects are older than ``older_than``.

    An upload that is running has objects and no row yet, so only old ones count.

    Raises:
        ConfigurationError: The database has none of the races in the store, so it may belong to another one.
    """
    folders = list(_by_race(services))
    known: set[str] = set()
    for start in range(0, len(folders), _BATCH):
        batch = [race_id for race_id, _ in folders[start : start + _BATCH]]
        with services.database.reading() as session:
            known |= set(session.scalars(select(Race.race_id).where(Race.race_id.in_(batch))))
    unknown = [items for race_id, items in folders if race_id not in known]
    orphans = [item for items in unknown if _all_before(items, now - older_than) for item in items]
    if orphans and not known:
        raise ConfigurationError(
            f"{services.store.uri} has races, and the database {services.database.place} has none of them.",
            "Check DATABASE_URL; objects of races are removed only with the database that they belong to.",
        )
    return orphans


def remove_orphans(services: RaceServices, orphans: list[ObjectInfo]) -> None:
    """Remove objects that :func:`find_orphans` has found."""
    for item in orphans:
        services.store.delete(item.key)


def _by_race(services: RaceServices) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Yield each race's objects, one prefix after the other."""
    prefixes = [RACES_PREFIX, *(f"{TABLES_PREFIX}{table.name}/" for table in AMS2_TABLES)]
    for prefix in prefixes:
        for race_id, items in groupby(services.store.list(prefix), partial(_race_of, prefix)):
            if is_race_id(race_id):
                yield race_id, list(items)


def _race_of(prefix: str, item: ObjectInfo) -> str:
    return item.key.removeprefix(prefix).partition("/")[0].removeprefix("race_id=")


def _all_before(items: list[ObjectInfo], limit: datetime) -> bool:
    return all(item.modified_utc < limit for item in items)
