"""Create botocore sessions: from given keys whatever the profiles say, else from what botocore finds.

Contains all uses of ``AWS_PROFILE``; see client.py and credentials.py for the clients, errors.py for the messages. The
sessions are botocore's own: boto3's do the same, and their import takes 0.06 s.
"""

import logging
import os
from contextlib import suppress
from datetime import datetime
from typing import Any

import botocore.exceptions as botocore_errors
import botocore.session
from botocore.hooks import HierarchicalEmitter
from botocore.utils import parse_timestamp

# Handlers of these libraries belong to how a client works.
_OWN_LIBRARIES = frozenset({"apex_pipeline", "boto3", "botocore", "s3transfer"})
# Replaces replies in tests.
_STUBBER = "botocore.stub"


class WatchedEvents(HierarchicalEmitter):
    """botocore's events, which note for what events someone else than these libraries adds handlers.

    Attributes:
        foreign: Those events; also of the clients that are created with these events.
    """

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def register(self, event_name: str, handler: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401  -- botocore's
        """Call the handler for this event."""
        self._note(event_name, handler)
        super().register(event_name, handler, *rest, **options)

    def register_first(self, event_name: str, handler: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401  -- as above
        """Call the handler for this event, before others."""
        self._note(event_name, handler)
        super().register_first(event_name, handler, *rest, **options)

    def register_last(self, event_name: str, handler: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401  -- as above
        """Call the handler for this event, after others."""
        self._note(event_name, handler)
        super().register_last(event_name, handler, *rest, **options)

    def _note(self, event_name: str, handler: Any) -> None:  # noqa: ANN401  -- anything that can be called
        function = getattr(handler, "func", handler)  # of a partial function
        module = str(getattr(function, "__module__", ""))
        if module.partition(".")[0] not in _OWN_LIBRARIES or module == _STUBBER:
            self.foreign.append(event_name)


def new_session(
    key_id: str | None, secret: str | None, token: str | None, region: str, events: WatchedEvents | None = None
) -> botocore.session.Session:
    """Return a session; given keys count, even if ``AWS_PROFILE`` is blank or names a profile that does not exist.

    botocore looks the profile up in any case, for other settings than keys, such as a CA bundle.

    Args:
        key_id: Access key ID; ``None`` lets botocore find the credentials.
        secret: Its secret.
        token: Session token of temporary credentials.
        region: Region of all requests.
        events: The events of the session.

    Raises:
        BotoCoreError: The profile or the configuration file cannot be used.
    """
    _unset_blank_variables()
    hooks: Any = events  # the stubs know no class of their own for it
    session = botocore.session.Session(event_hooks=hooks)
    profile: str | None = session.get_config_variable("profile")
    if profile is not None and not _is_usable(session, profile, has_key=key_id is not None):
        without_variable = (None, None, None, None)
        session = botocore.session.Session(session_vars={"profile": without_variable}, event_hooks=hooks)
    session.set_config_variable("region", region)
    parsers: Any = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_parse_time)
    if key_id is not None and secret is not None:
        session.set_credentials(key_id, secret, token)
    return session


def load_credentials(session: botocore.session.Session) -> str | None:
    """Load a session's credentials now, so that a failure is reported once, and return which provider has them.

    Returns:
        botocore's name of the provider, such as ``env``; ``None`` if there are no credentials.

    Raises:
        BotoCoreError: A profile, a process or a service does not provide them.
        ClientError: A service refuses to provide them.
        OSError: A file with credentials cannot be read.
        ValueError: A process does not print what it should.
    """
    # botocore logs a failure with its traceback, in addition to raising it.
    logger = logging.getLogger("botocore.credentials")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    credentials: Any = session.get_credentials()
    if credentials is None:
        return None
    credentials.get_frozen_credentials()
    return str(credentials.method)


def endpoint_of_environment() -> tuple[str, str] | None:
    """Return the address that boto3 finds in a variable of AWS, and its name; ``None`` without one."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if value := os.environ.get(name, "").strip():
            return value, name
    return None


def _parse_time(value: Any) -> datetime:  # noqa: ANN401  -- a text or a number, as botocore's
    """Return a time (aware); for 1,000 times of a listing, botocore's own parser takes 0.05 s."""
    try:
        time = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return parse_timestamp(value)
    return time if time.tzinfo is not None else parse_timestamp(value)


def _unset_blank_variables() -> None:
    """Unset AWS's own variables that are blank: botocore takes some as a path, a number or an address."""
    for name, value in list(os.environ.items()):
        if name.startswith("AWS_") and not value.strip():
            del os.environ[name]


def _is_usable(core: botocore.session.Session, profile: str, *, has_key: bool) -> bool:
    if not profile.strip():
        return False
    if has_key:
        with suppress(botocore_errors.BotoCoreError):  # raised and reported when the session is used
            return profile in core.available_profiles
    return True
