"""One program kept running: started again with growing pauses, its output kept, ended with all that it started."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from lodestream.local.kinship import die_with, tell_guard
from lodestream.local.logs import Output, RotatedLog
from lodestream.local.state import Process, ProcessState, now

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a program is started again; doubled each time."""
STEADY = 30.0
"""Seconds after which a program counts as having run well, and pauses begin anew."""


class Program(msgspec.Struct, kw_only=True):
    """A row of the process table."""

    name: str
    argv: list[str]
    user: str = ""
    """The NATS user that it acts as."""
    service: str = ""
    """The name under which it answers the NATS services protocol once it is ready; empty where it does not."""
    most: int = 0
    """How many of its service there may be, where their number follows what waits; stands in the first one's row."""
    env: dict[str, str] = {}
    needs: str = ""
    """A file without which it cannot run: it is started once that is there, and when all others are ready."""


class Child:
    """A program and the process that it is at the moment."""

    def __init__(self, program: Program, env: Mapping[str, str], log: RotatedLog, changed: Callable[[str], None]):
        """`changed` is called, with words for the log or none, whenever `state` changed."""
        self.program, self._env, self._changed = program, env, changed
        self.state = Process(name=program.name)
        self._output = Output(log)
        self._keeper: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Start it, and keep it running until `stop`."""
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self, grace: float) -> None:
        """End it: asked first, killed after `grace` seconds; and whatever of its process group is left."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if (process := self._process) and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait([keeper], timeout=grace)
            _kill_group(process.pid)
        else:
            keeper.cancel()
        await asyncio.wait([keeper])
        self._output.close()
        self._turn("stopped")

    async def _keep(self) -> None:
        quick_ends = 0
        while True:
            started = asyncio.get_running_loop().time()
            ended = await self._run()
            if self._keeper is None:
                return
            quick_ends = quick_ends + 1 if asyncio.get_running_loop().time() - started < STEADY else 0
            pause = min(FIRST_PAUSE * 2**quick_ends, LONGEST_PAUSE)
            self.state.last_exit, self.state.restarts = ended, self.state.restarts + 1
            self._turn("waiting", f"ended by {ended}; starts again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _run(self) -> str:
        """One life of the program; how it ended, in words."""
        pipe = self._output.open()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                process_group=0,
                preexec_fn=partial(die_with, os.getpid()),
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        finally:
            os.close(pipe)
        self.state.pid = self._process.pid
        self._turn("running")
        code = await self._process.wait()
        _kill_group(self._process.pid)
        tell_guard()
        self.state.pid = None
        return f"status {code}" if code >= 0 else signal.Signals(-code).name

    def _turn(self, state: ProcessState, words: str = "") -> None:
        self.state.state, self.state.since = state, now()
        self._changed(f"{self.program.name}: {words}" if words else "")


def _kill_group(leader: int) -> None:
    """Kill what is left of a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
