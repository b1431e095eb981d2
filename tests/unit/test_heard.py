"""A cancellation that comes together with an answer."""

import asyncio

import pytest

from lodestream.bus.connection import HearingClient, heard


async def answered(task: "asyncio.Task[str]", answer: "asyncio.Future[str]") -> None:
    """Both at once."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result("yes")
    task.cancel()


async def test_a_cancellation_is_heard_through_a_wait_that_keeps_it_to_itself() -> None:
    async def deaf() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "an answer"
        return ""

    task = asyncio.create_task(heard(deaf()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_answer_alone_is_given() -> None:
    assert await heard(asyncio.sleep(0, "an answer")) == "an answer"


async def test_one_who_is_being_cancelled_may_still_ask() -> None:
    answers = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            answers.append(await heard(asyncio.sleep(0, "an answer")))

    task = asyncio.create_task(tidy())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answers == ["an answer"]


async def test_a_request_of_the_client_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asyncio.get_running_loop().create_future()

    async def request(*_: object, **__: object) -> str:
        return await asyncio.wait_for(answer, 60)

    monkeypatch.setattr("nats.aio.client.Client.request", request)
    task = asyncio.create_task(HearingClient().request("subject"))
    await answered(task, answer)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await task
