"""Settings: environment variables, accepted spellings, defaults, and error messages that name the variable."""

import re
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import environment_variables, load_settings, setting_sources

_PROJECT = Path(__file__).resolve().parents[1]


def _example_variables() -> dict[str, tuple[str, str]]:
    """Return the variables in ``.env.example``: name → (comment above it, value)."""
    variables: dict[str, tuple[str, str]] = {}
    comment = ""
    for line in (_PROJECT / ".env.example").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment = line.lstrip("# ")
        elif match := re.fullmatch(r"([A-Z0-9_]+)=(.*)", line):
            variables[match[1]] = (comment, match[2])
    return variables


@pytest.mark.req("A-003", "A-005", "A-007")
def test_without_variables_the_lake_is_local_and_has_the_defaults() -> None:
    settings = load_settings()
    assert settings.use_s3_data is False
    assert settings.bucket == "apex-racing-data"
    assert settings.aws_region == "us-east-1"


@pytest.mark.req("A-004")
@pytest.mark.parametrize("value", ["true", "TRUE", "True", "1", "yes", "on"])
def test_every_true_value_switches_to_s3(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("USE_S3_DATA", value)
    assert load_settings().use_s3_data is True


@pytest.mark.req("A-004")
@pytest.mark.parametrize("value", ["false", "FALSE", "0", "no", "off", ""])
def test_every_false_value_stays_local(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("USE_S3_DATA", value)
    assert load_settings().use_s3_data is False


@pytest.mark.req("A-004")
def test_another_value_is_refused_with_the_variable_and_accepted_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    with pytest.raises(ConfigurationError, match=r"USE_S3_DATA: 'maybe' .* accepted: true, 1, yes, on, false"):
        load_settings()


def test_all_invalid_variables_are_reported_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    monkeypatch.setenv("APEX_MEMORY_LIMIT", "plenty")
    with pytest.raises(ConfigurationError, match=r"USE_S3_DATA.*APEX_MEMORY_LIMIT"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("1GB", 10**9), ("1GiB", 2**30), ("1.5g", 1_500_000_000), ("700000000", 7 * 10**8)],
)
def test_a_size_may_have_the_usual_units(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("APEX_MEMORY_LIMIT", text)
    assert load_settings().memory_limit == size


def test_a_memory_limit_too_small_for_any_conversion_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_MEMORY_LIMIT", "1MB")
    with pytest.raises(ConfigurationError, match="APEX_MEMORY_LIMIT"):
        load_settings()


@pytest.mark.req("A-007")
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_both_variables_for_the_region_are_read(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "eu-west-3")
    assert load_settings().aws_region == "eu-west-3"


@pytest.mark.req("A-008")
def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("S3_BUCKET_NAME=from-file\nAPEX_LAKE_DIR=file-lake\n", encoding="utf-8")
    monkeypatch.setenv("S3_BUCKET_NAME", "from-environment")
    settings = load_settings()
    assert (settings.bucket, str(settings.lake_dir)) == ("from-environment", "file-lake")


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    assert "do-not-show" not in repr(load_settings())


def test_slashes_around_a_prefix_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_LAKE_PREFIX", "/season/2025/")
    assert load_settings().lake_prefix == "season/2025"


@pytest.mark.req("A-008", "A-111")
def test_the_example_file_lists_every_variable_with_its_help() -> None:
    example = {name: comment for name, (comment, _) in _example_variables().items()}
    assert example == {name: text for name, (_, text) in environment_variables().items()}


@pytest.mark.req("A-008", "K-04")
def test_an_unchanged_copy_of_the_example_file_gives_the_defaults() -> None:
    defaults = load_settings()
    Path(".env").write_text((_PROJECT / ".env.example").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_settings() == defaults


@pytest.mark.req("A-121")
def test_every_variable_that_is_set_is_reported_with_its_effective_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("S3_BUCKET_NAME=races\nAPEX_LAKE_DIR=lake\nAPEX_SECRET_ID=\nHOME=x\n", encoding="utf-8")
    monkeypatch.setenv("APEX_LAKE_DIR", "other")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert setting_sources() == {
        "APEX_LAKE_DIR": "environment",
        "AWS_DEFAULT_REGION": "environment",
        "S3_BUCKET_NAME": str(Path(".env").absolute()),
    }


def test_variables_are_known_in_any_case_and_the_names_of_fields_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("s3_bucket_name", "lower-case")
    monkeypatch.setenv("LAKE_PREFIX", "of-another-program")
    settings = load_settings()
    assert (settings.bucket, settings.lake_prefix) == ("lower-case", "")


def test_a_blank_variable_does_not_hide_that_of_the_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("S3_BUCKET_NAME=from-file\nAPEX_LAKE_PREFIX=\n", encoding="utf-8")
    monkeypatch.setenv("S3_BUCKET_NAME", "  ")
    assert load_settings().bucket == "from-file"
