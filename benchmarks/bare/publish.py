"""A watch line is read with aiohttp and goes into one stream with XADD, one by one."""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from redis.asyncio import Redis

from benchmarks.objects import BASE


async def publish(url: str, redis_url: str) -> None:
    """Until it is ended."""
    redis = Redis.from_url(redis_url)
    query = {"watch": "true", "resourceVersion": str(BASE)}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, params=query) as answer:
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await redis.xadd("bare", {"body": line})


if __name__ == "__main__":
    uvloop.run(publish(*sys.argv[1:3]))
