"""The embedded stack: a NATS server, then every service, kept running until told to stop."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from nats.aio.client import Client

from lodestream.bus import Bus, connect
from lodestream.errors import LodeError
from lodestream.floors import Floors
from lodestream.housekeeping import keep_house
from lodestream.local import ports
from lodestream.local.child import Child, Program
from lodestream.local.crew import Crew, bounds
from lodestream.local.floorfile import FloorFile
from lodestream.local.fulldisk import FullDisk
from lodestream.local.home import VARIABLE, Home
from lodestream.local.kinship import adopt_orphans, end_orphans, guarded
from lodestream.local.late import start_late
from lodestream.local.lock import only_supervisor
from lodestream.local.logs import RotatedLog, tail
from lodestream.local.natsconf import program, server_name, write_config
from lodestream.local.ports import NATS
from lodestream.local.ready import introduces_itself, services_answer
from lodestream.local.state import State, end_leftovers, now, write_state
from lodestream.objects import open_objects
from lodestream.objects.directory import Directory
from lodestream.process import OBJECTS, set_up_log
from lodestream.registry import node_types
from lodestream.rights import OPERATOR
from lodestream.scaling.keep import keep_scaled
from lodestream.streams import ensure_streams
from lodestream.workfolder import sweep

START_LIMIT = 60.0
"""Seconds until everything answers; a large JetStream store takes some of them."""
ENDS_ALLOWED = 2
"""How often a service may end by itself before it has ever answered."""
GRACE = 15.0
"""Seconds that a process told to end has; killed then, it loses nothing."""

LOOK_EVERY = 2.0
"""Seconds between looks at what passes or is mended slowly: a lost port, failed housekeeping."""

Ready = Callable[[State], None]


class Supervisor:
    """Runs one home's processes. `run` is its whole life."""

    def __init__(self, home: Home, table: list[Program]) -> None:
        self.home, self.table = home, table
        self.state = State(pid=os.getpid(), since=now())
        self._children: list[Child] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._proven = False
        """Whether it was ready once."""
        told = (program.env[OBJECTS] for program in table if OBJECTS in program.env)
        self._objects = open_objects(next(told, home.objects.as_uri()))
        self._floors = Floors(FloorFile(home.run / "floors.json"), self._objects)
        self._log = RotatedLog(home.logs / "supervisor.log")

    async def run(self, on_ready: Ready | None = None) -> None:
        """Start all, call `on_ready` once everything answers, end all at SIGTERM or SIGINT.

        Raises LodeError, with the last lines of a log, where something does not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        try:
            while await self._until_stopped(self._begin()):
                self.state.ready = self._proven = True
                self._changed("ready")
                if on_ready:
                    on_ready(self.state)
                    on_ready = None
                if not await self._until_port_is_lost():
                    break
                await self._end(f"a stranger has taken the port of {self.state.nats_url}: starts anew on another")
        except LodeError as error:
            self._changed(str(error))
            raise
        finally:
            await self._end("stops")
            self._changed("stopped")
            self._log.close()

    async def _until_stopped(self, work: "asyncio._CoroutineLike[None]") -> bool:
        """Do the work, or leave it when told to stop; whether it was done. Raises what the work raises."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            return False
        task.result()
        return True

    async def _begin(self) -> None:
        """Start; what has been ready before is tried again until it is. Raises LodeError where it never was."""
        while True:
            try:
                return await self._start()
            except LodeError as error:
                if not self._proven:
                    raise
                await self._end(f"starts again: {error}")
                await asyncio.sleep(LOOK_EVERY)

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(START_LIMIT):
                await self._start_nats()
                bus = await self._operator(START_LIMIT)
                try:
                    await ensure_streams(bus.nc)
                    await self._rewind(bus.nc)
                    services = [self._add_service(p) for p in self.table if not p.needs]
                    wanted = Counter(p.service for p in self.table if p.service)
                    await services_answer(bus.nc, wanted, lambda: self._give_up_on(services))
                finally:
                    await bus.close()
        except TimeoutError:
            late = ", ".join(c.program.name for c in self._children)
            raise LodeError(f"not ready after {START_LIMIT:g} s ({late}); see the logs in {self.home.logs}") from None

    async def _rewind(self, nc: Client) -> None:
        if begun := await self._floors.rewind(nc):
            self._changed(f"the last end was not in order; looks at the last work again: {', '.join(begun)}")
        await self._floors.note(nc)

    async def _until_port_is_lost(self) -> bool:
        """Keep house until told to stop (False), or until the server has died and another has its port (True)."""
        late = start_late(self.table, self._add_late)
        work = (self._keep_house(), self._keep_floors(), self._keep_room(), self._keep_scaled(), late)
        duties = [asyncio.create_task(duty) for duty in work]
        try:
            return await self._until_stopped(self._port_lost())
        finally:
            for duty in duties:
                duty.cancel()

    async def _port_lost(self) -> None:
        nats, port = self._children[0].state, self.home.instance().ports[NATS]
        while nats.state != "waiting" or ports.is_free(port):
            await asyncio.sleep(LOOK_EVERY)

    async def _keep_floors(self) -> None:
        bus = await self._operator(None)
        try:
            await self._floors.keep(bus)
        finally:
            await bus.close()

    async def _keep_scaled(self) -> None:
        """Start and stop workers of the services whose number follows what waits."""
        if limits := bounds(self.table):
            crew = Crew(self.table, self._children, self._add_service, self._remove)
            await self._keep("scaling", lambda bus: keep_scaled(bus, limits, crew, self._changed))

    async def _keep_room(self) -> None:
        """Start the server anew once a disk that was full has room again: by itself it would store nothing more."""
        nats, disk = self._children[0], FullDisk(self._log_file(NATS))
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if disk.is_over() and (pid := nats.state.pid):
                self._changed("the disk was full and has room again: the NATS server starts anew")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    async def _keep_house(self) -> None:
        await self._keep("housekeeping", lambda bus: keep_house(bus, self._objects, self._changed))

    async def _keep(self, what: str, work: Callable[[Bus], Awaitable[None]]) -> None:
        """Do it for ever, on a connection of its own, also after any failure: nothing of it is worth the instance."""
        while True:
            bus = await self._operator(None)
            try:
                await work(bus)
            except* Exception as failed:
                why = "; ".join(f"{type(error).__name__}: {error}" for error in failed.exceptions)
                self._changed(f"{what} failed, goes on: {why}")
                await asyncio.sleep(LOOK_EVERY)
            finally:
                await bus.close()

    async def _operator(self, patience: float | None) -> Bus:
        return await connect(self.state.nats_url, OPERATOR, self.home.password(OPERATOR), patience=patience)

    async def _start_nats(self) -> None:
        """Raises LodeError where the server ends, though its port is free."""
        while True:
            port = self._choose_ports()
            server = Program(name=NATS, argv=[program(), "-c", str(write_config(self.home, node_types(), port))])
            child = self._add(server, {**os.environ, **self.home.environment(OPERATOR)})
            while not child.state.restarts:
                if await introduces_itself(port, server_name(self.home)):
                    return
                await asyncio.sleep(0.02)
            await child.stop(GRACE)
            self._children.remove(child)
            if ports.is_free(port):  # so it was not for the port that it ended
                raise LodeError(self._last_words(child))

    def _choose_ports(self) -> int:
        """The server's port; all are remembered."""
        instance = self.home.instance()
        instance.ports = ports.choose_all(instance.ports)
        self.home.save(instance)
        self.state.nats_url = self.home.nats_url()
        return instance.ports[NATS]

    def _add(self, program: Program, env: Mapping[str, str]) -> Child:
        child = Child(program, env, RotatedLog(self._log_file(program.name)), self._changed)
        self._children.append(child)
        self.state.processes = [c.state for c in self._children]
        child.start()
        return child

    def _add_service(self, program: Program) -> Child:
        return self._add(program, self._environment(program))

    def _add_late(self, program: Program) -> Child:
        return self._add(program, {**os.environ, VARIABLE: str(self.home.root), **program.env})

    async def _remove(self, child: Child) -> None:
        """End one of several, which finishes or hands back what it has; it does so too when nobody waits any more."""
        leaving = asyncio.create_task(child.stop(GRACE))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)
        self._children.remove(child)
        self.state.processes = [c.state for c in self._children]
        self._changed("")

    def _environment(self, program: Program) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.home.environment(program.user), **program.env}

    def _give_up_on(self, services: list[Child]) -> None:
        """Raises LodeError for a service that ends again and again."""
        for child in services:
            if child.state.restarts > ENDS_ALLOWED:
                raise LodeError(self._last_words(child))

    def _last_words(self, child: Child) -> str:
        name = child.program.name
        log = tail(self._log_file(name))
        return f"{name} does not start (ended by {child.state.last_exit}); the end of its log:\n{log}"

    def _changed(self, words: str) -> None:
        write_state(self.home, self.state)
        if words:
            line = {"event": words, "timestamp": now(), "level": "info"}
            self._log.write(msgspec.json.encode(line) + b"\n")

    async def _end(self, why: str) -> None:
        """Services first, so that they can hand back what they hold; then the server."""
        self.state.ready = False
        self._changed(why)
        adopt_orphans()
        services = [c for c in self._children if c.program.name != NATS]
        await asyncio.gather(*self._leaving, *(child.stop(GRACE) for child in services))
        await asyncio.gather(*(child.stop(GRACE) for child in self._children if child not in services))
        end_orphans()
        sweep(self.home.work, node_types())
        await self._floors.forget()
        self._children.clear()

    def _log_file(self, name: str) -> Path:
        return self.home.logs / f"{name}.log"


def supervise(home: Home, table: list[Program], on_ready: Ready | None = None) -> None:
    """Run a home's processes until told to stop, in a guarded process of its own, where `on_ready` is called too.

    Raises LodeError, in words for a person.
    """
    try:
        guarded(lambda: _supervise(home, table, on_ready))
    finally:
        sweep(home.work, node_types())


def _supervise(home: Home, table: list[Program], on_ready: Ready | None) -> None:
    try:
        set_up_log()
        home.refuse_strangers()
        with only_supervisor(home):
            home.prepare()
            end_leftovers(home)
            Directory(home.objects).sweep()
            sweep(home.work, node_types())
            asyncio.run(Supervisor(home, table).run(on_ready))
    except OSError as error:
        why = f"{error.strerror or error}; free some space there, or name another place by {VARIABLE}"
        raise LodeError(f"cannot work in {home.root}: {why}") from error
