"""An API server that says what a script tells it to, byte by byte: good changes, and garbage once at each place."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from tests.apiserver import write_kubeconfig

FIRST = 10  # the version of the first list, which is empty
Then = Literal["go on", "close", "cut"]


@dataclass(frozen=True)
class Garbage:
    """Bytes in the stream, and what the server does then: goes on, ends the answer properly, or hangs up in it."""

    data: bytes
    then: Then = "go on"


@dataclass(frozen=True)
class Good:
    """The n-th change, an ADDED of an object of its own."""

    n: int

    @property
    def version(self) -> int:
        return FIRST + 1 + self.n

    @property
    def body(self) -> dict[str, object]:
        metadata = {"name": f"wf-{self.n}", "namespace": "default", "uid": f"u{self.n}"}
        return {"kind": "Workflow", "metadata": {**metadata, "resourceVersion": str(self.version)}, "spec": {"é": "\n"}}

    @property
    def line(self) -> bytes:
        return msgspec.json.encode({"type": "ADDED", "object": self.body}) + b"\n"


Script = Sequence[Good | Garbage]


@dataclass
class ScriptedServer:
    """Serves one watch of all workflows. What was garbage once is left out the next time."""

    script: Script
    rng: random.Random
    sent: set[int] = field(default_factory=set)  # places of garbage
    watches: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                if "watch=true" in target:
                    await self._watch(writer, int(re.findall(r"resourceVersion=(\d+)", target)[0]))
                    break
                text = msgspec.json.encode(self._answer(target))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
                )
                writer.write(text)
                await writer.drain()
        writer.close()

    def _answer(self, target: str) -> object:
        if "kube-system" in target:
            return {"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "cluster", "resourceVersion": "1"}}
        made = [item for item in self.script if isinstance(item, Good)] if self.watches else []
        version = max((item.version for item in made), default=FIRST)
        items = [item.body for item in made]
        return {"kind": "WorkflowList", "metadata": {"resourceVersion": str(version)}, "items": items}

    async def _watch(self, writer: asyncio.StreamWriter, version: int) -> None:
        self.watches += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        passed = version == FIRST
        for place, item in enumerate(self.script):
            if isinstance(item, Good):
                if passed:
                    await self._send(writer, item.line)
                passed = passed or item.version == version
                continue
            if not passed or place in self.sent:
                continue
            self.sent.add(place)
            await self._send(writer, item.data)
            if item.then == "cut":
                return
            if item.then == "close":
                break
        else:
            await asyncio.sleep(60)  # a quiet resource, until the client goes
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """In chunks that know nothing of lines."""
        while data:
            size = self.rng.choice([1, 7, 100, 65536])
            piece, data = data[:size], data[size:]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()


@asynccontextmanager
async def scripted(script: Script, folder: Path, seed: int) -> AsyncIterator[Path]:
    """Serve the script; gives the kubeconfig."""
    server = ScriptedServer(script, random.Random(seed))
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await server.serve(reader, writer)
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        port = listening.sockets[0].getsockname()[1]
        yield write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{port}")
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
