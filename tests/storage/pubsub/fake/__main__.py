"""The fake as a process, with faults over HTTP: ``python -m tests.storage.pubsub.fake --port 8085 --admin-port 8086``.

POST /fault?method=Publish&when=after&code=UNAVAILABLE&count=2   as `server.Fault`
POST /lapse   /advance?seconds=60   /duplicate?n=5 (messages that were acknowledged come again)
GET /state   what waits, is out and is acknowledged, by subscription
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.storage.pubsub.fake.server import FakePubSub, Fault


def apply(fake: FakePubSub, path: str, query: dict[str, str]) -> Any:
    """Do what a request asks for. Returns the answer."""
    match path:
        case "/fault":
            count = int(query.get("count", "1"))
            when: Any = query.get("when", "before")
            fake.fault(query["method"], Fault(when, query.get("code", "UNAVAILABLE"), count))
        case "/lapse":
            fake.lapse()
        case "/advance":
            fake.advance(float(query["seconds"]))
        case "/duplicate":
            for subscription in fake.subscriptions.values():
                subscription.repeat(int(query.get("n", "1")))
        case "/state":
            return {name: one.state() for name, one in fake.subscriptions.items()}
        case _:
            return {"error": "no such command"}
    return {}


async def serve(port: int, admin_port: int, least_ack: int) -> None:
    """Run until SIGTERM or SIGINT. Prints a line once it answers."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with FakePubSub(least_ack=least_ack, port=port) as fake:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, target, *_ = (await reader.readline()).decode().split()
            url = urlsplit(target)
            body = json.dumps(apply(fake, url.path, dict(parse_qsl(url.query)))).encode()
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", admin_port)
        print(f"{fake.address} {server.sockets[0].getsockname()[1]}", flush=True)
        await ended.wait()
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--admin-port", type=int, default=0)
    parser.add_argument("--least-ack", type=int, default=10, help="shortest ackWait in seconds")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.admin_port, arguments.least_ack))


if __name__ == "__main__":
    main()
