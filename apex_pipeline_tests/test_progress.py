"""Byte progress, reported to a callback and logged."""

from apex_pipeline.progress import ByteProgressLog, current_progress, progress_to


class Clock:
    """A clock that is advanced by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_with_percentage_and_speed_is_logged_every_ten_seconds() -> None:
    lines: list[str] = []
    clock = Clock()
    log = ByteProgressLog("read", 400_000_000, lines.append, clock)

    for seconds in (4, 6, 5, 5):
        clock.now += seconds
        log(50_000_000)

    assert lines == ["100 of 400 MB read (25%), 10 MB/s", "200 of 400 MB read (50%), 10 MB/s"]
    assert log.facts() == {"raw_bytes": 200_000_000, "conversion_s": 20.0, "raw_mb_per_s": 10.0}


def test_short_work_logs_nothing() -> None:
    lines: list[str] = []

    ByteProgressLog("read", 10, lines.append)(10)

    assert lines == []


def test_zero_bytes_count_as_complete() -> None:
    lines: list[str] = []
    clock = Clock()
    log = ByteProgressLog("read", 0, lines.append, clock)

    clock.now += 60
    log(0)

    assert lines == ["0 of 0 MB read (100%), 0 MB/s"]


def test_the_current_receiver_gets_every_update() -> None:
    received: list[int] = []
    with progress_to(received.append):
        log = ByteProgressLog("read", 10, str)
    assert current_progress() is None
    log(3)
    log(4)

    assert received == [3, 4]
    assert log.done == 7
