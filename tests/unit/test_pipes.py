"""Lines through pipes, while threads open and close files."""

import asyncio
import os
import threading
from contextlib import closing

import pytest
import uvloop

from lodestream.pipes import Lines
from lodestream.zygote import LINE


async def test_lines_come_whole_and_half_a_line_is_none() -> None:
    read, write = os.pipe()
    with closing(Lines(read)) as lines:
        os.write(write, b"one\ntw")
        assert await lines.line() == b"one\n"
        waiting = asyncio.create_task(lines.line())
        await asyncio.sleep(0)
        os.write(write, b"o\n\nhalf")
        assert await waiting == b"two\n"
        assert await lines.line() == b"\n"
        os.close(write)
        assert [await lines.line(), await lines.line()] == [b"", b""]


async def test_a_line_without_end_is_refused_and_who_writes_waits() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)

    async def flood() -> None:
        while True:
            try:
                os.write(write, bytes(65_536))
            except BlockingIOError:
                await asyncio.sleep(0.001)

    with closing(Lines(read)) as lines:
        flooding = asyncio.create_task(flood())
        with pytest.raises(ValueError, match=f"more than {LINE} bytes"):
            await lines.line()
        flooding.cancel()
    os.close(write)


async def test_waiting_can_be_cancelled() -> None:
    read, write = os.pipe()
    with closing(Lines(read)) as lines:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await lines.line()
        os.write(write, b"later\n")
        assert await lines.line() == b"later\n"
    os.close(write)


def test_no_file_of_a_thread_is_closed() -> None:
    """The loop's own pipes did that, within thousands of them."""
    ended, wrong = threading.Event(), []

    def open_files() -> None:
        while not ended.is_set():
            try:
                fd = os.open(os.devnull, os.O_RDONLY)
                os.read(fd, 1)
                os.close(fd)
            except OSError as error:
                wrong.append(error)

    async def use_pipes() -> None:
        for _ in range(5000):
            read, write = os.pipe()
            with closing(Lines(read)) as lines:
                waiting = asyncio.create_task(lines.line())
                await asyncio.sleep(0)
                os.write(write, b"x\n")
                assert await waiting == b"x\n"
            os.close(write)

    threads = [threading.Thread(target=open_files) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        uvloop.run(use_pipes())
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []
