"""Read the lake's access key from AWS Secrets Manager, for machines that should not store it themselves.

Requests that one secret and explains each failure; see client.py for the use of the key and
storage/factory.py for when it is read from a secret. No request is sent before the first use.

Why not AWS's caching client: only one secret is read, and every error needs a next step.
"""

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions as botocore_errors
from botocore.config import Config

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.s3.sessions import load_credentials, new_session
from apex_pipeline.storage.s3.setting_checks import why_not_key

_KEY_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_ATTEMPTS = 8
_TIMEOUT_S = 10
_SHAPE = f'Store it as JSON: {{"{_KEY_ID}": "…", "{_SECRET}": "…"}}, plus "{_TOKEN}" for temporary keys.'
_CHECK_KEYS = "Check this process's role, profile or keys, which are used to read the secret."

# By error code. For any other code, the status decides between a server error and a wrong setting.
_REFUSALS: dict[str, tuple[type[ApexError], str, str]] = {
    "ResourceNotFoundException": (StoreConfigError, "there is no such secret", "Check APEX_SECRET_ID and AWS_REGION."),
    "InvalidRequestException": (StoreConfigError, "the secret is marked for deletion", "Restore it, or name another."),
    "AccessDeniedException": (
        StorePermissionError,
        "these credentials may not read it",
        "Grant secretsmanager:GetSecretValue on it (and kms:Decrypt, if it is encrypted with your own key).",
    ),
    "DecryptionFailure": (StorePermissionError, "it cannot be decrypted", "Grant kms:Decrypt on the secret's key."),
    "UnrecognizedClientException": (StoreAuthError, "the access key is unknown", _CHECK_KEYS),
    "InvalidSignatureException": (StoreAuthError, "the secret key does not belong to the access key", _CHECK_KEYS),
    "ExpiredTokenException": (StoreAuthError, "the credentials have expired", "Log in again, or get new ones."),
    "ThrottlingException": (StoreUnavailableError, "the service is throttling requests", "Run it again later."),
}
_SERVER_FAULT = 500  # this status and above are server errors


@dataclass(frozen=True)
class AccessKey:
    """Credentials for the store.

    Attributes:
        key_id: Access key ID.
        secret: Secret access key; not shown in ``repr``.
        token: Session token of temporary credentials; not shown in ``repr``.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SecretsManagerKey:
    """An access key stored in AWS Secrets Manager.

    Attributes:
        name: Name or ARN of the secret.
        region: AWS region of the secret.
        own_key: Credentials to read the secret with; ``None`` lets boto3 find a role or profile.
    """

    name: str
    region: str
    own_key: AccessKey | None = None

    @property
    def source(self) -> str:
        """Where the credentials come from, without their values."""
        return f"from Secrets Manager secret {self.name}"

    def read(self) -> AccessKey:
        """Read the secret and return the access key in it.

        Raises:
            StoreConfigError: The secret does not exist or does not contain an access key.
            StoreAuthError: The process has no credentials, or they were not accepted.
            StorePermissionError: The credentials are not allowed to read the secret.
            StoreUnavailableError: The service cannot be reached or is busy.
        """
        with self._errors(), _unlogged():
            reply = self._client().get_secret_value(SecretId=self.name)
        try:
            content = json.loads(reply.get("SecretString", ""))
        except (json.JSONDecodeError, RecursionError):
            # The cause contains the text of the secret, which would appear in tracebacks that show variables.
            raise self._problem(StoreConfigError, "it is not JSON", _SHAPE) from None
        return self._access_key(content)

    def _access_key(self, content: object) -> AccessKey:
        fields = content if isinstance(content, dict) else {}
        for name in (_KEY_ID, _SECRET):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise self._problem(StoreConfigError, f"it has no {name}", _SHAPE)
        token = fields.get(_TOKEN) or None
        for name, value in ((_KEY_ID, fields[_KEY_ID]), (_SECRET, fields[_SECRET]), (_TOKEN, token)):
            reason = why_not_key(None if value is None else str(value))
            if reason is not None:
                raise self._problem(StoreConfigError, f"its {name} is invalid: {reason}", _SHAPE)
        return AccessKey(fields[_KEY_ID], fields[_SECRET], None if token is None else str(token))

    def _client(self) -> Any:  # noqa: ANN401  -- boto3 creates the type at run time; stubs are installed for S3 only
        own = self.own_key
        key = (None, None, None) if own is None else (own.key_id, own.secret, own.token)
        session = new_session(*key, self.region)
        if own is None:
            load_credentials(session)
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
        )
        return session.create_client("secretsmanager", config=config)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except botocore_errors.ClientError as error:
            raise self._refused(error) from error
        except (botocore_errors.NoCredentialsError, botocore_errors.PartialCredentialsError) as error:
            raise self._problem(StoreAuthError, "no credentials were found to read it with", _CHECK_KEYS) from error
        except (botocore_errors.HTTPClientError, botocore_errors.ConnectionError) as error:
            what = f"Secrets Manager cannot be reached ({type(error).__name__})"
            raise self._problem(StoreUnavailableError, what, "Check the network, then run it again.") from error
        except botocore_errors.BotoCoreError as error:
            what = f"the request cannot be sent ({error})"
            raise self._problem(StoreConfigError, what, "Check APEX_SECRET_ID, AWS_REGION and AWS_PROFILE.") from error
        except (OSError, ValueError) as error:  # a file with credentials, or what a credential process prints
            what = f"the credentials to read it with cannot be loaded ({type(error).__name__})"
            raise self._problem(StoreAuthError, what, _CHECK_KEYS) from error

    def _refused(self, error: botocore_errors.ClientError) -> ApexError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _REFUSALS:
            kind, what, hint = _REFUSALS[code]
            return self._problem(kind, f"{what} ({code})", hint)
        if status >= _SERVER_FAULT:
            return self._problem(StoreUnavailableError, f"the service failed ({code})", "Run it again later.")
        return self._problem(StoreConfigError, f"the request was refused ({code})", "Check APEX_SECRET_ID.")

    def _problem(self, kind: type[ApexError], what: str, hint: str) -> ApexError:
        return kind(f"The secret {self.name} in {self.region} cannot be used: {what}.", hint)


@contextmanager
def _unlogged() -> Generator[None]:
    """Keep botocore from logging the reply: at level DEBUG it logs the body, which contains the secret."""
    logger = logging.getLogger("botocore.parsers")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = was_disabled
