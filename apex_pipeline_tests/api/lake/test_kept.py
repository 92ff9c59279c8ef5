"""Kept answers: bounded, the oldest dropped first, and one made for all who ask at the same time."""

import asyncio
import tracemalloc

import orjson
import pytest

from apex_pipeline.api.lake import kept
from apex_pipeline.api.lake.errors import BusyError
from apex_pipeline.api.lake.kept import Answer, KeptAnswers


def _answer(size: int, *, is_kept: bool = True) -> Answer:
    return Answer(bytes(size), "text/plain", '"tag"', is_kept=is_kept)


def test_equal_requests_at_the_same_time_share_one_answer() -> None:
    made: list[int] = []

    async def make() -> Answer:
        made.append(1)
        await asyncio.sleep(0.01)
        return _answer(10)

    async def ask() -> None:
        answers = KeptAnswers()
        found = await asyncio.gather(*(answers.get("key", make) for _ in range(50)))
        assert len({id(one) for one in found}) == 1
        assert await answers.get("key", make) == found[0]
        assert (answers.counts.made, answers.counts.shared, answers.counts.hits) == (1, 49, 1)

    asyncio.run(ask())
    assert len(made) == 1


def test_what_is_kept_takes_as_much_memory_as_is_counted() -> None:
    number = 1_000

    async def make() -> Answer:
        return Answer(orjson.dumps("x" * 100), "application/json", '"tag"')

    async def keep() -> int:
        answers = KeptAnswers()
        tracemalloc.start()
        for key in range(number):
            await answers.get(key, make)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answers.counts.dropped == 0
        return used - answers.size

    assert asyncio.run(keep()) <= 0


def test_the_size_is_bounded_and_the_least_used_goes_first() -> None:
    async def make() -> Answer:
        return _answer(1_000)

    async def ask() -> None:
        answers = KeptAnswers(limit=10_000)
        for key in range(5):
            await answers.get(key, make)
        await answers.get(0, make)
        await answers.get(5, make)
        assert answers.size <= 10_000
        assert (answers.counts.dropped, answers.counts.made) == (1, 6)
        await answers.get(0, make)
        assert answers.counts.made == 6
        await answers.get(1, make)
        assert answers.counts.made == 7

    asyncio.run(ask())


@pytest.mark.parametrize("answer", [_answer(20_000), _answer(10, is_kept=False)], ids=["large", "of the moment"])
def test_what_is_too_large_or_of_the_moment_is_not_kept(answer: Answer) -> None:
    async def make() -> Answer:
        return answer

    async def ask() -> None:
        answers = KeptAnswers(limit=10_000)
        for _ in range(2):
            assert await answers.get("key", make) is answer
        assert (answers.size, answers.counts.made) == (0, 2)

    asyncio.run(ask())


def test_an_error_is_told_to_everyone_and_not_kept() -> None:
    async def fail() -> Answer:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def make() -> Answer:
        return _answer(1)

    async def ask() -> None:
        answers = KeptAnswers()
        found = await asyncio.gather(*(answers.get("key", fail) for _ in range(3)), return_exceptions=True)
        assert [str(one) for one in found] == ["no"] * 3
        assert (await answers.get("key", make)).body == b"\0"

    asyncio.run(ask())


def test_too_many_answers_in_work_and_too_slow_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_WAITING", 2)
    monkeypatch.setattr(kept, "ANSWER_TIMEOUT_S", 0.05)
    may_end = asyncio.Event()

    async def make() -> Answer:
        await may_end.wait()
        return _answer(3)

    async def ask() -> None:
        answers = KeptAnswers()
        waiting = [asyncio.ensure_future(answers.get(key, make)) for key in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="Too many"):
            await answers.get("c", make)
        for one in waiting:
            with pytest.raises(BusyError, match="not ready"):
                await one
        may_end.set()
        await asyncio.sleep(0.01)
        # The work went on.
        assert (await answers.get("a", make)).body == bytes(3)
        assert answers.counts.made == 2

    asyncio.run(ask())
