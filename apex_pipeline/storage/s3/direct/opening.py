"""Opens the client for objects of a bucket next to botocore's, with the certificates and proxies of its session."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.utils import get_environ_proxies

from apex_pipeline.storage.s3.direct.addressing import learn_addressing
from apex_pipeline.storage.s3.direct.capability import reason_for_botocore
from apex_pipeline.storage.s3.direct.client import DirectClient
from apex_pipeline.storage.s3.direct.connections import Connections

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)


def open_direct_client(
    session: botocore.session.Session, client: "S3Client", bucket: str, foreign_handlers: Sequence[str]
) -> DirectClient | None:
    """Return a client for the objects of a bucket; ``None`` if botocore must send the requests. Nothing is sent.

    Args:
        session: The session that created the client.
        client: botocore's client, which no other thread may be using yet.
        bucket: Name of the bucket.
        foreign_handlers: Events of the client that someone else handles.
    """
    config: Any = client.meta.config
    proxies: Mapping[str, str] = get_environ_proxies(client.meta.endpoint_url)
    addressing = learn_addressing(client, bucket)
    reason = reason_for_botocore(bucket, config, addressing, proxies, session.get_scoped_config(), foreign_handlers)
    if reason is not None or addressing is None:
        _LOG.debug("botocore sends the requests for objects of %s: %s.", bucket, reason)
        return None
    start = addressing.start
    connections = Connections(start, config, _certificates(session), proxies.get(start.partition(":")[0]))
    return DirectClient(client, bucket, addressing, connections)


def _certificates(session: botocore.session.Session) -> str | bool:
    """Return what botocore verifies certificates with: a file, or ``True`` for its own."""
    found: Any = session.get_config_variable("ca_bundle")
    return found or os.environ.get("REQUESTS_CA_BUNDLE") or True
