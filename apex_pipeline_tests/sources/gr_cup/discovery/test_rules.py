"""The user's own tracks, aliases, zones and file names: added without code, and reported if invalid."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.discovery.identify import identify_tree
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline_tests.sources.gr_cup.trees import content, found


def write_rules(folder: Path, text: str) -> Path:
    path = folder / "my_tracks.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def identify_with(rules_file: Path, path: str, kind: FileKind) -> FileIdentity:
    (identity,) = identify_tree([found(path, content(kind))], load_rules(rules_file))
    return identity


@pytest.mark.req("A-022")
@pytest.mark.parametrize(
    ("name", "slug", "zone"),
    [
        ("Barber", "barber_motorsports_park", "America/Chicago"),
        ("COTA", "circuit_of_the_americas", "America/Chicago"),
        ("indianapolis_motor_speedway", "indianapolis", "America/Indiana/Indianapolis"),
        ("road-america", "road_america", "America/Chicago"),
        ("Sebring International Raceway", "sebring", "America/New_York"),
        ("sonoma", "sonoma", "America/Los_Angeles"),
        ("VIR", "virginia_international_raceway", "America/New_York"),
    ],
)
def test_the_seven_built_in_tracks_have_their_time_zone(name: str, slug: str, zone: str) -> None:
    track = load_rules().track_of(name)
    assert track
    assert (track.slug, track.zone) == (slug, zone)
    assert ZoneInfo(zone)
    assert load_rules().track_of(slug) == load_rules().track_of(track.name) == track


def test_a_user_defined_track_is_found_by_its_aliases(tmp_path: Path) -> None:
    rules = write_rules(
        tmp_path,
        "tracks: [{slug: mosport, name: Canadian Tire Motorsport Park, zone: America/Toronto, aliases: [CTMP]}]",
    )
    got = identify_with(rules, "ctmp/R1_lap_start.csv", FileKind.LAP_START)
    assert (got.track, got.track_name, got.confidence) == ("mosport", "Canadian Tire Motorsport Park", 0.9)


def test_adding_an_alias_keeps_the_other_fields_of_a_built_in_track(tmp_path: Path) -> None:
    rules = load_rules(write_rules(tmp_path, "tracks: [{slug: sebring, aliases: [Hendricks Field]}]"))
    assert rules.track_of("hendricks-field") == rules.track_of("sebring") == load_rules().track_of("sebring")


def test_a_user_alias_overrides_a_built_in_one(tmp_path: Path) -> None:
    rules = load_rules(write_rules(tmp_path, "tracks: [{slug: west_virginia, aliases: [vir]}]"))
    track = rules.track_of("VIR")
    assert track
    assert (track.slug, track.name, track.zone) == ("west_virginia", "West Virginia", None)


@pytest.mark.req("A-026")
@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        (
            "{TRACK}_Rundenbeginn_{session}.csv",
            "COTA/Race 1/COTA_Rundenbeginn_R1.csv",
            ("circuit_of_the_americas", "R1"),
        ),
        ("{track}-start-{n}.csv", "Mosport-start-2.csv", ("mosport", "R2")),
        ("Race {n}/{track} begin.csv", "x/Race 2/sonoma begin.csv", ("sonoma", "R2")),
        ("begin {session}.csv", "sonoma/begin Heat 3.csv", ("sonoma", "heat_3")),
        ("begin {track}.csv", "Race 1/BEGIN vir.CSV", ("virginia_international_raceway", "R1")),
    ],
)
def test_a_user_defined_file_name_pattern_is_matched(
    tmp_path: Path, name: str, path: str, expected: tuple[str, str]
) -> None:
    unused = '{kind: weather, name: "Wetter {n}.csv"}'
    rules = write_rules(tmp_path, f'patterns: [{unused}, {{kind: lap_start, name: "{name}"}}]')
    got = identify_with(rules, path, FileKind.LAP_START)
    assert (got.kind, got.status) == (FileKind.LAP_START, FileStatus.READY)
    assert (got.track, got.session) == expected


def test_contradicting_placeholders_quarantine_the_file(tmp_path: Path) -> None:
    rules = write_rules(tmp_path, 'patterns: [{kind: lap_start, name: "Race {n}/{track}_{session}.csv"}]')
    got = identify_with(rules, "Race 2/vir_R1.csv", FileKind.LAP_START)
    assert (got.status, got.reason) == (FileStatus.QUARANTINED, "the name says R1, the name says R2")


def test_a_user_defined_expression_for_a_kind_takes_precedence(tmp_path: Path) -> None:
    rules = write_rules(tmp_path, 'kinds: [[weather, "^03_wetter"]]\nplain_words: [wochenende]')
    got = identify_with(rules, "barber/Wochenende/03_Wetter_Race 1.CSV", FileKind.WEATHER)
    assert (got.kind, got.track, got.status) == (FileKind.WEATHER, "barber_motorsports_park", FileStatus.READY)


def test_changes_to_the_file_are_read_at_the_next_load(tmp_path: Path) -> None:
    path = write_rules(tmp_path, "tracks: [{slug: mosport}]")
    assert load_rules(path).track_of("laguna") is None
    write_rules(tmp_path, "tracks: [{slug: laguna}]")
    assert load_rules(path).track_of("laguna")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tracks: [{slug: Mosport Park}]", "tracks.0.slug: the slug 'Mosport Park' must be"),
        ("tracks: [{slug: '2026'}]", "tracks.0.slug: the slug '2026' must be"),
        ("tracks: [{name: Mosport}]", "tracks.0.slug: Field required"),
        ("tracks: [{slug: mosport, zone: Canada/Mosport}]", "tracks.0.zone: the zone 'Canada/Mosport' is unknown"),
        ("tracks: [{slug: mosport, zone: ../../etc}]", "tracks.0.zone: the zone '../../etc' is unknown"),
        ("tracks: [{slug: mosport, alias: [ctmp]}]", "tracks.0.alias: Extra inputs"),
        ("tracks: [{slug: mosport, aliases: ctmp}]", "tracks.0.aliases: Input should be a valid list"),
        ("tracks: [{slug: a1, aliases: [x]}, {slug: b1, aliases: [X]}]", "the alias 'x' is used for both a1 and b1"),
        ("track: []", "track: Extra inputs"),
        ("patterns: [{kind: laps, name: '{n}.csv'}]", "patterns.0.kind: Input should be"),
        (
            "patterns: [{kind: unknown, name: '{n}.csv'}]",
            "patterns.0.kind: a name pattern cannot assign the kind unknown",
        ),
        ("patterns: [{kind: lap_end, name: '{lap}.csv'}]", "patterns.0.name: the name '{lap}.csv' must contain"),
        ("patterns: [{kind: lap_end, name: '{n}{N}.csv'}]", "each at most once"),
        ("patterns: [{kind: lap_end, name: ends.csv}]", "patterns.0.name: the name 'ends.csv' must contain"),
        ("patterns: [{kind: lap_end, name: 3}]", "patterns.0.name: the name 3 must be a string"),
        ("kinds: [[lap_end, '(']]", "kinds.0.1: Input should be a valid regular expression"),
        ("- slug: mosport", "has no entries"),
        ("tracks: [", "cannot be read"),
    ],
)
def test_an_invalid_entry_is_reported_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    path = write_rules(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_rules(path)
    assert message in caught.value.problem
    assert str(path) in caught.value.problem


def test_a_missing_tracks_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no_such\.yaml cannot be read"):
        load_rules(tmp_path / "no_such.yaml")
