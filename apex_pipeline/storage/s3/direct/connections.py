"""Keeps the connections to a store open between requests, with botocore's certificates, proxies and time limits.

Contains the pool of urllib3, and the translation of its errors into botocore's, which errors.py explains and botocore's
rules for retries know. See client.py for the requests.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions as urllib3_errors
from botocore import exceptions as botocore_errors
from botocore.config import Config
from botocore.httpsession import create_urllib3_context, get_cert_path
from urllib3.util import Retry, Timeout

# The same as botocore: chunks of 16 KiB, the default, cost processor time.
_BLOCK_BYTES: Final = 128 * 1024
_FIRST_FAILURE: Final = 300
# botocore's rules decide about every retry.
_NO_RETRIES: Final = Retry(False)


class Connections:
    """The open connections to one address. Safe to share between threads, and with processes that fork.

    Args:
        start: Any URL of the store.
        config: Time limits and the number of connections that are kept.
        verify: What botocore verifies certificates with: a file, ``True`` for its own, or ``False`` for nothing.
        proxy: Address of a proxy without a user, if requests go through one.
    """

    def __init__(self, start: str, config: Config, verify: str | bool, proxy: str | None) -> None:  # noqa: FBT001  -- botocore's
        self._start = start
        self._proxy = proxy if proxy is None or "://" in proxy else f"http://{proxy.removeprefix('//')}"
        # A proxy is told the entire URL, unless the connection through it is encrypted.
        sends_url = proxy is not None and start.startswith("http:")
        self._skipped = 0 if sends_url else len(start) - len(urlsplit(start).path)
        self._options: dict[str, Any] = {
            "timeout": Timeout(connect=_setting(config, "connect_timeout"), read=_setting(config, "read_timeout")),
            "maxsize": _setting(config, "max_pool_connections"),
            "blocksize": _BLOCK_BYTES,
        }
        if start.startswith("https:"):
            certificates: Any = get_cert_path  # the stubs do not know that it takes a file
            self._options |= {
                "ssl_context": create_urllib3_context(),
                "cert_reqs": "CERT_REQUIRED" if verify else "CERT_NONE",
                "ca_certs": certificates(verify) if verify else None,
            }
        self._pool, self._process_id = self._new_pool(), os.getpid()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, is_streamed: bool
    ) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        """Send a request and return the reply with its body, which is empty and not received yet if it is streamed.

        Raises:
            BotoCoreError: There is no reply, as botocore would raise.
        """
        if self._process_id != os.getpid():  # the connections belong to the process that this one was forked from
            self._pool, self._process_id = self._new_pool(), os.getpid()
        try:
            reply = self._pool.urlopen(
                method,
                url[self._skipped :],
                body=body,
                headers=headers,
                retries=_NO_RETRIES,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,
            )
            is_received = not is_streamed or reply.status >= _FIRST_FAILURE
            content = reply.data if is_received else b""
        except (urllib3_errors.HTTPError, OSError, ValueError) as error:
            raise self._translated(error, url) from error
        return reply, content

    def _new_pool(self) -> urllib3.HTTPConnectionPool:
        if self._proxy is None:
            return urllib3.PoolManager(**self._options).connection_from_url(self._start)
        return urllib3.proxy_from_url(self._proxy, **self._options).connection_from_url(self._start)

    def _translated(self, error: Exception, url: str) -> Exception:  # noqa: PLR0911  -- one for each of botocore's types
        """Return the error that botocore raises for this one."""
        match error:
            case urllib3_errors.SSLError() | ssl.SSLError():
                return botocore_errors.SSLError(endpoint_url=url, error=error)
            case urllib3_errors.NewConnectionError() | socket.gaierror():
                return botocore_errors.EndpointConnectionError(endpoint_url=url, error=error)
            case urllib3_errors.ProxyError():
                return botocore_errors.ProxyConnectionError(proxy_url=self._proxy or "", error=error)
            case urllib3_errors.ConnectTimeoutError():
                return botocore_errors.ConnectTimeoutError(endpoint_url=url, error=error)
            case urllib3_errors.ReadTimeoutError():
                return botocore_errors.ReadTimeoutError(endpoint_url=url, error=error)
            case urllib3_errors.ProtocolError():
                return botocore_errors.ConnectionClosedError(endpoint_url=url, error=error, request=None)
            case _:
                return botocore_errors.HTTPClientError(error=error)


def _setting(config: Config, name: str) -> Any:  # noqa: ANN401  -- the stubs do not know the attributes
    return getattr(config, name)
