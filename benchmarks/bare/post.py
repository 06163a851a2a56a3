"""aiohttp posts a Workflow so many times, so many at a time."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import msgspec
import uvloop

from benchmarks.objects import KINDS


async def post(url: str, requests: int, concurrency: int) -> None:
    """Print the rate."""
    body, numbers = KINDS["workflow"].object(0, 0), iter(range(requests))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:

        async def one_after_the_other() -> None:
            for _ in numbers:
                async with http.post(url, data=body) as answer:
                    await answer.read()

        begun = time.perf_counter()
        await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
        print(msgspec.json.encode({"rate": requests / (time.perf_counter() - begun)}).decode())


if __name__ == "__main__":
    uvloop.run(post(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
