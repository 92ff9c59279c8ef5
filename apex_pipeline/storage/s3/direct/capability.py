"""Decides whether the requests for objects can be sent without botocore; the only place that does.

Contains one function with every reason against it; see client.py for replies that only botocore understands.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.utils import ensure_boolean

from apex_pipeline.storage.s3.direct.addressing import Addressing

# Access points, object lambdas and directory buckets have buckets' names, but other addresses and signatures.
_SPECIAL_BUCKETS: Final = ("-s3alias", "--ol-s3", "--x-s3")
# Each changes addresses, signatures or connections in a way that is botocore's to know.
_UNUSUAL_SETTINGS: Final = ("client_cert", "proxies_config", "tcp_keepalive")
_UNUSUAL_S3_SETTINGS: Final = ("use_accelerate_endpoint", "use_dualstack_endpoint")
# The same two and FIPS, set in the environment or in a profile, show in the address only.
_UNUSUAL_HOSTS: Final = ("s3-accelerate.", ".dualstack.", "s3-fips.")


def reason_for_botocore(
    bucket: str,
    config: Config,
    addressing: Addressing | None,
    proxies: Mapping[str, str],
    profile: Mapping[str, object],
    foreign_handlers: Sequence[str],
) -> str | None:
    """Return why requests must go through botocore; ``None`` if they need not.

    Args:
        bucket: Name or ARN of the bucket.
        config: Configuration of the client.
        addressing: How botocore sends its requests; ``None`` if that cannot be imitated.
        proxies: Proxies by the scheme of the address, those of the environment included.
        profile: Settings of the profile in AWS's configuration file.
        foreign_handlers: Events of the client that someone else handles.
    """
    s3_settings: Mapping[str, object] = getattr(config, "s3", None) or {}
    reason = None
    if foreign_handlers:
        reason = f"someone handles the event {foreign_handlers[0]}"
    elif bucket.startswith("arn:") or bucket.endswith(_SPECIAL_BUCKETS):
        reason = "the bucket is an access point or a directory bucket"
    elif unusual := [
        *(name for name in _UNUSUAL_SETTINGS if getattr(config, name, None)),
        *(name for name in _UNUSUAL_S3_SETTINGS if s3_settings.get(name)),
        *(name for name in _UNUSUAL_SETTINGS if ensure_boolean(profile.get(name, False))),
    ]:
        reason = f"{unusual[0]} is set"
    elif s3_settings.get("payload_signing_enabled") is not False:
        reason = "the bodies are signed"
    elif addressing is None:
        reason = "the requests are not signed as usual"
    elif unusual := [host for host in _UNUSUAL_HOSTS if host in urlsplit(addressing.start).netloc]:
        reason = f"the address contains {unusual[0]}"
    elif "@" in proxies.get(urlsplit(addressing.start).scheme, ""):
        reason = "the proxy asks for a user"
    return reason
