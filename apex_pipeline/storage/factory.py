"""Opens the store that the settings describe; the only module that reads ``USE_S3_DATA``.

boto3 is imported only for S3, because the import alone takes a third of a second. No request is sent before the store
is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.extras import needs_libraries
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import UnsafeKeyError, check_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.setting_checks import check_bucket_settings, check_lake_prefix

if TYPE_CHECKING:  # the module imports boto3
    from apex_pipeline.storage.s3.client import S3Connection
    from apex_pipeline.storage.s3.once import WriteOnceStore

_S3_SCHEME = "s3://"
_WEB_SCHEMES = ("https://", "http://")
_ZIP = ".zip"
_LOCATIONS = "Use s3://bucket/prefix or a folder path; for reading also https://host/folder or a bundle.zip."


def open_digest_cache(settings: Settings, progress: Progress | None = None) -> DigestCache:
    """Open the digest cache of this machine. Safe to share between stores and threads.

    Args:
        settings: The configuration.
        progress: Called with the number of bytes just hashed, unless the call that hashes has a receiver of its own.
    """
    return DigestCache(digest_cache_path(settings.state_dir), progress=progress)


def digest_cache_path(state_dir: Path) -> Path:
    """Return the path of the digest cache of this machine."""
    return state_dir.absolute() / "fingerprints.sqlite"


def open_store(settings: Settings, *, for_writing: bool) -> ObjectStore:
    """Return the store of the configured lake.

    Args:
        settings: Location of the lake.
        for_writing: Create the local folder if it is missing and clean up after interrupted writes; let
            ``check_access`` create a missing bucket if ``ALLOW_CREATE_BUCKET`` is set.

    Raises:
        ConfigurationError: Only one of the two AWS keys is set.
        MissingExtraError: The lake is in S3, and boto3 is not installed.
        StoreError: The local folder cannot be created.
    """
    if settings.use_s3_data:
        store = _open_s3(settings, settings.bucket, settings.lake_prefix, for_writing=for_writing)
        return store if for_writing else _read_through_cache(store, settings)
    store = LocalStore(settings.lake_dir, open_digest_cache(settings))
    if for_writing:
        store.prepare_for_writing()
    return store


def open_race_store(settings: Settings) -> ObjectStore:
    """Return the store of AMS2 races, for writing: ``AMS2_BUCKET_NAME``, or the folder of the lake.

    A missing bucket is created by ``check_access`` if the store is not AWS, or if ``ALLOW_CREATE_BUCKET`` is set: a
    store of one's own starts empty, and a bucket there costs nothing.

    Raises:
        ConfigurationError: Only one of the two AWS keys is set.
        StoreError: The local folder cannot be created.
    """
    if not settings.use_s3_data:
        return open_store(settings, for_writing=True)
    may_create = settings.allow_create_bucket or settings.s3_endpoint_url is not None
    prefix = settings.lake_prefix if settings.ams2_bucket == settings.bucket else ""
    allowed = settings.model_copy(update={"allow_create_bucket": may_create})
    return _open_s3(allowed, settings.ams2_bucket, prefix, for_writing=True)


def open_store_at(uri: str, settings: Settings, *, for_writing: bool = False) -> ObjectStore:
    """Return the store of the lake at a URI.

    Args:
        uri: ``s3://bucket/prefix`` or the path of a folder; for reading also ``https://host/folder`` or the path of a
            zip file.
        settings: Credentials, region and endpoint for S3.
        for_writing: As for :func:`open_store`.

    Raises:
        ConfigurationError: ``uri`` is none of these, such as a zip file on a web server or a file that is no zip, or
            only one of the two AWS keys is set.
        ObjectMissingError: There is no such zip file, or it contains no lake.
        StoreCorruptionError: The zip file is damaged.
        MissingExtraError: It is in S3, and boto3 is not installed.
    """
    if uri.startswith(_S3_SCHEME):
        bucket, _, prefix = uri.removeprefix(_S3_SCHEME).partition("/")
        if bucket:
            store = _open_s3(settings, bucket, prefix.strip("/"), for_writing=for_writing)
            return store if for_writing else _read_through_cache(store, settings)
    elif not for_writing and uri.startswith(_WEB_SCHEMES):
        from apex_pipeline.storage.web import WebStore  # noqa: PLC0415  -- urllib3 only where it is used

        web = WebStore(uri, settings.state_dir)  # refuses an address with a secret
        if uri.lower().endswith(_ZIP):
            raise ConfigurationError(
                f"{uri} is a bundle on a web server.", "Download it and open the file, or publish it unpacked."
            )
        return _read_through_cache(web, settings)
    elif not for_writing and uri.lower().endswith(_ZIP) and not Path(uri).is_dir():
        from apex_pipeline.storage.zip_lake import ZipStore  # noqa: PLC0415  -- few lakes are bundles

        return ZipStore(Path(uri), settings.state_dir)
    elif uri and "://" not in uri:
        if not for_writing and Path(uri).is_file():
            raise ConfigurationError(f"{uri} is a file, which is no lake.", _LOCATIONS)
        folder = LocalStore(Path(uri), open_digest_cache(settings))
        if for_writing:
            folder.prepare_for_writing()
        return folder
    raise ConfigurationError(f"{uri!r} is not a lake location.", _LOCATIONS)


def open_source(uri: str, settings: Settings) -> ObjectStore:
    """Return a bucket from which raw files are copied; it is only read, and never through the cache.

    Args:
        uri: ``s3://bucket/prefix``.
        settings: Credentials, region and endpoint.

    Raises:
        ConfigurationError: ``uri`` is not a bucket, or only one of the two AWS keys is set.
    """
    bucket, prefix = parse_bucket_uri(uri, "APEX_SOURCE_URI")
    return _open_s3(settings, bucket, prefix, for_writing=False)


def parse_bucket_uri(uri: str, setting: str) -> tuple[str, str]:
    """Return the bucket and the prefix, without slashes at its ends, of ``s3://bucket/prefix``.

    Args:
        uri: The URI.
        setting: Name of the variable that has it, for the message.

    Raises:
        ConfigurationError: It is something else.
    """
    bucket, _, prefix = uri.removeprefix(_S3_SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not uri.startswith(_S3_SCHEME) or not bucket:
        raise ConfigurationError(f"{setting} is {uri!r}, which is not a bucket.", "Write it like s3://bucket/prefix.")
    try:
        check_key(prefix or "x")
    except UnsafeKeyError as error:
        raise ConfigurationError(f"{setting} cannot be used: {error.problem}", "Correct the prefix.") from error
    return bucket, prefix


def _read_through_cache(store: ObjectStore, settings: Settings) -> ObjectStore:
    """Return the store, wrapped in a read cache if ``APEX_CACHE_DIR`` is set."""
    if settings.cache_dir is None:
        return store
    # With its locks, 0.03 s that only this setting needs.
    from apex_pipeline.storage.caching import CachedStore  # noqa: PLC0415  -- as above
    from apex_pipeline.storage.disk_cache import DiskCache  # noqa: PLC0415  -- as above

    return CachedStore(store, DiskCache(settings.cache_dir, settings.cache_size))


def s3_connection(settings: Settings, bucket: str | None = None) -> "S3Connection":
    """Return the connection to a bucket; no client is created and no request is sent before its first use.

    Args:
        settings: Credentials, region and endpoint.
        bucket: Bucket name; defaults to the one in the settings.

    Raises:
        ConfigurationError: Only one of the two AWS keys is set, or a setting is invalid.
    """
    check_bucket_settings(settings, bucket or settings.bucket)
    with needs_libraries():
        from apex_pipeline.storage.s3.client import S3Connection  # noqa: PLC0415  -- boto3 only where it is used
        from apex_pipeline.storage.s3.credentials import AccessKey, SecretsManagerKey  # noqa: PLC0415  -- as above
        from apex_pipeline.storage.s3.upload.remembered_mode import (  # noqa: PLC0415  -- as above
            FILE_NAME,
            RememberedModes,
        )

    secret, token = settings.aws_secret_access_key, settings.aws_session_token
    if (settings.aws_access_key_id is None) != (secret is None):
        names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        present, missing = names if secret is None else reversed(names)
        raise ConfigurationError(f"{missing} is not set, but {present} is.", "Set both or neither.")
    own_key = (
        None
        if settings.aws_access_key_id is None or secret is None
        else AccessKey(
            settings.aws_access_key_id, secret.get_secret_value(), None if token is None else token.get_secret_value()
        )
    )
    # A configured secret takes precedence; the keys from the settings then authenticate to Secrets Manager.
    stored = None if settings.secret_id is None else SecretsManagerKey(settings.secret_id, settings.aws_region, own_key)
    return S3Connection(
        bucket=bucket or settings.bucket,
        region=settings.aws_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=None if own_key is None else own_key.key_id,
        secret_access_key=None if own_key is None else own_key.secret,
        session_token=None if own_key is None else own_key.token,
        stored_key=stored,
        use_accelerate=settings.s3_use_accelerate,
        checksums=settings.s3_checksums,
        remembered=RememberedModes(settings.state_dir.absolute() / FILE_NAME),
    )


def open_write_once_store(settings: Settings, bucket: str, *, attempts: int) -> "WriteOnceStore":
    """Return a bucket in which objects are written once, with the credentials of the settings.

    Args:
        settings: Credentials, region, endpoint and state folder.
        bucket: Name of the bucket.
        attempts: How often a request that fails is sent; 1 for a caller that retries itself.

    Raises:
        ConfigurationError: As for :func:`s3_connection`.
    """
    from apex_pipeline.storage.s3.once import WriteOnceStore  # noqa: PLC0415  -- boto3 only where it is used

    connection = s3_connection(settings, bucket)
    connection.attempts = attempts
    return WriteOnceStore(connection, "", open_digest_cache(settings), state=settings.state_dir.absolute())


def _open_s3(settings: Settings, bucket: str, prefix: str, *, for_writing: bool) -> ObjectStore:
    check_lake_prefix(prefix)
    connection = s3_connection(settings, bucket)
    from apex_pipeline.storage.s3.store import S3Store  # noqa: PLC0415  -- boto3 only where it is used

    return S3Store(
        connection,
        prefix,
        open_digest_cache(settings),
        state=settings.state_dir.absolute(),
        acl=settings.s3_object_acl,
        may_create_bucket=for_writing and settings.allow_create_bucket,
        aborts_abandoned=for_writing,
    )
