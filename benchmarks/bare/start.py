"""What every watcher in Python pays: the imports, the inventory read into a dict, a watch up to its first line.

The libraries are those of kubecdc; the inventory is the one that kubecdc keeps in Redis, read by HSCAN.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time

import aiohttp
import msgspec
import prometheus_client  # noqa: F401
import pydantic  # noqa: F401
import structlog  # noqa: F401
import uvloop
import yaml  # noqa: F401
from redis.asyncio import Redis

PAGE = 2000


async def start(url: str, version: str, redis_url: str, key: str) -> None:
    """Print the monotonic time of the first line and the most memory ever used, in MiB."""
    query = {"watch": "true", "resourceVersion": version}
    async with aiohttp.ClientSession() as http, http.get(url, params=query) as answer:
        await answer.content.readany()
        first = time.monotonic()
    inventory = {}
    async with Redis.from_url(redis_url) as redis:
        async for uid, known in redis.hscan_iter(key, count=PAGE):
            inventory[uid.decode()] = msgspec.json.decode(known, type=list[object])
    assert inventory
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(msgspec.json.encode({"first": first, "peak": peak}).decode())


if __name__ == "__main__":
    uvloop.run(asyncio.wait_for(start(*sys.argv[1:5]), 60))
