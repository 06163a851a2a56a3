"""An API server of prebuilt bytes: as fast as a socket takes them, so that what is measured is who reads.

``python -m benchmarks.apiserver --port-file FILE --kind workflow --changes 20000`` lists ``--listed`` objects and
answers each watch with the next ``--changes`` after the version it asks for, one HTTP chunk a line as a real server
does: at once, or ``--rate`` a second with the time of sending written into each line.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import uvloop

from benchmarks.objects import BASE, KINDS, MARK, SENT, Kind

BLOCK = 256 << 10  # bytes a write
CLUSTER = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": "bench"}}


class Collection:
    """The objects of one kind, and the changes that are to come."""

    def __init__(self, kind: Kind, *, listed: int, objects: int, changes: int, watches: int, rate: float) -> None:
        self.kind = kind
        self.changes = changes
        self.rate = rate
        self.sent = 0
        self._items = [kind.object(number, BASE - listed + number) for number in range(listed)]
        self._lines = [kind.line(change, objects) for change in range(1, changes * watches + 1)]
        self._blocks = [] if rate else list(_blocks([_chunk(line) for line in self._lines[:changes]]))

    def page(self, limit: int, offset: int) -> bytes:
        """A page of a list at the newest version."""
        end = min(offset + limit, len(self._items)) if limit else len(self._items)
        more = f'"continue":"{end}",' if end < len(self._items) else ""
        api_version = f"{self.kind.group}/{self.kind.version}".lstrip("/")
        head = f'{{"kind":"{self.kind.name.title()}List","apiVersion":"{api_version}",'
        head += f'"metadata":{{{more}"resourceVersion":"{BASE + self.sent}"}},"items":['
        return head.encode() + b",".join(self._items[offset:end]) + b"]}"

    def blocks(self, after: int) -> list[bytes]:
        """The changes of a watch, ready to be written."""
        chosen = self._lines[after : after + self.changes]
        self._past(after + len(chosen))
        return self._blocks if not after else list(_blocks([_chunk(line) for line in chosen]))

    def line(self, change: int) -> bytes:
        """One change, sent now."""
        self._past(change)
        return _chunk(self._lines[change - 1].replace(MARK + SENT, MARK + b"%020d" % time.monotonic_ns(), 1))

    def _past(self, change: int) -> None:
        """A list from now on has the objects as these changes left them."""
        for done in range(self.sent, min(change, len(self._items))):
            self._items[done] = self.kind.object(done, BASE + done + 1)
        self.sent = max(self.sent, change)


class Server(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._buffer = b""
        self._free = asyncio.Event()
        self._free.set()
        self._watch: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._free.set()
        if self._watch:
            self._watch.cancel()

    def pause_writing(self) -> None:
        self._free.clear()

    def resume_writing(self) -> None:
        self._free.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/api/v1/namespaces/kube-system":
            self._say(200, msgspec.json.encode(CLUSTER))
        elif url.path != self._collection.kind.path:
            self._say(404, b'{"kind":"Status","code":404,"message":"not here"}')
        elif query.get("watch") in {"true", "True"}:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            self._transport.write(head)
            after = int(query.get("resourceVersion") or BASE) - BASE
            self._watch = asyncio.create_task(self._pace(after) if self._collection.rate else self._pour(after))
        else:
            self._say(200, self._collection.page(int(query.get("limit", 0)), int(query.get("continue", 0))))

    def _say(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    async def _pour(self, after: int) -> None:
        for block in self._collection.blocks(after):
            self._transport.write(block)
            await self._free.wait()

    async def _pace(self, after: int) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(self._collection.changes):
            await asyncio.sleep(begun + number / self._collection.rate - loop.time())
            self._transport.write(self._collection.line(after + number + 1))


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(line), line)


def _blocks(chunks: Sequence[bytes]) -> list[bytes]:
    blocks: list[bytes] = []
    some: list[bytes] = []
    size = 0
    for chunk in chunks:
        some.append(chunk)
        size += len(chunk)
        if size >= BLOCK:
            blocks.append(b"".join(some))
            some, size = [], 0
    return [*blocks, b"".join(some)]


async def serve(collection: Collection, port_file: Path) -> None:
    """Forever."""
    server = await asyncio.get_running_loop().create_server(lambda: Server(collection), "127.0.0.1", 0)
    new = port_file.with_suffix(".new")
    new.write_text(str(server.sockets[0].getsockname()[1]))
    new.rename(port_file)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--kind", choices=sorted(KINDS), required=True)
    parser.add_argument("--changes", type=int, required=True, help="for each watch")
    parser.add_argument("--watches", type=int, default=1, help="how many watches, one after the other, get as many")
    parser.add_argument("--listed", type=int, default=0, help="objects that are there from the beginning")
    parser.add_argument("--objects", type=int, default=1000, help="objects that the changes are of")
    parser.add_argument("--rate", type=float, default=0.0, help="changes a second, 0: as fast as they are taken")
    args = parser.parse_args()
    collection = Collection(
        KINDS[args.kind],
        listed=args.listed,
        objects=args.objects,
        changes=args.changes,
        watches=args.watches,
        rate=args.rate,
    )
    uvloop.run(serve(collection, args.port_file))


if __name__ == "__main__":
    main()
