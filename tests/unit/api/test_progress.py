"""Messages of long work, and its failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from knarr.api import progress
from knarr.api.messages import Response, Stream
from knarr.api.progress import Report
from knarr.errors import InvalidParameter


def lines(work: Callable[[Report], Awaitable[object]]) -> list[bytes]:
    async def collect() -> list[bytes]:
        answer = await progress.answer(work)
        assert isinstance(answer, Stream)
        return [chunk async for chunk in answer.chunks]

    return asyncio.run(collect())


def test_messages_from_a_thread_in_order() -> None:
    def report_all(report: Report) -> None:
        for number in range(50):
            report({"n": number})

    assert lines(lambda report: asyncio.to_thread(report_all, report)) == [b'{"n":%d}\r\n' % n for n in range(50)]


def test_a_failure_before_the_first_message_is_raised() -> None:
    async def fail(report: Report) -> None:
        raise InvalidParameter("no archive")

    with pytest.raises(InvalidParameter, match="no archive"):
        lines(fail)


def test_a_failure_after_it_is_the_last_message() -> None:
    async def fail(report: Report) -> None:
        report({"status": "begun"})
        raise InvalidParameter("no archive")

    assert lines(fail) == [
        b'{"status":"begun"}\r\n',
        b'{"errorDetail":{"message":"no archive"},"error":"no archive"}\r\n',
    ]


def test_work_without_messages() -> None:
    async def nothing(report: Report) -> None:
        pass

    answer = asyncio.run(progress.answer(nothing))
    assert isinstance(answer, Response)
    assert answer.body == b""


def test_a_client_that_left_before_the_first_message_ends_the_work() -> None:
    async def scenario() -> bool:
        ended = asyncio.Event()

        async def work(report: Report) -> None:
            report({"n": 1})
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        answer = await progress.answer(work)
        assert isinstance(answer, Stream)
        await answer.chunks.aclose()
        await asyncio.wait_for(ended.wait(), 10)
        return ended.is_set()

    assert asyncio.run(scenario())
