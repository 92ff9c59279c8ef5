"""Compares the shipper's journal, the bucket and the folder of shipped files: all three must say the same.

Contains a comparison by name and size, which takes one listing of the bucket; nothing is read or changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from apex_pipeline.events.config import EventConfig
from apex_pipeline.events.folder import DONE_FOLDER, shown_name
from apex_pipeline.events.journal import Entry, EntryState
from apex_pipeline.storage.base import ObjectStore

_GZIP = ".gz"


@dataclass(frozen=True)
class Agreement:
    """What was compared, and what does not agree.

    Attributes:
        delivered: Deliveries in the journal.
        objects: Objects in the bucket.
        moved: Files among those that were shipped.
        problems: One sentence per disagreement, sorted.
    """

    delivered: int
    objects: int
    moved: int
    problems: tuple[str, ...]


def compare(config: EventConfig, entries: list[Entry], store: ObjectStore) -> Agreement:
    """Compare the three.

    Args:
        config: Folder and bucket.
        entries: The journal of the folder.
        store: The bucket.
    """
    sizes = {info.key: info.size for info in store.list(config.settings.event_prefix)}
    delivered = [entry for entry in entries if entry.state in {EntryState.DONE, EntryState.DELIVERED} and entry.key]
    moved = {path for path in (config.folder / DONE_FOLDER).rglob("*") if path.is_file()}
    known = {entry.moved_to for entry in delivered}
    problems = [problem for entry in delivered for problem in _problems_of(entry, sizes)]
    problems += [f"{shown_name(path.name)} is in {DONE_FOLDER}/, but not in the journal." for path in moved - known]
    return Agreement(len(delivered), len(sizes), len(moved), tuple(sorted(problems)))


def _problems_of(entry: Entry, sizes: dict[str, int]) -> Iterator[str]:
    name, key = shown_name(entry.name), entry.key or ""
    if key not in sizes:
        yield f"{name} was delivered as {key}, which is not in the bucket."
    elif sizes[key] != entry.size and not key.endswith(_GZIP):
        yield f"{name} has {entry.size:,} bytes, but {key} has {sizes[key]:,}."
    if entry.moved_to is not None and not entry.moved_to.exists():
        yield f"{name} was moved to {entry.moved_to}, and is not there any more."
