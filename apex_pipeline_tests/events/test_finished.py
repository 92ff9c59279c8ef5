"""Which files are finished: by standing still, by arriving whole, and not while a process writes to them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apex_pipeline.events.finished import SettleWatch, is_open_for_writing, may_be_finished
from apex_pipeline.events.folder import EventFile, list_folder
from apex_pipeline_tests.events.harness import NAME, XML

_SETTLE_S = 5.0
_START_NS = 1_700_000_000 * 10**9


@dataclass
class _Clock:
    """A clock that the test sets, in seconds since the start."""

    s: float = 0.0
    skew_s: float = 0.0
    files: dict[str, EventFile] = field(default_factory=dict[str, EventFile])

    def now_s(self) -> float:
        return self.s

    def wall_ns(self) -> int:
        return _START_NS + int((self.s + self.skew_s) * 1e9)

    def write(self, name: str, size: int) -> None:
        now_ns = _START_NS + int(self.s * 1e9)
        self.files[name] = EventFile(name, f"/nowhere/{name}", size, now_ns, now_ns)


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _watch(clock: _Clock, *, keeps_order: bool = True) -> SettleWatch:
    return SettleWatch(_SETTLE_S, keeps_order=keeps_order, now_s=clock.now_s, wall_ns=clock.wall_ns)


def _finished(watch: SettleWatch, clock: _Clock, at_s: float) -> list[str]:
    clock.s = at_s
    files = sorted(clock.files.values(), key=lambda file: file.order)
    return [file.name for file in watch.finished(files)[0]]


def test_a_file_is_finished_when_it_has_stood_still(clock: _Clock) -> None:
    watch = _watch(clock)
    clock.write("a.xml", 10)
    assert _finished(watch, clock, 1) == []
    assert watch.next_due_s == pytest.approx(_SETTLE_S)
    assert _finished(watch, clock, 5.9) == []
    assert _finished(watch, clock, 6) == ["a.xml"]


def test_a_file_seen_between_two_listings_waits_from_its_last_edit_on(clock: _Clock) -> None:
    watch = _watch(clock)
    assert _finished(watch, clock, 0) == []
    clock.s = 0.5
    clock.write("a.xml", 10)
    assert _finished(watch, clock, 2) == []
    assert _finished(watch, clock, 5.5) == ["a.xml"]


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_file_server_with_a_wrong_clock_makes_no_file_finished_early(clock: _Clock, skew_s: float) -> None:
    clock.skew_s = skew_s
    watch = _watch(clock)
    assert _finished(watch, clock, 0) == []
    clock.write("a.xml", 10)
    assert _finished(watch, clock, 1) == []
    assert _finished(watch, clock, 5.9) == []
    assert _finished(watch, clock, 6) == ["a.xml"]


def test_a_file_that_grows_is_never_finished(clock: _Clock) -> None:
    watch = _watch(clock)
    for second in range(60):
        clock.s = float(second)
        clock.write("a.xml", second + 1)
        assert _finished(watch, clock, second + 0.5) == []


def test_an_empty_file_is_never_finished_and_holds_nothing_back(clock: _Clock) -> None:
    watch = _watch(clock)
    clock.write("a.xml", 0)
    clock.write("b.xml", 1)
    assert _finished(watch, clock, 0) == []
    assert _finished(watch, clock, 60) == ["b.xml"]


def test_a_file_that_is_written_to_holds_later_ones_back_for_a_while(clock: _Clock) -> None:
    watch = _watch(clock)
    clock.write("20250729_161501.xml", 1)
    _finished(watch, clock, 0)
    for second in range(12):
        clock.s = float(second)
        clock.write("20250729_161500.xml", second + 1)
        expected = ["20250729_161501.xml"] if second >= 2 * _SETTLE_S else []
        assert _finished(watch, clock, second) == expected


def test_without_order_nothing_is_held_back(clock: _Clock) -> None:
    watch = _watch(clock, keeps_order=False)
    clock.write("20250729_161501.xml", 1)
    _finished(watch, clock, 0)
    clock.s = 5
    clock.write("20250729_161500.xml", 1)
    assert _finished(watch, clock, 5) == ["20250729_161501.xml"]


@pytest.mark.parametrize(
    ("content", "is_whole"),
    [(XML, True), (XML[:-5], False), (XML + XML, False), (b"", False)],
    ids=["one document", "cut off", "two documents", "empty"],
)
def test_a_renamed_file_is_taken_at_once_if_it_is_one_document(
    tmp_path: Path, content: bytes, *, is_whole: bool
) -> None:
    hidden = tmp_path / ".new"
    hidden.write_bytes(content)
    os.utime(hidden, (1, 1))
    hidden.rename(tmp_path / NAME)
    finished, _ = SettleWatch(_SETTLE_S).finished(list_folder(tmp_path).files)
    assert [file.name for file in finished] == ([NAME] if is_whole else [])


def test_a_whole_document_that_was_written_in_place_waits(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(XML)
    assert SettleWatch(_SETTLE_S).finished(list_folder(tmp_path).files)[0] == []


def test_a_file_that_is_open_for_writing_is_seen(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(XML)
    assert not is_open_for_writing(path)
    with path.open("ab"):
        assert is_open_for_writing(path)
    with path.open("rb"):
        assert not is_open_for_writing(path)
    assert not is_open_for_writing(tmp_path / "missing")


def test_a_file_that_stays_open_is_taken_in_the_end(tmp_path: Path, clock: _Clock) -> None:
    path = tmp_path / NAME
    with path.open("wb") as file:
        file.write(XML)
        file.flush()
        watch = _watch(clock)
        clock.files[NAME] = list_folder(tmp_path).files[0]
        assert _finished(watch, clock, 0) == []
        assert _finished(watch, clock, 59) == []
        assert _finished(watch, clock, 61) == [NAME]


@pytest.mark.parametrize(
    ("size", "age_s", "expected"),
    [(0, 3600, False), (1, 3600, True), (1, 4.9, False), (1, 5.1, True), (1, -4.9, False), (1, -3600, True)],
)
def test_one_look_tells_what_is_not_finished(tmp_path: Path, size: int, age_s: float, *, expected: bool) -> None:
    file = EventFile(NAME, str(tmp_path / NAME), size, _START_NS - int(age_s * 10**9), 0)
    assert may_be_finished(file, _SETTLE_S, wall_ns=lambda: _START_NS) == expected
    claimed = file._replace(is_claimed=True)
    assert may_be_finished(claimed, _SETTLE_S, wall_ns=lambda: _START_NS) == (size > 0)


def test_one_look_waits_for_a_file_that_a_process_writes_to_for_a_minute(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as stream:
        stream.write(XML)
        stream.flush()
        for age_s, expected in ((10, False), (61, True)):
            file = EventFile(NAME, stream.name, len(XML), _START_NS - age_s * 10**9, 0)
            assert may_be_finished(file, _SETTLE_S, wall_ns=lambda: _START_NS) == expected
