"""Contains a store that reads a lake from a web server: a published folder behind ``https://``, without any service.

Static hosting lists no folders, so an object is read by its name only, and earlier snapshots are found from the present
one. Large objects are read in ranges; a server without ranges gives them as a whole, which is noticed and logged.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    ObjectMissingError,
    StoreConfigError,
    StoreInterruptedError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.keys import check_key
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, digest_in_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS, too_large
from apex_pipeline.storage.read_only import WHOLE_BYTES, ReadOnlyStore
from apex_pipeline.storage.request_stats import RequestStats

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

# A server that does not accept a connection in 10 s is away; one that sends nothing for 30 s has stopped.
_TIMEOUT = Timeout(connect=10, read=30)
# A body may take a minute, and more if it is large: below 20 kB/s nobody waits for telemetry.
_LONGEST_S, _SLOWEST_BYTES_S = 60, 20_000
# Three attempts bridge a restart of the server: after 0, 0.5 and 1 s. The server's own wish (Retry-After) may be hours.
_RETRY = Retry(
    total=3,
    redirect=3,
    backoff_factor=0.5,
    backoff_max=5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET", "HEAD"),
    respect_retry_after_header=False,
    raise_on_status=False,
)
# Attempts to read a body that was cut off.
_ATTEMPTS = 3
_BLOCK_BYTES = 1024**2
_OK, _PARTIAL, _FIRST_ERROR, _UNAUTHORIZED, _FORBIDDEN, _SERVER_ERROR = 200, 206, 400, 401, 403, 500
_NOT_THERE = (404, 410)
_BUSY = (408, 429)
_REFUSED_RANGE = 416


# What a host of a lake has to do.
_HOSTING = "Serve the folder as it is: without compressing replies or rewriting names, with sizes and ranges."

_LIKE = "Write it like https://data.example.org/lake."


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class WebStore(ReadOnlyStore):
    """A lake on a web server. Creating an instance sends no request.

    Args:
        address: ``https://host/folder``; ``http://`` too, because what is read is checked against its digest.
        state: Local folder for objects that are opened as files.

    Raises:
        ConfigurationError: The address has no host, or has a password, a query or a fragment.
        StoreConfigError: The proxy of the environment cannot be used.
    """

    def __init__(self, address: str, state: Path) -> None:
        super().__init__(state)
        self._address = _checked_address(address)
        self._lock = threading.Lock()
        self._stats = RequestStats()
        self._has_ranges: bool | None = None
        self._pool = _pool_for(self._address)

    @property
    def uri(self) -> str:
        """Address of the lake."""
        return self._address

    @property
    def can_list(self) -> bool:
        """Return ``False``: static hosting lists nothing."""
        return False

    def uri_of(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self._address}/{quote(check_key(key), safe='/=')}"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Refuse.

        Raises:
            StoreConfigError: Always.
        """
        del prefix
        raise StoreConfigError(
            f"The lake {self.uri} cannot be listed: a web server gives an object only by its name.",
            "Copy the lake, or open it where it is: in its bucket or folder.",
        )

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's size and tag, and the digest in its name."""
        reply = self._send("HEAD", key)
        if reply.status in _NOT_THERE:
            return None
        self._require_status(reply, key)
        size = reply.headers.get("Content-Length", "")
        if not size.isdecimal():
            raise StoreConfigError(f"The server does not say how large {self.uri_of(key)} is.", _HOSTING)
        return ObjectInfo(key, int(size), _modified_utc(reply.headers), _tag_of(reply), digest_in_key(key))

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return content and tag of one reply; the content is checked against the digest in the object's name."""
        reply = self._send("GET", key, limit=limit)
        if reply.status in _NOT_THERE:
            return None
        self._require_status(reply, key)
        found = ObjectInfo(key, len(reply.body), _modified_utc(reply.headers), _tag_of(reply), digest_in_key(key))
        self.require_digest(found, hashlib.sha256(reply.body).hexdigest())
        return reply.body, found.tag

    def fetch(self, found: ObjectInfo, start: int, length: int) -> bytes:
        """Return a range of an object.

        Raises:
            FileChangedError: The object was replaced.
            StoreConfigError: The server gives no ranges.
        """
        is_whole = (start, length) == (0, found.size)
        wanted = {} if is_whole else {"Range": f"bytes={start}-{start + length - 1}"}
        reply = self._send("GET", found.key, wanted, limit=length)
        if reply.status in {*_NOT_THERE, _REFUSED_RANGE} or _tag_of(reply) != found.tag:
            raise self.changed(found.key)
        self._require_status(reply, found.key, is_part=not is_whole)
        if len(reply.body) != length:
            raise self.changed(found.key)
        return reply.body

    def download(self, found: ObjectInfo, file: BinaryIO) -> str:
        """Write an object to a file with one request, and return its digest."""

        def receive() -> str:
            file.seek(0)
            file.truncate()
            digest = hashlib.sha256()
            with self._open("GET", found.key, {}) as reply:
                self._require_status(reply, found.key)
                for block in _blocks(reply, self.uri_of(found.key), found.size):
                    digest.update(block)
                    file.write(block)
            return digest.hexdigest()

        sha256 = _repeated(receive)
        if file.tell() != found.size:
            raise self.changed(found.key)
        return sha256

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Yield a stream that fetches ranges; from a server without ranges, a copy of the whole object."""
        found = self._require(key)
        if found.size > WHOLE_BYTES and not self._serves_ranges(found):
            with self.open_stream(key) as stream:
                yield stream
        else:
            with super().open_seekable(key) as stream:
                yield stream

    @property
    def request_stats(self) -> RequestStats:
        """Requests sent so far; redirects and repeated ones count once."""
        return self._stats

    def check_access(self) -> None:
        """Check that the server answers.

        Raises:
            ObjectMissingError: It has no lake at this address.
        """
        if self.head(CURRENT_SNAPSHOT_KEY) is None:
            raise ObjectMissingError(f"There is no lake at {self.uri}.", "Check the address.")

    def _serves_ranges(self, found: ObjectInfo) -> bool:
        """Return whether the server gives a part of an object when it is asked for one; asked once."""
        if self._has_ranges is None:
            with self._open("GET", found.key, {"Range": "bytes=0-0"}) as reply:
                self._has_ranges = reply.status == _PARTIAL
            if not self._has_ranges:
                _LOG.warning("%s serves no ranges, so each telemetry file is fetched as a whole.", self.uri)
        return self._has_ranges

    def _send(
        self, method: str, key: str, headers: Mapping[str, str] | None = None, limit: int | None = None
    ) -> _Reply:
        """Send a request and return the reply; a body that is cut off is asked for again.

        Raises:
            StoreCorruptionError: The body is larger than ``limit``.
            StoreUnavailableError: The server cannot be reached, or has failed several times.
        """
        wanted = headers or {}

        def receive() -> _Reply:
            with self._open(method, key, wanted) as reply:
                # A server without ranges answers with everything.
                is_wanted = method == "GET" and reply.status == (_PARTIAL if "Range" in wanted else _OK)
                blocks = _blocks(reply, self.uri_of(key), limit) if is_wanted else ()
                return _Reply(reply.status, reply.headers, b"".join(blocks))

        return _repeated(receive)

    @contextmanager
    def _open(self, method: str, key: str, headers: Mapping[str, str]) -> Generator[urllib3.BaseHTTPResponse]:
        """Send a request and yield the reply, whose body is not read yet."""
        url = self.uri_of(key)
        started = time.monotonic()
        try:
            reply = self._pool.request(
                method, url, headers={"Accept-Encoding": "identity", **headers}, preload_content=False, redirect=True
            )
        except HTTPError as error:
            self._count(started, is_error=True)
            raise _unreachable(self.uri, error) from error
        self._count(started, is_error=reply.status >= _FIRST_ERROR)
        try:
            yield reply
        finally:
            # A body that was read to its end leaves the connection to the next request.
            if reply.closed or method == "HEAD":
                reply.release_conn()
            else:
                reply.close()

    def _count(self, started: float, *, is_error: bool) -> None:
        with self._lock:
            waited_s = self._stats.waited_s + time.monotonic() - started
            self._stats = RequestStats(self._stats.requests + 1, self._stats.errors + is_error, waited_s)

    def _require_status(self, reply: "_Reply | urllib3.BaseHTTPResponse", key: str, *, is_part: bool = False) -> None:
        """Raise unless a reply has what was asked for."""
        url = self.uri_of(key)
        if reply.status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise StorePermissionError(
                f"The server refuses {url} (status {reply.status}).",
                "Make the folder public; some hosts also answer so where an object is missing.",
            )
        if reply.status >= _SERVER_ERROR or reply.status in _BUSY:
            raise StoreUnavailableError(f"The server fails at {url} (status {reply.status}).", "Try again later.")
        if reply.status != (_PARTIAL if is_part else _OK):
            what = "sends no part of" if is_part else "does not send"
            raise StoreConfigError(f"The server {what} {url} (status {reply.status}).", _HOSTING)
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise StoreConfigError(f"The server compresses {url}, although nobody asked for that.", _HOSTING)


def _repeated(receive: Callable[[], _T]) -> _T:
    """Return what is received; a transfer that is cut off is repeated at once, because the server answers."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(StoreInterruptedError):
            return receive()
    return receive()


def _checked_address(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # its message may have a password
        raise ConfigurationError("The address of the lake has a host that cannot be one.", _LIKE) from None
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
        shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        raise ConfigurationError(
            f"{shown!r} is not the address of a lake: it needs a host, and no password, query or fragment.",
            _LIKE,
        )
    return address.rstrip("/")


def _pool_for(address: str) -> urllib3.PoolManager:
    """Return the connections to a server, through the proxy of the environment if it has one for it."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        try:
            return urllib3.ProxyManager(proxy, maxsize=PARALLEL_LOOKUPS, timeout=_TIMEOUT, retries=_RETRY)
        except HTTPError as error:  # its message may have the password of the proxy
            raise StoreConfigError(
                f"The proxy of the environment for {parts.scheme}:// cannot be used ({type(error).__name__}).",
                "Write it like http://proxy.example.org:3128, or name the server in NO_PROXY.",
            ) from None
    return urllib3.PoolManager(maxsize=PARALLEL_LOOKUPS, timeout=_TIMEOUT, retries=_RETRY)


def _blocks(reply: urllib3.BaseHTTPResponse, url: str, limit: int | None) -> Iterator[bytes]:
    """Yield the body of a reply.

    Raises:
        StoreCorruptionError: It is larger than ``limit``.
        StoreInterruptedError: It is cut off, or comes too slowly.
    """
    size = reply.headers.get("Content-Length", "")
    stated = int(size) if size.isdecimal() else 0
    if limit is not None and stated > limit:
        raise too_large(url, stated, limit)
    until = time.monotonic() + _LONGEST_S + stated / _SLOWEST_BYTES_S
    read = 0
    try:
        while block := reply.read(_BLOCK_BYTES, decode_content=False):
            read += len(block)
            if limit is not None and read > limit:
                raise too_large(url, read, limit)
            if time.monotonic() > until:
                raise StoreInterruptedError(f"{url} comes too slowly.", "Try again later.")
            yield block
    except HTTPError as error:
        raise StoreInterruptedError(f"{url} was cut off ({type(error).__name__}).", "Try again.") from error


def _tag_of(reply: "_Reply | urllib3.BaseHTTPResponse") -> str:
    return reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""


def _modified_utc(headers: Mapping[str, str]) -> datetime:
    try:
        return parsedate_to_datetime(headers["Last-Modified"]).astimezone(UTC)
    except (KeyError, ValueError):  # the server does not say
        return datetime.fromtimestamp(0, UTC)


def _unreachable(uri: str, error: HTTPError) -> ApexError:
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    return StoreUnavailableError(
        f"The lake {uri} cannot be reached ({type(cause).__name__}).",
        "Check the address, the network and the proxy (HTTPS_PROXY), then try again.",
    )
