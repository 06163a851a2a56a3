"""A small HTTP server that writes down each request before it answers: the other end of an `http` trigger.

A process of its own, so that what it has written survives whatever happens to the sender and to the test.
``POST /_behave {"status": 503, "delay": 0.2, "hang_up": false, "seconds": 5}`` makes it misbehave for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import msgspec
from aiohttp import web

from tests.harness.ledger import Receipt, parse_id
from tests.harness.writer import TAG


class Line(msgspec.Struct, kw_only=True):
    """One request as written to the file; the names are those of the headers."""

    at: float  # monotonic seconds, comparable between processes of one machine
    peer: str
    method: str
    path: str
    answer: int  # 0: hung up
    id: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""
    partitionkey: str = ""
    sequence: str = ""
    synthetic: str = ""
    epoch: str = ""
    idempotency_key: str = ""
    size: int = 0
    tag: str = ""  # of the write that made the object, where the body has it
    body: str = ""  # kept only with --bodies


class Behaviour(msgspec.Struct, kw_only=True):
    """What to do instead of answering 200 at once, for ``seconds`` from now."""

    status: int = 200
    delay: float = 0.0
    hang_up: bool = False
    answer_bytes: int = 0  # of a body with the answer
    partitionkey: str = ""  # to events of this object only
    seconds: float = 0.0


class Receiver:
    """Handles requests; ``out`` gets a line for each, flushed to the kernel before the answer leaves."""

    def __init__(self, out: TextIO, *, bodies: bool = False) -> None:
        self._out = out
        self._bodies = bodies
        self._behaviour = Behaviour()
        self._until = 0.0
        self._encoder = msgspec.json.Encoder()

    async def behave(self, request: web.Request) -> web.Response:
        """Take a `Behaviour` and follow it from now on."""
        self._behaviour = msgspec.json.decode(await request.read(), type=Behaviour)
        self._until = time.monotonic() + self._behaviour.seconds
        return web.Response()

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Write it down, then answer."""
        body = await request.read()
        now = time.monotonic()
        header = request.headers
        behaviour = self._behaviour if now < self._until else Behaviour()
        if behaviour.partitionkey not in {"", header.get("ce-partitionkey", "")}:
            behaviour = Behaviour()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        line = Line(
            at=now,
            peer=f"{peer[0]}:{peer[1]}" if peer else "",
            method=request.method,
            path=request.path,
            answer=0 if behaviour.hang_up else behaviour.status,
            id=header.get("ce-id", ""),
            type=header.get("ce-type", ""),
            source=header.get("ce-source", ""),
            subject=header.get("ce-subject", ""),
            partitionkey=header.get("ce-partitionkey", ""),
            sequence=header.get("ce-sequence", ""),
            synthetic=header.get("ce-synthetic", ""),
            epoch=header.get("ce-epoch", ""),
            idempotency_key=header.get("Idempotency-Key", ""),
            size=len(body),
            tag=tag_of(body),
            body=body.decode() if self._bodies else "",
        )
        self._out.write(self._encoder.encode(line).decode() + "\n")
        self._out.flush()
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        if behaviour.hang_up and request.transport:
            request.transport.abort()
        return web.Response(status=behaviour.status, body=b"." * behaviour.answer_bytes)


class _Metadata(msgspec.Struct):
    annotations: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Data(msgspec.Struct):
    body: _Object


_data = msgspec.json.Decoder(_Data)


def tag_of(body: bytes) -> str:
    """The writer's annotation on the object that an event's data carry; "" where there is none."""
    try:
        return _data.decode(body).body.metadata.annotations.get(TAG, "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def lines(path: Path) -> Iterator[Line]:
    """What the receiver has written so far; a last line that is still being written is left out."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def receipts(path: Path) -> dict[str, list[Receipt]]:
    """The requests received, by subscription (``<sensor>/<trigger>``, the end of the idempotency key)."""
    found: dict[str, list[Receipt]] = {}
    for line in lines(path):
        subscription = "/".join(line.idempotency_key.rsplit("/", 2)[1:])
        receipt = _receipt(
            line.id, line.idempotency_key, line.partitionkey, line.sequence, synthetic=line.synthetic == "true"
        )
        accepted = 200 <= line.answer < 300
        found.setdefault(subscription, []).append(
            replace(receipt, at=line.at, accepted=accepted, tag=line.tag, epoch=int(line.epoch or 0))
        )
    return found


class Printed(msgspec.Struct, kw_only=True):
    """A line of a `log` trigger, or any other line of the log it is in."""

    sensor: str = ""
    trigger: str = ""
    event_context: dict[str, Any] = msgspec.field(name="eventContext", default_factory=dict)


def printed(path: Path) -> dict[str, list[Receipt]]:
    """What `log` triggers wrote, by ``<sensor>/<trigger>``. Such a line has no time: ``at`` is 0."""
    decoder = msgspec.json.Decoder(Printed)
    found: dict[str, list[Receipt]] = {}
    for text in path.read_bytes().splitlines():
        if b'"eventContext"' not in text:
            continue
        line = decoder.decode(text)
        context, subscription = line.event_context, f"{line.sensor}/{line.trigger}"
        found.setdefault(subscription, []).append(
            _receipt(
                context["id"],
                f"{context['source']}/{context['id']}/{subscription}",
                context["partitionkey"],
                context["sequence"],
                synthetic=context.get("synthetic", False),
            )
        )
    return found


def _receipt(event_id: str, key: str, partitionkey: str, sequence: str, *, synthetic: bool) -> Receipt:
    subject, uid, version, action = parse_id(event_id)
    return Receipt(
        id=event_id,
        key=key,
        subject=subject,
        uid=uid,
        version=version,
        action=action,
        partitionkey=partitionkey,
        sequence=int(sequence),
        synthetic=synthetic,
        at=0.0,
    )


async def serve(out: Path, port: int, port_file: Path | None, *, bodies: bool) -> None:
    """Serve on 127.0.0.1 until cancelled; the port goes to the file once it listens."""
    with out.open("a") as file:
        receiver = Receiver(file, bodies=bodies)
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/_behave", receiver.behave)
        app.router.add_route("*", "/{path:.*}", receiver.receive)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
            await site.start()
            if port_file:
                bound = runner.addresses[0][1]
                fresh = port_file.with_suffix(".new")
                fresh.write_text(str(bound))
                fresh.replace(port_file)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file that gets one JSON line a request")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--bodies", action="store_true", help="keep the bodies too")
    args = parser.parse_args()
    try:
        asyncio.run(serve(args.out, args.port, args.port_file, bodies=args.bodies))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
