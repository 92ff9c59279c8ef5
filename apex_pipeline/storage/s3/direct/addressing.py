"""Learns from botocore how it addresses and signs the requests for one bucket.

Contains what botocore decides once per bucket: address, region, signer. It prepares one request, which is stopped
before it is signed and never sent; see client.py for the requests that follow its example.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.utils import percent_encode

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3 import S3Client

_EVENT: Final = "before-sign.s3.HeadObject"
_SAMPLE_KEY: Final = "sample"
_SIGNATURE: Final = "s3v4"
# botocore's own set for keys.
_SAFE: Final = "/~"
# Headers that botocore's signer leaves out, as proxies may change them.
_UNSIGNED: Final = frozenset({"User-Agent", "X-Amzn-Trace-Id"})
# Settings of a signature that only botocore knows how to follow: sessions of directory buckets, other credentials.
_UNUSUAL_SIGNING: Final = frozenset({"identity_cache", "cache_key", "request_credentials"})


@dataclass(frozen=True)
class Addressing:
    """How botocore addresses and signs requests for the objects of a bucket.

    Attributes:
        start: URL up to the key, with the slash before it.
        headers: Headers of every request that are not signed, such as the user agent.
        signed_headers: Headers of every request that are signed, such as the host.
        signer: botocore's signer with the client's credentials, which it renews.
        region: Region that is signed for.
        service: Service that is signed for.
    """

    start: str
    headers: Mapping[str, str]
    signed_headers: Mapping[str, str]
    signer: Any
    region: str
    service: str

    def url(self, key: str) -> str:
        """Return the URL of an object."""
        return self.start + percent_encode(key, safe=_SAFE)

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, config: object) -> AWSRequest:
        """Return a request, signed with the current credentials, without the headers that are not signed.

        Args:
            method: ``PUT``, ``HEAD`` or ``GET``.
            url: From :meth:`url`.
            headers: Its own headers.
            body: Its body.
            config: The client's configuration; it says whether the body is signed.

        Raises:
            BotoCoreError: There are no credentials, or they cannot be renewed.
        """
        request = AWSRequest(method, url, {**self.signed_headers, **headers}, body)
        request.context["client_config"] = config
        signature = self.signer.get_auth_instance(
            signing_name=self.service, region_name=self.region, signature_version=_SIGNATURE
        )
        signature.add_auth(request)
        return request


class _StoppedError(Exception):
    """Stops botocore before it signs."""

    def __init__(self, request: AWSRequest, signer: object, signature: object) -> None:
        super().__init__()
        self.request, self.signer, self.signature = request, signer, signature


def learn_addressing(client: "S3Client", bucket: str) -> Addressing | None:
    """Return how this client sends requests; ``None`` if only botocore can do it, or says why it cannot.

    The client must not be in use by other threads yet.

    Args:
        client: The client; its events are as before afterwards.
        bucket: Name of the bucket.
    """
    client.meta.events.register(_EVENT, _stop)
    try:
        client.head_object(Bucket=bucket, Key=_SAMPLE_KEY)
    except _StoppedError as stopped:
        return _read(stopped)
    except (BotoCoreError, ValueError):  # raised again, and explained, by the first request
        return None
    finally:
        client.meta.events.unregister(_EVENT, _stop)
    return None


def _stop(request: AWSRequest, request_signer: object, signature_version: object, **_: object) -> NoReturn:
    raise _StoppedError(request, request_signer, signature_version)


def _read(stopped: _StoppedError) -> Addressing | None:
    request, url = stopped.request, str(stopped.request.url)
    signing = request.context.get("signing", {})
    region, service = signing.get("region"), signing.get("signing_name")
    if (
        stopped.signature != _SIGNATURE
        or not isinstance(region, str)
        or not isinstance(service, str)
        or not _UNUSUAL_SIGNING.isdisjoint(signing)
        or not url.endswith(f"/{_SAMPLE_KEY}")
    ):
        return None
    headers = {name: _text(value) for name, value in request.headers.items()}
    # botocore's signer works the host out twice for each request that does not name it.
    signed = {"Host": _host_of(url), **{name: value for name, value in headers.items() if name not in _UNSIGNED}}
    unsigned = {name: value for name, value in headers.items() if name in _UNSIGNED}
    return Addressing(url.removesuffix(_SAMPLE_KEY), unsigned, signed, stopped.signer, region, service)


def _host_of(url: str) -> str:
    """Return the host as HTTP wants it: without the usual port."""
    parts = urlsplit(url)
    return parts.netloc.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
