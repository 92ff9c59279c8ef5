"""Finds the object for a name, and returns its address on a public server.

See storage/base.py for presigned addresses, which the store creates.
"""

from urllib.parse import quote

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables.session_key import SessionKey

_S3_SCHEME = "s3://"
# What the bucket policies in deploy/iam make readable for everyone.
PUBLIC_PREFIX = "public/"
# track/session/table
_PARTS_OF_A_TABLE = 3


def find_object(store: ObjectStore, name: str) -> str:
    """Return the key of an existing object.

    Args:
        store: The lake.
        name: A key of the lake (``data/…``, ``tables/…``), the path of a raw file as ``apex files`` lists it, or a
            published table of a session as ``track/session/table``.

    Raises:
        ObjectMissingError: The name matches no object in any of these forms.
        UnsafeKeyError: The name points outside the lake.
    """
    for key in (name, raw_key(name)):
        if store.head(key) is not None:
            return key
    table = _published_table(store, name)
    if table is not None:
        return table
    raise ObjectMissingError(
        f"{store.uri} has no object {name}, no raw file with this path and no such session table.",
        "`apex files` lists the raw files; a table is TRACK/SESSION/TABLE, such as sebring/R1/laps.",
    )


def public_address(store: ObjectStore, key: str, base_url: str | None) -> str:
    """Return the public address of an object.

    Args:
        store: The lake.
        key: The object.
        base_url: Address under which the bucket is served (``PUBLIC_BASE_URL``).

    Raises:
        ConfigurationError: No base URL is set, the lake is a local folder, or the object is not below ``public/``.
    """
    if base_url is None:
        raise ConfigurationError(
            "PUBLIC_BASE_URL is not set, so this lake has no known public address.",
            "Set it to the address under which the bucket is served, or omit --public to get a link that expires.",
        )
    address = store.uri_of(key)
    if not address.startswith(_S3_SCHEME):
        raise ConfigurationError(
            f"{address} is a file on this machine and not served to the public.",
            "Keep the lake in S3 (USE_S3_DATA=true) to share parts of it.",
        )
    _, _, in_bucket = address.removeprefix(_S3_SCHEME).partition("/")
    if not in_bucket.startswith(PUBLIC_PREFIX):
        raise ConfigurationError(
            f"{address} is not public: only what is below {PUBLIC_PREFIX} in the bucket is (deploy/iam).",
            f"Omit --public for a link that expires, or keep a public lake with APEX_LAKE_PREFIX={PUBLIC_PREFIX}NAME.",
        )
    return f"{base_url.rstrip('/')}/{quote(in_bucket)}"


def _published_table(store: ObjectStore, name: str) -> str | None:
    parts = name.split("/")
    snapshot = read_current(store) if len(parts) == _PARTS_OF_A_TABLE else None
    if snapshot is None:
        return None
    track, session, table = parts
    record = snapshot.session(SessionKey(track, session))
    return table_file_key(store, record.tables[table]) if record and table in record.tables else None
