"""Says in plain words what is wrong with the settings: misspelled variables, and values that are not accepted.

See ``settings.py`` for the variables.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

# Variables that tests, compiled code and the files in deploy/ read themselves.
_OTHERS = frozenset(
    {
        *("APEX_BROKER_URL", "APEX_CODE_HOST", "APEX_CODE_PORT", "APEX_DEBUG", "APEX_HYPOTHESIS_PROFILE"),
        *("APEX_LOG_BUCKET", "APEX_READ_LAKE", "APEX_REAL_DATA", "APEX_WEB_PORT"),
    }
)
# Variables that boto3 reads; the most used ones, which a misspelling may mean.
_OF_AWS = frozenset(
    {
        *("AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_DEFAULT_OUTPUT"),
        *("AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED", "AWS_ENDPOINT_URL"),
        *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_MAX_ATTEMPTS", "AWS_PROFILE", "AWS_RETRY_MODE"),
        *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        # Of older tools; boto3 ignores them.
        *("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SECURITY_TOKEN"),
    }
)
_PREFIXES = ("APEX_", "S3_", "AWS_")
# APEX_LAKE_DIRR is 0.97 like APEX_LAKE_DIR, S3_BUCKET, which other programs read, 0.78 like S3_BUCKET_NAME.
_PREFIXED, _UNPREFIXED = 0.83, 0.88

_WORDS = {
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "string_too_short": "has fewer than {min_length} characters",
    "literal_error": "is none of {expected}",
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "path_type": "is not a path",
    "string_type": "is not text",
}


def misspelled(names: Iterable[str], settings: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    """Return the variables that are probably misspelled settings: name → setting.

    Args:
        names: Variables that are set, in upper case.
        settings: Names of all settings.
        given: Settings that have a value; a similar name next to them belongs to another program.
    """
    settings = sorted({*settings, *_OF_AWS})
    known = {*settings, *_OTHERS}
    likely: dict[str, str] = {}
    for name in names:
        if name in known:
            continue
        close = _closest(name, tuple(settings))
        if close is not None and close not in given:
            likely[name] = close
    return likely


# A sync reads its settings fifty times, and comparing thirty names with eighty takes 15 ms.
@lru_cache(maxsize=256)
def _closest(name: str, settings: tuple[str, ...]) -> str | None:
    cutoff = _PREFIXED if name.startswith(_PREFIXES) else _UNPREFIXED
    # Names of too different lengths cannot be as close; comparing them all takes each process 15 ms.
    alike = [known for known in settings if 2 * min(len(name), len(known)) >= cutoff * (len(name) + len(known))]
    return next(iter(get_close_matches(name, alike, 1, cutoff)), None)


def reason_in_words(entry: Mapping[str, Any]) -> str:
    """Return why a value is not accepted, as the end of ``VARIABLE: …``.

    Args:
        entry: An error of pydantic, as in ``ValidationError.errors()``.
    """
    words = _WORDS.get(entry["type"])
    if words is None:
        return str(entry["msg"]).removeprefix("Value error, ")
    limits = {name: str(value).replace("'", "").replace(" or ", ", ") for name, value in entry.get("ctx", {}).items()}
    return f"{entry['input']!r} {words.format(**limits)}"
