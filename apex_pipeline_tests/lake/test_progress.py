"""Bytes told to a bar outside and in lines to a run's log."""

from apex_pipeline.lake.progress import ByteLog, listening


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_said_every_ten_seconds_with_share_and_speed() -> None:
    said: list[str] = []
    clock = Clock()
    log = ByteLog("read", 400_000_000, said.append, clock)

    for seconds in (4, 6, 5, 5):
        clock.now += seconds
        log(50_000_000)

    assert said == ["100 of 400 MB read (25%), 10 MB/s", "200 of 400 MB read (50%), 10 MB/s"]
    assert log.facts() == {"raw_bytes": 200_000_000, "conversion_s": 20.0, "raw_mb_per_s": 10.0}


def test_short_work_says_nothing() -> None:
    said: list[str] = []

    ByteLog("read", 10, said.append)(10)

    assert said == []


def test_nothing_to_do_is_done() -> None:
    said: list[str] = []
    clock = Clock()
    log = ByteLog("read", 0, said.append, clock)

    clock.now += 60
    log(0)

    assert said == ["0 of 0 MB read (100%), 0 MB/s"]


def test_who_listens_outside_hears_every_step() -> None:
    heard: list[int] = []
    with listening(heard.append):
        log = ByteLog("read", 10, str)
    log(3)
    log(4)

    assert heard == [3, 4]
    assert log.done == 7
