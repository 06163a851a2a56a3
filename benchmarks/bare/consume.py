"""A consumer group reads one stream: all that is in it as fast as it goes, or each event as it comes.

``drain`` fills the stream with so many Workflows first and prints the rate of reading and acknowledging them;
``follow`` prints each body as it comes.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import msgspec
from redis import Redis

from benchmarks.objects import KINDS

COUNT = 100


def drain(redis: Redis, events: int) -> None:
    body = KINDS["workflow"].object(0, 0)
    for start in range(0, events, COUNT):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(start, min(start + COUNT, events)):
            pipeline.xadd("bare", {"body": body})
        pipeline.execute()
    begun, done = time.perf_counter(), 0
    while done < events:
        done += len(_read(redis, None))
    print(msgspec.json.encode({"rate": events / (time.perf_counter() - begun)}).decode())


def follow(redis: Redis) -> None:
    while True:
        for body in _read(redis, 2000):
            os.write(1, body + b"\n")


def _read(redis: Redis, block: int | None) -> list[bytes]:
    found: Any = redis.xreadgroup("bare", "bare", {"bare": ">"}, count=COUNT, block=block)
    if not found:
        return []
    entries = found[0][1]
    redis.xack("bare", "bare", *[id_ for id_, _ in entries])
    return [fields[b"body"] for _, fields in entries]


def main(mode: str, url: str, events: int) -> None:
    redis = Redis.from_url(url, protocol=2)
    redis.xgroup_create("bare", "bare", "0", mkstream=True)
    if mode == "drain":
        drain(redis, events)
    else:
        follow(redis)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
