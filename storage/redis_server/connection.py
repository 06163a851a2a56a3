"""The connections of a process to Redis, and the scripts that it runs there.

Only a script that the server has forgotten is repeated here, because it did not run. All other retries are up to the
caller, under a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec
from redis import exceptions

from kubecdc.errors import Refused, UsageError
from kubecdc.storage.redis_server.client import Client
from kubecdc.storage.redis_server.errors import forbidden
from kubecdc.storage.redis_server.scripts import assembled
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.redis_server.url import EXAMPLES
from kubecdc.storage.redis_server.wire import pack

BLOCK = 2.0  # seconds that a blocking read waits, well below the deadline of a command
BODIES_BYTES = 1024 * 1024  # about what one script may read, so that other commands get their turn
OLDEST = (6, 2)
Argument = str | bytes | int


class Call(msgspec.Struct, frozen=True):
    """A script with its arguments, and both as they are sent."""

    script: str
    args: Sequence[Argument]
    packed: bytes


class Connection:
    """Opened, used and closed from one event loop. ``scripts`` is the package with the scripts of this kind of bus."""

    def __init__(self, settings: ServerSettings, scripts: str) -> None:
        self._scripts = scripts
        self._place = settings.place
        self._prefix = settings.prefix
        self.ending = False  # the bus is being closed, or is closed
        self._client = Client(settings)
        self.full = self._client.full  # retention clears it

    def end(self) -> None:
        """Let endless loops come to an end. Commands are still sent until `close`."""
        self.ending = True

    def run(self, script: str, *args: Argument) -> Awaitable[Any]:
        """Run a script by name: all of it happens, or nothing. If it raises Unavailable, it may have happened."""
        return self.run_call(self.call(script, *args))

    async def run_in_pages(self, script: str, args: Sequence[Argument], at_a_time: int) -> list[Any]:
        """What a script answers for each of the arguments, of which it gets so many at a time. Raises as `run`."""
        found: list[Any] = []
        for start in range(0, len(args), at_a_time):
            found += await self.run(script, *args[start : start + at_a_time])
        return found

    async def run_call(self, call: Call) -> Any:
        """Like `run`, for a call that was prepared with `call`."""
        try:
            return await self._client.send(call.packed)
        except exceptions.NoScriptError:  # a new server, or its scripts were flushed
            return await self._client.send(
                pack("EVAL", assembled(self._scripts, call.script)[0], 1, self._prefix, *call.args)
            )

    def call(self, script: str, *args: Argument) -> Call:
        """A script with its arguments, ready to be sent any number of times."""
        return Call(script, args, pack("EVALSHA", assembled(self._scripts, script)[1], 1, self._prefix, *args))

    def keyed(self, command: str, key: str, *args: Argument) -> Awaitable[Any]:
        """Send a command for one of the keys of the bus."""
        return self.command(command, f"{self._prefix}:{key}", *args)

    def command(self, *args: Argument) -> Awaitable[Any]:
        """Send a command and return the answer. Raises Unavailable, UsageError, Refused."""
        return self._client.send(pack(*args))

    async def read_stream(self, key: str, last: bytes | str, seconds: float) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The entries of a stream after ``last``, as ids and fields. Waits up to so many seconds for the first."""
        name = f"{self._prefix}:{key}"
        command = pack("XREAD", "BLOCK", int(seconds * 1000), "STREAMS", name, last)
        found = await self._client.send(command, waits=True)
        return [(id_, pairs(fields)) for id_, fields in found[0][1]] if found else []

    async def check(self) -> None:
        """Raise Refused for a Redis that is too old or may evict keys, UsageError for a Sentinel."""
        server = _info(await self.command("INFO", "server"))
        if server.get("redis_mode") == "sentinel":
            raise UsageError(f"{self._place} is a Sentinel", hint=f"write {EXAMPLES['sentinel']}")
        version = server["redis_version"]
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise Refused(f"{self._place} is Redis {version}, a bus needs 6.2 or newer", hint="upgrade it")
        memory = _info(await self.command("INFO", "memory"))
        policy = memory.get("maxmemory_policy", "noeviction")
        if int(memory.get("maxmemory", 0)) and policy != "noeviction":
            raise Refused(
                f"{self._place} may evict events when its memory is full (maxmemory-policy {policy})",
                hint="run `redis-cli CONFIG SET maxmemory-policy noeviction`, and set it in its configuration; "
                "then the watcher waits while Redis is full",
            )

    async def require_rights(self) -> None:
        """Raise UsageError if the server forbids a command that a bus sends."""
        if found := await self.run("administration/rights"):
            command, why = (part.decode(errors="replace") for part in found)
            raise forbidden(self._place, self._prefix, f"{command.lower()}: {why}")

    async def close(self) -> None:
        """Close the connections."""
        self.ending = True
        await self._client.close()


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A list of fields and values in turn, as a dictionary."""
    each = iter(flat)
    return dict(zip(each, each, strict=True))


def _info(text: bytes) -> dict[str, str]:
    lines = [line.partition(":") for line in text.decode().splitlines()]
    return {name: value for name, colon, value in lines if colon}
