"""Files that contradict themselves, cannot be assigned, are not race data, or are duplicates."""

import gzip
from collections.abc import Callable

import pyarrow as pa
import pytest

from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.discovery.identify import identify_tree
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline_tests.sources.gr_cup.trees import HEADERS, content, found, identify, identify_one

LAP = FileKind.LAP_START
READY, QUARANTINED, UNRESOLVED, IGNORED = (
    *(FileStatus.READY, FileStatus.QUARANTINED),
    *(FileStatus.UNRESOLVED, FileStatus.IGNORED),
)
NO_HEADER = "has no header: its first line is not a list of column names."
NO_COLUMN = "no column of a race file"
UNRELATED = b"item,cost\nhotel,300\n"
MISSING = "its name, its folders and its content do not say its"


# -- not race data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(
            "barber/.DS_Store",
            "__MACOSX/barber/._R1_barber_lap_start.csv",
            "Thumbs.db",
            ".gitattributes",
            "desktop.ini",
        ),
        *(".git/R1_barber_lap_start.csv", "barber/._R1_barber_lap_start.csv", "PROVENANCE.md", "barber/map.pdf"),
        *("photos/IMG_1.JPG", "onboard.MP4", "barber.zip", "laps.csv.zip", "barber/points.xlsx", "notes.txt", "README"),
        *("R1_barber_lap_start.csv.part", "laps.gz"),
    ],
)
def test_files_that_are_not_race_data_are_ignored_and_never_read(path: str) -> None:
    def refuse(_length: int) -> bytes:
        pytest.fail("an ignored file was read")

    (got,) = identify_tree([FoundFile(path, 10, refuse)], load_rules())
    assert (got.kind, got.status, got.track, got.session) == (FileKind.IGNORED, IGNORED, None, None)
    assert got.reason
    assert got.reason.endswith("not race data")


def test_the_reason_for_an_archive_asks_to_unpack_it() -> None:
    assert "unpack it next to" in str(identify_one("sonoma.zip", b"PK").reason)


# -- contradictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (
            "VIR/Race 2/vir_lap_time_R2.csv",
            content(FileKind.LAP_TIME, session="R1"),
            "meta_session says R1 (2 of 2 rows looked at, first received 2025-09-06), the path says R2",
        ),
        (
            "VIR/Q2_vir_lap_time.csv",
            content(FileKind.LAP_TIME, session="Q1"),
            "meta_session says Q1 (2 of 2 rows looked at, first received 2025-09-06), the path says Q2",
        ),
        ("VIR/Race 2/vir_lap_time_R1.csv", content(LAP), "the name says R1, the folder 'Race 2' says R2"),
        ("VIR/Race 1/Race 2/lap_time.csv", content(LAP), "the folder 'Race 2' says R2, the folder 'Race 1' says R1"),
        (
            "VIR/Race 2/practice_lap_time.csv",
            content(LAP),
            "the name says practice, the folder 'Race 2' says R2",
        ),
        (
            "sebring/R1_barber_lap_start.csv",
            content(LAP),
            "the name (barber) says barber_motorsports_park, the folder 'sebring' says sebring",
        ),
        (
            "barber/R1_barber_lap_start.csv",
            content(FileKind.RESULTS),
            "its name says lap_start, its header (POSITION, NUMBER, STATUS, LAPS) is that of results",
        ),
        (
            "barber/R1_barber_lap_start.csv",
            b"lap,chassis\n1,2\n",
            "its name says lap_start, its header (lap and 1 more) lacks meta_time, timestamp, vehicle_id",
        ),
        (
            "barber/03_Results_Race 1.CSV",
            UNRELATED,
            "its name says results, its header (no column of a race file) lacks NUMBER, POSITION, STATUS",
        ),
        ("barber/R1_barber_lap_end.csv", b"", "barber/R1_barber_lap_end.csv is empty (0 bytes)."),
        ("x.csv", b"", "x.csv is empty (0 bytes)."),
        ("x.csv", b"\xff\xd8\xff\xe0", "x.csv is a JPEG picture, not a CSV file."),
        (
            "barber/R1_lap_end.csv",
            b"1,2\n",
            "barber/R1_lap_end.csv has no header: its first line is not a list of column names.",
        ),
    ],
)
def test_a_file_that_contradicts_itself_is_quarantined_with_a_reason(path: str, body: bytes, reason: str) -> None:
    got = identify_one(path, body)
    assert (got.status, got.reason) == (QUARANTINED, reason)


def test_a_session_of_another_type_in_the_rows_is_only_evidence() -> None:
    got = identify_one("barber/practice_barber_lap_start.csv", content(LAP, session="R1"))
    assert (got.session, got.status, got.confidence) == ("practice", READY, 0.9)
    assert "meta_session says R1 (2 of 2 rows looked at)." in got.evidence


def test_an_unrecognised_session_in_the_rows_is_not_compared() -> None:
    got = identify_one("barber/R1_barber_lap_start.csv", content(LAP, session="7 of 9"))
    assert (got.session, got.status, got.confidence) == ("R1", READY, 0.9)


def test_rows_of_several_sessions_are_noted_as_evidence() -> None:
    body = content(LAP, session="R1") + content(LAP, session="R2").split(b"\n")[1] + b"\n"
    got = identify_one("barber/R1_barber_lap_start.csv", body)
    assert (got.status, got.confidence) == (READY, 0.8)
    assert "Its rows name several sessions: R1, R2." in got.evidence


def test_a_folder_called_race_may_hold_practice() -> None:
    got = identify_one("race/barber/practice_barber_lap_start.csv", content(LAP))
    assert (got.session, got.status) == ("practice", READY)


def test_an_unusual_session_word_does_not_contradict_the_folder() -> None:
    got = identify_one("barber/Race 1/warmup_lap_start.csv", content(LAP))
    assert (got.session, got.status) == ("warmup", READY)


# -- files that cannot be assigned ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("holiday/budget.csv", UNRELATED, f"neither its name nor its header ({NO_COLUMN}) says that it is race data"),
        ("results.csv", UNRELATED, f"{MISSING} track or its session"),
        ("list.csv", b"just text\n", f"list.csv {NO_HEADER}"),
        ("R1_lap_start.csv", content(LAP), f"{MISSING} track"),
        ("barber/lap_start.csv", content(LAP), f"{MISSING} session"),
        ("barber/7_lap_start.csv", content(LAP), f"{MISSING} session"),
        ("03_Results_Anonymized.CSV", content(FileKind.RESULTS), f"{MISSING} track or its session"),
        ("鈴鹿/R1_lap_start.csv", content(LAP), f"{MISSING} track"),
        (
            "barber/R1_barber.csv",
            content(LAP),
            (
                "its name does not say whether it is lap_end or lap_start or lap_time or telemetry, "
                "and their headers are the same"
            ),
        ),
        (f"barber/{'x' * 60}_barber_lap_start.csv", content(LAP), f"'{'x' * 60}' is not a session name."),
    ],
)
def test_the_reason_of_an_unresolved_file_names_the_missing_part(path: str, body: bytes, reason: str) -> None:
    got = identify_one(path, body)
    assert (got.status, got.reason) == (UNRESOLVED, reason)


def test_the_header_gives_the_kind_if_the_name_does_not() -> None:
    got = identify_one("barber/Race 1/export.csv", content(FileKind.SECTIONS))
    assert (got.kind, got.rule, got.status, got.confidence) == (FileKind.SECTIONS, "header", READY, 0.6)


def test_a_file_with_only_a_header_is_ready_with_low_confidence() -> None:
    got = identify_one("barber/R1_barber_lap_start.csv", HEADERS[LAP])
    assert (got.status, got.confidence) == (READY, 0.5)
    assert "It has a header and no data rows." in got.evidence


def test_season_standings_have_no_session() -> None:
    got = identify_one("indianapolis/GR Drivers Championship-1.csv", b"PARTICIPANT;POINTS\nx;1\n")
    assert (got.kind, got.track, got.session, got.status) == (FileKind.CHAMPIONSHIP, "indianapolis", None, READY)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("03_Unofficial Results_Race 1.CSV", "provisional"),
        ("03_Results_Race 1_Official2.CSV", "official"),
        ("03_Results_Race 1.CSV", None),
    ],
)
def test_the_version_of_a_classification_is_read_from_its_name(name: str, version: str | None) -> None:
    assert identify_one(f"barber/{name}", content(FileKind.RESULTS)).version == version


def test_a_name_that_starts_with_a_date_is_not_a_results_file() -> None:
    assert identify_one("barber/03_09_2025_R1_lap_start.csv", content(LAP)).kind is LAP


# -- compressed files ----------------------------------------------------------------------------------------------


def _zstd(body: bytes) -> bytes:
    return pa.compress(body, "zstd", asbytes=True)


@pytest.mark.parametrize(("ending", "compress"), [("gz", gzip.compress), ("ZST", _zstd)])
def test_compressed_telemetry_is_checked_by_its_decompressed_content(
    ending: str, compress: Callable[[bytes], bytes]
) -> None:
    rows = content(FileKind.TELEMETRY, session="R2").split(b"\n")[1] + b"\n"
    body = compress(HEADERS[FileKind.TELEMETRY] + rows * 5_000)
    got = identify_one(f"barber/R1_barber_telemetry_data.csv.{ending}", body)
    assert (got.kind, got.status) == (FileKind.TELEMETRY, QUARANTINED)
    assert str(got.reason).startswith("meta_session says R2 (")


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_file_not_compressed_as_its_name_says_is_quarantined(ending: str) -> None:
    got = identify_one(f"barber/R1_barber_telemetry_data.csv.{ending}", content(FileKind.TELEMETRY))
    assert got.status is QUARANTINED
    assert "is not compressed as its name says" in str(got.reason)


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_an_empty_compressed_file_is_reported_as_empty(ending: str) -> None:
    assert "0 bytes" in str(identify_one(f"barber/R1_barber_telemetry_data.csv.{ending}", b"").reason)


def test_a_row_cut_off_at_the_end_of_the_sniffed_bytes_is_not_counted() -> None:
    header, row, *_ = content(FileKind.TELEMETRY, session="R12").split(b"\n")
    cut_at = 65_536 - row.index(b"R12") - 2
    filler = b"\n".join([b"1,,,,,,,"] * 8_000)[: cut_at - len(header) - 2]
    body = header + b"\n" + filler + b"\n" + row + b"\n" + row * 9
    assert body[:65_536].endswith(b"R1")
    assert identify_one("barber/R2_barber_telemetry_data.csv", body).status is READY


# -- comparison with other files of the tree -----------------------------------------------------------------------


def test_a_second_copy_is_ignored() -> None:
    body = content(LAP)
    got = identify({"barber/R1_barber_lap_start.csv": body, "backup/barber/R1_barber_lap_start.csv": body})
    second = got["barber/R1_barber_lap_start.csv"]
    assert got["backup/barber/R1_barber_lap_start.csv"].status is READY
    assert (second.status, second.reason) == (
        IGNORED,
        "a second copy of backup/barber/R1_barber_lap_start.csv, byte for byte",
    )


def test_the_misplaced_file_is_reported_as_the_copy_in_any_order() -> None:
    body = content(FileKind.LAP_TIME, session="R2")
    got = identify({"VIR/Race 1/vir_lap_time_R1.csv": body, "VIR/Race 2/vir_lap_time_R2.csv": body})
    misplaced, right = got.values()
    assert str(misplaced.reason).endswith("; it is byte for byte VIR/Race 2/vir_lap_time_R2.csv")
    assert (right.status, right.confidence) == (READY, 1.0)


def test_identical_official_and_provisional_results_are_both_used() -> None:
    body = content(FileKind.RESULTS)
    got = identify({"barber/03_Provisional Results_Race 1.CSV": body, "barber/03_Race 1 Official Results.CSV": body})
    assert [(item.status, item.version, item.confidence) for item in got.values()] == [
        (READY, "provisional", 0.9),
        (READY, "official", 0.9),
    ]


def test_a_file_in_two_sessions_lowers_the_confidence_of_the_second() -> None:
    body = content(FileKind.WEATHER)
    got = identify({"barber/26_Weather_Race 1.CSV": body, "barber/26_Weather_Race 2.CSV": body})
    assert [(item.status, item.confidence) for item in got.values()] == [(READY, 0.9), (READY, 0.5)]
    assert got["barber/26_Weather_Race 2.CSV"].evidence[-1] == (
        "It is byte for byte barber/26_Weather_Race 1.CSV, of another session."
    )


def test_files_of_the_same_size_but_different_bytes_are_not_copies() -> None:
    got = identify({"a/R1_barber_lap_end.csv": content(LAP, "1"), "b/R1_barber_lap_end.csv": content(LAP, "2")})
    for item in got.values():
        assert (item.status, item.confidence) == (READY, 0.7)
        assert "is the same kind of file of the same session; they are merged." in item.evidence[-1]


def test_an_unresolved_copy_stays_unresolved() -> None:
    got = identify({"one.csv": UNRELATED, "two.csv": UNRELATED})
    assert {item.status for item in got.values()} == {UNRESOLVED}


def test_large_files_are_compared_by_size_and_first_bytes_only() -> None:
    lengths: list[int] = []
    body = content(FileKind.TELEMETRY)

    def read_head(length: int) -> bytes:
        lengths.append(length)
        return body

    names = ("a/R1_barber_telemetry_data.csv", "b/R1_barber_telemetry_data.csv")
    first, second = identify_tree([FoundFile(name, 3_000_000_000, read_head) for name in names], load_rules())
    assert max(lengths) < 5_000_000
    assert (first.status, second.status) == (READY, READY)
    assert f"Its size and its first 4 MB are those of {names[0]}; it may be a copy." in second.evidence


def _car_files(**event_of: str) -> dict[str, FileIdentity]:
    files = {
        f"barber/R1_barber_{name}.csv": content(FileKind(name), session="R1", event=event)
        for name, event in event_of.items()
    }
    return {str(item.kind): item for item in identify(files).values()}


def test_a_file_whose_event_differs_from_the_majority_is_quarantined() -> None:
    got = _car_files(lap_start="I_R06", lap_end="I_R06", lap_time="I_R04")
    assert [item.status for item in got.values()] == [READY, READY, QUARANTINED]
    assert got["lap_time"].reason == "meta_event says I_R04, 2 other files of the session say I_R06"
    assert got["lap_start"].confidence == 1.0


def test_two_events_with_one_file_each_lower_the_confidence_of_both() -> None:
    got = _car_files(lap_start="I_R06", lap_end="I_R04")
    assert [(item.status, item.confidence) for item in got.values()] == [(READY, 0.5), (READY, 0.5)]
    assert got["lap_end"].evidence[-1] == "meta_event says I_R04; other files of the session say I_R06."


def test_the_order_of_the_files_does_not_matter() -> None:
    files = [found(f"barber/R{n}_barber_lap_end.csv", content(LAP, session="R1")) for n in (1, 2, 3)]
    assert identify_tree(files, load_rules()) == identify_tree(reversed(files), load_rules())
