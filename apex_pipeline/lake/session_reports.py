"""The reports of sessions in a lake: one HTML file per session, made from what was published, and never read back.

What is in one is the matter of ``reports/session_report``; here is how it is written, and how damage to it is found. No
snapshot names a report, and in a folder there is no digest beside it, so each has its own in its last line.
"""

import hashlib
import re
from collections.abc import Callable

from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import report_key
from apex_pipeline.tables.session_key import SessionKey

_SEAL = "<!-- SHA-256 of the lines above: {} -->\n"
_SEALED = re.compile(rb"(?P<page>.*)<!-- SHA-256 of the lines above: (?P<digest>[0-9a-f]{64}) -->\n", re.DOTALL)


def sealed(page: str) -> str:
    """Return a page with the digest of its bytes in a comment behind it."""
    return page + _SEAL.format(hashlib.sha256(page.encode()).hexdigest())


def is_intact(content: bytes) -> bool:
    """Return whether these are all bytes of a sealed page, as they were written."""
    found = _SEALED.fullmatch(content)
    return found is not None and hashlib.sha256(found["page"]).hexdigest() == found["digest"].decode()


def write_report(store: ObjectStore, key: SessionKey, page: bytes, require_lease: Callable[[], None]) -> ObjectInfo:
    """Put a rendered report in the place of the session's former one, in one step.

    Args:
        store: The lake, opened for writing.
        key: The session.
        page: All of the report, sealed.
        require_lease: Raises an error unless this process still holds the session's lease: another one may have taken
            the session out of the lake, and with it its report.

    Raises:
        LeaseLostError: It does not; nothing was written.
    """
    require_lease()
    return store.write_bytes(report_key(str(key)), page)


def report_problem(store: ObjectStore, key: str, *, is_deep: bool) -> str | None:
    """Return the problem of a session's report, or ``None``.

    Args:
        store: The lake.
        key: Its key.
        is_deep: Read it; otherwise nothing is known about its bytes.
    """
    if not is_deep or is_intact(store.read_bytes(key)):
        return None
    return "is damaged: materialize the asset reports/session of this session again, or delete the file"
