"""The lake's access key out of AWS Secrets Manager, for machines that should not hold it themselves.

Here belongs reading that one secret, and what is said when it cannot be read. Not here: what the key is used for
(``client.py``) and when a secret is asked for at all (``storage/factory.py``). Nothing is asked before the first use.

Why not the caching client of AWS: one secret is read, and what matters is that each refusal names its next step.
"""

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.exceptions as botocore_errors
from botocore.config import Config

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    StoreUnavailableError,
)

_KEY_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_ATTEMPTS = 8
_TIMEOUT_S = 10
_SHAPE = f'Store it as JSON: {{"{_KEY_ID}": "…", "{_SECRET}": "…"}}, with "{_TOKEN}" for temporary ones.'
_CHECK_KEYS = "Check the role, profile or keys that this process has by itself: they ask for the secret."

# By code of the reply; what is not here is the service's own trouble or a wrong setting, told apart by the status.
_REFUSALS: dict[str, tuple[type[ApexError], str, str]] = {
    "ResourceNotFoundException": (StoreConfigError, "there is no such secret", "Check APEX_SECRET_ID and AWS_REGION."),
    "InvalidRequestException": (StoreConfigError, "the secret is marked for deletion", "Restore it, or name another."),
    "AccessDeniedException": (
        StorePermissionError,
        "it may not be read with these credentials",
        "Grant secretsmanager:GetSecretValue on it (and kms:Decrypt, if it has a key of its own).",
    ),
    "DecryptionFailure": (StorePermissionError, "it cannot be decrypted", "Grant kms:Decrypt on the secret's key."),
    "UnrecognizedClientException": (StoreAuthError, "the access key is not known", _CHECK_KEYS),
    "InvalidSignatureException": (StoreAuthError, "the secret key does not belong to the access key", _CHECK_KEYS),
    "ExpiredTokenException": (StoreAuthError, "the credentials have expired", "Log in again, or get new ones."),
    "ThrottlingException": (StoreUnavailableError, "the service asks to slow down", "Run it again later."),
}
_SERVER_FAULT = 500  # statuses from here on are the service's own fault


@dataclass(frozen=True)
class AccessKey:
    """Credentials for the store.

    Attributes:
        key_id: The public half.
        secret: The secret half; not shown in ``repr``.
        token: With temporary credentials only; not shown in ``repr``.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SecretsManagerKey:
    """An access key that is kept in AWS Secrets Manager.

    Attributes:
        name: Name or ARN of the secret.
        region: Where it is.
        own_key: What to ask with; ``None`` lets boto3 look for a role or profile.
    """

    name: str
    region: str
    own_key: AccessKey | None = None

    @property
    def source(self) -> str:
        """Where the credentials come from, never what they are."""
        return f"from Secrets Manager secret {self.name}"

    def read(self) -> AccessKey:
        """Ask for the secret and return the key in it.

        Raises:
            StoreConfigError: There is no such secret, or it holds no access key.
            StoreAuthError: The process has no credentials to ask with, or they are not believed.
            StorePermissionError: They may not read the secret.
            StoreUnavailableError: The service cannot be reached or is busy.
        """
        with self._errors(), _unlogged():
            reply = self._client().get_secret_value(SecretId=self.name)
        try:
            content = json.loads(reply.get("SecretString", ""))
        except json.JSONDecodeError:
            # The cause would carry the text of the secret into every traceback that shows variables.
            raise self._problem(StoreConfigError, "it is not JSON", _SHAPE) from None
        return self._access_key(content)

    def _access_key(self, content: object) -> AccessKey:
        fields = content if isinstance(content, dict) else {}
        for name in (_KEY_ID, _SECRET):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise self._problem(StoreConfigError, f"it has no {name}", _SHAPE)
        return AccessKey(fields[_KEY_ID], fields[_SECRET], fields.get(_TOKEN) or None)

    def _client(self) -> Any:  # noqa: ANN401  -- boto3 makes the type at run time; stubs are installed for S3 only
        own = self.own_key
        session = boto3.Session(
            aws_access_key_id=None if own is None else own.key_id,
            aws_secret_access_key=None if own is None else own.secret,
            aws_session_token=None if own is None else own.token,
            region_name=self.region,
        )
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
        )
        return session.client("secretsmanager", config=config)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except botocore_errors.ClientError as error:
            raise self._refused(error) from error
        except (botocore_errors.NoCredentialsError, botocore_errors.PartialCredentialsError) as error:
            raise self._problem(StoreAuthError, "there are no credentials to ask for it with", _CHECK_KEYS) from error
        except (botocore_errors.HTTPClientError, botocore_errors.ConnectionError) as error:
            what = f"Secrets Manager cannot be reached ({type(error).__name__})"
            raise self._problem(StoreUnavailableError, what, "Check the network, then run it again.") from error
        except botocore_errors.BotoCoreError as error:
            what = f"it cannot be asked for ({error})"
            raise self._problem(StoreConfigError, what, "Check APEX_SECRET_ID, AWS_REGION and AWS_PROFILE.") from error

    def _refused(self, error: botocore_errors.ClientError) -> ApexError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _REFUSALS:
            kind, what, remedy = _REFUSALS[code]
            return self._problem(kind, f"{what} ({code})", remedy)
        if status >= _SERVER_FAULT:
            return self._problem(StoreUnavailableError, f"the service has a problem ({code})", "Run it again later.")
        return self._problem(StoreConfigError, f"the request was refused ({code})", "Check APEX_SECRET_ID.")

    def _problem(self, kind: type[ApexError], what: str, remedy: str) -> ApexError:
        return kind(f"The secret {self.name} in {self.region} cannot be used: {what}.", remedy)


@contextmanager
def _unlogged() -> Generator[None]:
    """Keep botocore from logging the reply: at level DEBUG it writes whole bodies, and this one is the secret."""
    logger = logging.getLogger("botocore.parsers")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = was_disabled
