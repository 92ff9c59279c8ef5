"""The list of sources: found by name, registered once, and one identity per file."""

from dataclasses import replace

import pytest

from apex_pipeline import sources
from apex_pipeline.errors import ConfigurationError, PermanentError
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline_tests.sources.toy import PitStops

_PATH = "spa/R1/pit_stops.csv"


class OtherPitStops(PitStops):
    """Recognises the same files."""

    name = "other_pit_stops"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> list[PitStops]:
    added: list[PitStops] = []
    monkeypatch.setattr(sources, "_registered", added)
    return added


def identify(*paths: str) -> list[FileIdentity]:
    files = [FoundFile(path, 9, lambda _: b"car,lap\n1,2\n") for path in paths]
    return sources.identify_files(files, load_settings())


def test_an_unknown_source_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigurationError, match=r"no source 'f1'; the sources are: gr_cup"):
        sources.source_named("f1")


def test_a_lake_without_source_names_belongs_to_the_first_source() -> None:
    assert [source.name for source in sources.sources_named([])] == ["gr_cup"]


def test_a_source_is_registered_once() -> None:
    sources.register(PitStops())
    with pytest.raises(ConfigurationError, match="pit_stops exists already"):
        sources.register(PitStops())


def test_a_table_belongs_to_one_source() -> None:
    sources.register(PitStops())
    with pytest.raises(ConfigurationError, match="pit_stops exists already"):
        sources.register(OtherPitStops())


def test_a_file_gets_the_identity_of_the_source_that_can_use_it() -> None:
    sources.register(PitStops())
    (identity,) = identify(_PATH)
    assert (identity.source, identity.status) == ("pit_stops", FileStatus.READY)


def test_a_file_that_no_source_recognises_has_no_source() -> None:
    (identity,) = identify("spa/R1/holiday.csv")
    assert (identity.source, identity.status) == ("", FileStatus.UNRESOLVED)


def test_a_file_that_two_sources_can_use_is_used_by_neither(registered: list[PitStops]) -> None:
    registered += [PitStops(), OtherPitStops()]
    (identity,) = identify(_PATH)
    assert identity.status is FileStatus.UNRESOLVED
    assert identity.reason == "pit_stops and other_pit_stops both recognise it"


def test_a_file_that_a_source_leaves_out_is_still_listed(
    registered: list[PitStops], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "all_sources", lambda: (PitStops(),))
    (identity,) = identify("spa/R1/notes.csv")
    assert (identity.kind, identity.reason) == ("unknown", "no source recognises it")


def test_a_file_whose_session_is_not_a_valid_key_is_not_used(
    registered: list[PitStops], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(PitStops):
        def identify(self, files: object, rules: object) -> list[FileIdentity]:
            return [replace(item, session="..") for item in super().identify(files, None)]  # type: ignore[arg-type]

    registered.append(Careless())
    (identity,) = identify(_PATH)
    assert (identity.status, identity.session) == (FileStatus.UNRESOLVED, None)


def test_an_exception_in_a_source_names_the_source(registered: list[PitStops], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[FileIdentity]:
        raise KeyError("x")

    monkeypatch.setattr(PitStops, "identify", fail)
    registered.append(PitStops())
    with pytest.raises(PermanentError, match="source pit_stops failed to identify files: KeyError: 'x'"):
        identify(_PATH)


def test_an_error_of_the_rules_is_reported_as_it_is(
    registered: list[PitStops], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConfigurationError("The rules are invalid.", "Correct them.")

    monkeypatch.setattr(PitStops, "load_rules", fail)
    registered.append(PitStops())
    with pytest.raises(ConfigurationError, match="The rules are invalid"):
        identify(_PATH)


@pytest.mark.parametrize("missing", ["track", "session"])
def test_a_ready_file_needs_a_track_for_its_session(
    registered: list[PitStops], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(PitStops):
        def identify(self, files: object, rules: object) -> list[FileIdentity]:
            return [replace(item, **{missing: None}) for item in super().identify(files, None)]  # type: ignore[arg-type]

    registered.append(Careless())
    (identity,) = identify(_PATH)
    assert identity.status is (FileStatus.UNRESOLVED if missing == "track" else FileStatus.READY)
    assert identity.session is None


@pytest.mark.parametrize("name", ["pit stops", "Pit", "laps", ""])
def test_a_name_that_dagster_cannot_use_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PitStops, "name", name)
    with pytest.raises(ConfigurationError, match="cannot be registered"):
        sources.register(PitStops())


def test_a_table_that_is_listed_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PitStops, "required_tables", PitStops.required_tables * 2)
    with pytest.raises(ConfigurationError, match="a table is listed twice"):
        sources.register(PitStops())
