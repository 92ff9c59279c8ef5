"""Track, session and kind from published file names, the seed's names, and variations of both."""

import re
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.explain import explain_identity
from apex_pipeline.sources.gr_cup.discovery.identify import identify_tree
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.normalize import names_match
from apex_pipeline.sources.session_names import session_type
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.sources.gr_cup.trees import (
    HEADERS,
    PublishedFile,
    content,
    files_below,
    identify,
    identify_one,
    published,
)

LAP = FileKind.LAP_START
PUBLISHED = [*published(1), *published(2)]


def contents_by_path(files: list[PublishedFile]) -> dict[str, bytes]:
    return {file.path: content(file.kind, file.path) for file in files}


def key_of(identity: FileIdentity) -> tuple[str | None, str | None]:
    return identity.track, identity.session


def test_every_published_name_of_all_seven_tracks_is_identified() -> None:
    identities = identify(contents_by_path(PUBLISHED))
    assert len({file.track for file in PUBLISHED}) == 7
    for file in PUBLISHED:
        got = identities[file.path]
        assert (got.kind, *key_of(got), got.version, got.status) == (
            *(file.kind, file.track, file.session, file.version),
            FileStatus.READY,
        )


def test_there_is_one_identity_per_file_sorted_by_path() -> None:
    files = [FoundFile(path, 1, lambda _: b"x") for path in ("b.csv", "B/a.pdf", "a.csv")]
    assert [item.path for item in identify_tree(files, load_rules())] == ["B/a.pdf", "a.csv", "b.csv"]


# -- variations of names -------------------------------------------------------------------------------------------

_WRAPPERS = st.sampled_from(["", "data/", "my downloads/", "GR-Cup data/raw/", "wrapper-7/", "x/y/z/"])


@st.composite
def renamed(draw: st.DrawFn) -> tuple[PublishedFile, str]:
    """Draw a published file, and a variation of its path in case, separators and wrapping folders."""
    file = draw(st.sampled_from(PUBLISHED))
    text = re.sub(r"[ _-]", lambda _: draw(st.sampled_from([" ", "_", "-"])), file.path)
    letters = [draw(st.sampled_from([letter.upper(), letter.lower()])) for letter in text]
    return file, draw(_WRAPPERS) + "".join(letters)


@at_least(300)
@given(renamed())
def test_case_separators_and_wrapping_folders_do_not_matter(variant: tuple[PublishedFile, str]) -> None:
    file, path = variant
    got = identify_one(path, content(file.kind))
    assert (got.kind, *key_of(got), got.version) == (file.kind, file.track, file.session, file.version)
    assert got.status is FileStatus.READY


@given(_WRAPPERS, st.sampled_from([1, 2]))
def test_a_tree_in_a_wrapping_folder_has_the_same_identities(wrapper: str, race: int) -> None:
    files = list(published(race))
    identities = identify({wrapper + path: body for path, body in contents_by_path(files).items()})
    assert [key_of(identities[wrapper + file.path]) for file in files] == [(file.track, file.session) for file in files]


@pytest.mark.parametrize(
    "path",
    [
        "data/barber_motorsports_park/barber/R1_barber_lap_start.csv",
        "data/barber_motorsports_park/R1_barber_lap_start.csv",
        "R1_barber_lap_start.csv",
        "barber/lap_start_R01.csv",
        "barber/Race 1/lap start.csv",
        "barber/R1/laps/lap_start.csv",
        "Barber Race 1/lap_start.csv",
        "barber_motorsports_park/race-1/2025-09-06/barber_lap_start.csv",
        "barber/R1_barber_lap_start_v2 (copy).csv",
        "hack-the-track-2025/barber/R1_barber_lap_start.csv",
    ],
)
def test_extra_and_missing_folder_levels_are_tolerated(path: str) -> None:
    got = identify_one(path, content(LAP))
    assert (got.kind, *key_of(got), got.status) == (LAP, "barber_motorsports_park", "R1", FileStatus.READY)


# -- sessions ------------------------------------------------------------------------------------------------------


@pytest.mark.req("A-021", "A-022", "A-023", "A-024", "A-025", "K-09")
@pytest.mark.parametrize(
    ("path", "kind", "track", "session"),
    [
        ("practice_barber_motorsports_park_lap_start.csv", LAP, "barber_motorsports_park", "practice"),
        ("race_circuit_of_the_americas_telemetry_data.csv", FileKind.TELEMETRY, "circuit_of_the_americas", "race"),
        ("race_circuit-of-the-americas_lap_start.csv", LAP, "circuit_of_the_americas", "race"),
        ("data/road_america/qualifying_road-america_lap_start.csv", LAP, "road_america", "qualifying"),
        ("data/road_america/qualifying_lap_start.csv", LAP, "road_america", "qualifying"),
        ("data/sebring/practice_2_sebring_lap_start.csv", LAP, "sebring", "practice_2"),
        ("data/sebring/Q1_sebring_lap_start.csv", LAP, "sebring", "Q1"),
        ("data/sebring/fp2_lap_start.csv", LAP, "sebring", "FP2"),
        ("data/sebring/Practice 1/lap_start.csv", LAP, "sebring", "practice_1"),
        ("data/sebring/sprint_sebring_lap_start.csv", LAP, "sebring", "sprint"),
        ("data/sebring/night_sprint_lap_start.csv", LAP, "sebring", "night_sprint"),
        ("data/barber_motorsports_park/sprint_barber_lap_start.csv", LAP, "barber_motorsports_park", "sprint"),
        ("data/mosport/a_b_mosport_lap_start.csv", LAP, "mosport", "a_b"),
        ("sebring/Race 2/race_sebring_lap_start.csv", LAP, "sebring", "R2"),
        ("sebring/race/Race 2/lap_start.csv", LAP, "sebring", "R2"),
        ("sebring/race_2025_lap_start.csv", LAP, "sebring", "race"),
        ("Sonoma/Race 2/03_Results_Anonymized.CSV", FileKind.RESULTS, "sonoma", "R2"),
    ],
)
def test_the_seed_names_and_usual_sessions_are_identified(path: str, kind: FileKind, track: str, session: str) -> None:
    got = identify_one(path, content(kind))
    assert (got.kind, *key_of(got), got.status) == (kind, track, session, FileStatus.READY)


_CUSTOM_WORDS = st.from_regex(r"[a-z]{2,8}(_[a-z]{2,8})?", fullmatch=True)
_USUAL_WORDS = {"race", "practice", "qualifying", "warmup", "test", "fp"}


@pytest.mark.req("A-031")
@given(_CUSTOM_WORDS, st.sampled_from(["sebring", "road_america", "mosport_park"]), st.sampled_from(["", "_{track}"]))
def test_a_custom_session_is_read_from_the_name(word: str, track: str, form: str) -> None:
    rules = load_rules()
    assume(not set(word.split("_")) & (rules.plain_words | _USUAL_WORDS))
    assume(not names_match(word, track))
    assume(rules.track_of(word) is None)
    got = identify_one(f"data/{track}/{word}{form.format(track=track)}_lap_start.csv", content(LAP))
    assert key_of(got) == (track, word)


@pytest.mark.parametrize(
    ("path", "session", "season"),
    [
        ("2026/barber/R1_barber_lap_start.csv", "2026_R1", "2026"),
        ("season 2026/barber/R1_barber_lap_start.csv", "2026_R1", "2026"),
        ("GR Cup 2026/barber/R1_barber_lap_start.csv", "2026_R1", "2026"),
        ("2026-barber/R1_barber_lap_start.csv", "2026_R1", "2026"),
        ("barber 2026/R1_barber_lap_start.csv", "2026_R1", "2026"),
        ("2026-hackathon/barber/R1_barber_lap_start.csv", "R1", None),
        ("barber/2026-stuff/R1_barber_lap_start.csv", "R1", None),
        ("data 2026/barber/R1_barber_lap_start.csv", "R1", None),
        ("2026-07-19/barber/R1_barber_lap_start.csv", "R1", None),
    ],
)
def test_the_season_in_a_folder_name_prefixes_the_session(path: str, session: str, season: str | None) -> None:
    got = identify_one(path, content(LAP))
    assert (got.track, got.session, got.season) == ("barber_motorsports_park", session, season)


def test_the_season_is_read_from_the_folder_of_an_unlisted_track() -> None:
    got = identify_one("2026-mosport/R1_lap_start.csv", content(LAP))
    assert (got.track, got.track_name, got.session) == ("mosport", "Mosport", "2026_R1")


def test_a_path_without_a_session_takes_it_from_the_content() -> None:
    got = identify_one("barber/lap_start.csv", content(LAP, session="Race 2"))
    assert (got.session, got.rule, got.confidence, got.status) == ("R2", "content", 0.6, FileStatus.READY)


@pytest.mark.parametrize(
    ("path", "confidence"),
    [
        ("barber2/R1_lap_end.csv", 0.6),
        ("barber/Race 1b/lap_end.csv", 0.6),
        ("barber/Race 1 copy/lap_end.csv", 0.6),
        ("barber (2)/R1_lap_end.csv", 0.6),
        ("Barber Race 1/lap_end.csv", 0.9),
    ],
)
def test_folder_names_with_extra_text_lower_the_confidence(path: str, confidence: float) -> None:
    got = identify_one(path, content(FileKind.LAP_END))
    assert (*key_of(got), got.confidence) == ("barber_motorsports_park", "R1", confidence)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        *(("R1", "race"), ("2026_R12", "race"), ("race", "race")),
        *(("practice_2", "practice"), ("FP1", "practice"), ("2026_practice", "practice")),
        *(("Q1", "qualifying"), ("qualifying", "qualifying")),
        *(("sprint", "other"), ("a_b", "other"), ("roads", "other")),
    ],
)
def test_session_types(session: str, expected: str) -> None:
    assert session_type(session) == expected


# -- unlisted tracks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "track", "name"),
    [
        ("spa-francorchamps/Race 1/spa_lap_start_R1.csv", "spa_francorchamps", "Spa Francorchamps"),
        ("Circuit de Spa/Race 1/spa_lap_start_R1.csv", "circuit_de_spa", "Circuit de Spa"),
        ("mosport/R1_mosport_lap_start.csv", "mosport", "Mosport"),
        ("mosport/lap sheets/R1_mosport_lap_start.csv", "mosport", "Mosport"),
        ("R1_mosport_lap_start.csv", "mosport", "Mosport"),
        ("Daytona/Race 1/dis_lap_start_R1.csv", "daytona", "Daytona"),
        ("Nürburgring/R1_lap_start.csv", "nurburgring", "Nürburgring"),
        ("West Virginia/R1_lap_start.csv", "west_virginia", "West Virginia"),
        ("mosport/Race 1 - copy/lap_start.csv", "mosport", "Mosport"),
        ("x" * 90 + "/R1_lap_start.csv", "x" * 80, "X" + "x" * 89),
    ],
)
def test_an_unlisted_track_is_named_by_its_folder_or_its_files(path: str, track: str, name: str) -> None:
    got = identify_one(path, content(LAP))
    assert (got.track, got.track_name, got.session, got.status) == (track, name, "R1", FileStatus.READY)
    assert got.confidence <= 0.8


def test_two_unlisted_tracks_in_one_folder_are_not_mixed() -> None:
    files = {
        "dl/R1_mosport_lap_start.csv": content(LAP, "1"),
        "dl/R1_laguna_lap_start.csv": content(LAP, "2"),
        "dl/R1_barber_lap_start.csv": content(LAP, "3"),
        "dl/03_Results_Race 1.CSV": content(FileKind.RESULTS),
    }
    got = identify(files)
    assert [item.track for item in got.values()] == [None, "barber_motorsports_park", "laguna", "mosport"]
    assert got["dl/03_Results_Race 1.CSV"].status is FileStatus.UNRESOLVED


@pytest.mark.parametrize("folder", ["", "dl/", "dl/Race 1/"])
def test_timing_files_take_the_track_of_their_siblings(folder: str) -> None:
    results = f"{folder}03_Results_Race 1.CSV"
    got = identify({f"{folder}R1_barber_lap_end.csv": content(LAP), results: content(FileKind.RESULTS)})
    assert (*key_of(got[results]), got[results].confidence) == ("barber_motorsports_park", "R1", 0.7)


def test_a_folder_of_timing_files_inside_a_track_folder_is_not_a_track() -> None:
    results = "mosport/the office/03_Results_Race 1.CSV"
    got = identify({"mosport/R1_mosport_lap_end.csv": content(LAP), results: content(FileKind.RESULTS)})
    assert got[results].track == "mosport"


# -- the real files ------------------------------------------------------------------------------------------------


def identify_folder(root: Path) -> list[FileIdentity]:
    return identify_tree(files_below(root), load_rules())


def test_the_published_files_have_nine_sessions_of_five_tracks(real_data: Path) -> None:
    identities = identify_folder(real_data / "grcup")
    ready = [item for item in identities if item.status is FileStatus.READY]
    assert {item.track for item in ready} == {
        *("barber_motorsports_park", "circuit_of_the_americas", "road_america", "sebring"),
        "virginia_international_raceway",
    }
    assert len({key_of(item) for item in ready}) == 9
    assert Counter(item.status for item in identities) == {
        FileStatus.READY: 84,
        FileStatus.IGNORED: 2,
        FileStatus.QUARANTINED: 1,
    }
    assert min(item.confidence for item in ready) == 0.9


def test_the_lap_time_file_of_virginia_race_2_is_a_copy_of_race_1(real_data: Path) -> None:
    (quarantined,) = [item for item in identify_folder(real_data / "grcup") if item.status is FileStatus.QUARANTINED]
    assert quarantined.path.endswith("VIR/Race 2/vir_lap_time_R2.csv")
    assert key_of(quarantined) == ("virginia_international_raceway", "R2")
    assert quarantined.reason == (
        "meta_session says R1 (483 of 483 rows looked at, first received 2025-07-19), the path says R2; "
        "it is byte for byte virginia-international-raceway/VIR/Race 1/vir_lap_time_R1.csv"
    )


def test_the_rebuilt_telemetry_has_eight_sessions(real_data: Path) -> None:
    ready = [item for item in identify_folder(real_data / "grcup_rebuilt") if item.status is FileStatus.READY]
    assert len({key_of(item) for item in ready}) == len(ready) == 8
    assert {(item.kind, item.confidence) for item in ready} == {(FileKind.TELEMETRY, 1.0)}


def test_both_folders_together_have_the_same_nine_sessions(real_data: Path) -> None:
    # The folder also holds data from games.
    identities = [item for item in identify_folder(real_data) if item.path.startswith("grcup")]
    ready = [item for item in identities if item.status is FileStatus.READY]
    assert (len({key_of(item) for item in ready}), len({item.track for item in ready}), len(ready)) == (9, 5, 92)
    assert all(item.status is not FileStatus.UNRESOLVED for item in identities)
    conflicts = [item for item in ready if any("they are merged" in sentence for sentence in item.evidence)]
    assert Counter(item.path.split("/")[0] for item in conflicts) == {"grcup": 2, "grcup_rebuilt": 2}


def test_an_explanation_shows_identity_and_evidence() -> None:
    got = identify_one("COTA/Race 1/COTA_lap_start_time_R2.csv", content(LAP, session="R1"))
    text = explain_identity(got)
    assert text.splitlines()[:4] == [
        "COTA/Race 1/COTA_lap_start_time_R2.csv",
        "  status      quarantined: the name says R2, the folder 'Race 1' says R1",
        "  kind        lap_start",
        "  track       circuit_of_the_americas (Circuit of the Americas)",
    ]
    assert "    - Session R2: the name says so." in text
    assert "    - meta_session says R1 (2 of 2 rows looked at)." in text


@pytest.mark.req("A-124")
def test_several_files_are_read_in_parallel() -> None:
    # The barrier needs four simultaneous readers: reading files one at a time would time out.
    barrier = threading.Barrier(4)

    def read_head(_length: int) -> bytes:
        barrier.wait(timeout=60)
        return HEADERS[FileKind.LAP_START]

    found = [FoundFile(f"barber/R{n}_barber_lap_start.csv", 100 + n, read_head) for n in range(1, 5)]
    assert [item.session for item in identify_tree(found, load_rules())] == ["R1", "R2", "R3", "R4"]
