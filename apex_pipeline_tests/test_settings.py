"""Settings: every variable once, the switch in all its spellings, messages that name what is wrong."""

import re
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import environment_variables, load_settings, setting_sources

_PROJECT = Path(__file__).resolve().parents[1]


def _example_variables() -> dict[str, tuple[str, str]]:
    """Read ``.env.example``: name → (comment above it, value)."""
    variables: dict[str, tuple[str, str]] = {}
    comment = ""
    for line in (_PROJECT / ".env.example").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment = line.lstrip("# ")
        elif match := re.fullmatch(r"([A-Z0-9_]+)=(.*)", line):
            variables[match[1]] = (comment, match[2])
    return variables


@pytest.mark.req("A-003", "A-005", "A-007")
def test_without_any_variable_the_lake_is_local_and_names_the_defaults() -> None:
    settings = load_settings()
    assert settings.use_s3_data is False
    assert settings.bucket == "apex-racing-data"
    assert settings.aws_region == "us-east-1"


@pytest.mark.req("A-004")
@pytest.mark.parametrize("word", ["true", "TRUE", "True", "1", "yes", "on"])
def test_every_word_for_yes_switches_to_s3(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("USE_S3_DATA", word)
    assert load_settings().use_s3_data is True


@pytest.mark.req("A-004")
@pytest.mark.parametrize("word", ["false", "FALSE", "0", "no", "off", ""])
def test_every_word_for_no_stays_local(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("USE_S3_DATA", word)
    assert load_settings().use_s3_data is False


@pytest.mark.req("A-004")
def test_another_word_is_refused_by_naming_the_variable_and_the_accepted_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    with pytest.raises(ConfigurationError, match=r"USE_S3_DATA: 'maybe' .* accepted: true, 1, yes, on, false"):
        load_settings()


def test_all_wrong_variables_are_named_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    monkeypatch.setenv("APEX_MEMORY_LIMIT", "plenty")
    with pytest.raises(ConfigurationError, match=r"USE_S3_DATA.*APEX_MEMORY_LIMIT"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("1GB", 10**9), ("1GiB", 2**30), ("1.5g", 1_500_000_000), ("700000000", 7 * 10**8)],
)
def test_a_size_is_read_in_the_usual_spellings(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("APEX_MEMORY_LIMIT", text)
    assert load_settings().memory_limit == size


def test_a_memory_limit_no_conversion_can_work_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_MEMORY_LIMIT", "1MB")
    with pytest.raises(ConfigurationError, match="APEX_MEMORY_LIMIT"):
        load_settings()


@pytest.mark.req("A-007")
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_both_spellings_of_the_region_are_read(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "eu-west-3")
    assert load_settings().aws_region == "eu-west-3"


@pytest.mark.req("A-008")
def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("S3_BUCKET_NAME=from-file\nAPEX_LAKE_DIR=file-lake\n", encoding="utf-8")
    monkeypatch.setenv("S3_BUCKET_NAME", "from-environment")
    settings = load_settings()
    assert (settings.bucket, str(settings.lake_dir)) == ("from-environment", "file-lake")


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    assert "do-not-tell" not in repr(load_settings())


def test_a_prefix_carries_no_slashes_at_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_LAKE_PREFIX", "/season/2025/")
    assert load_settings().lake_prefix == "season/2025"


@pytest.mark.req("A-008", "A-111")
def test_the_example_file_lists_exactly_the_variables_that_are_read_with_their_help() -> None:
    example = {name: comment for name, (comment, _) in _example_variables().items()}
    assert example == {name: text for name, (_, text) in environment_variables().items()}


@pytest.mark.req("A-008", "K-04")
def test_the_example_file_copied_as_it_is_gives_the_defaults() -> None:
    defaults = load_settings()
    Path(".env").write_text((_PROJECT / ".env.example").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_settings() == defaults


@pytest.mark.req("A-121")
def test_every_variable_that_is_set_is_told_with_the_place_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("S3_BUCKET_NAME=races\nAPEX_LAKE_DIR=lake\nAPEX_SECRET_ID=\nHOME=x\n", encoding="utf-8")
    monkeypatch.setenv("APEX_LAKE_DIR", "other")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert setting_sources() == {
        "APEX_LAKE_DIR": "environment",
        "AWS_DEFAULT_REGION": "environment",
        "S3_BUCKET_NAME": str(Path(".env").absolute()),
    }
