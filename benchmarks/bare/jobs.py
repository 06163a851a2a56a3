"""RQ by itself: jobs enqueued one by one, in as many lanes as there are objects, then run by a SimpleWorker.

Prints the rates of both.
"""

from __future__ import annotations

import logging
import sys
import time

import msgspec
from redis import Redis
from rq import Queue, Retry, SimpleWorker
from rq.rate_limit import RateLimit
from rq.serializers import JSONSerializer

from benchmarks.objects import BASE, KINDS


def main(url: str, events: int) -> None:
    redis = Redis.from_url(url)
    queue = Queue("bare", connection=redis, serializer=JSONSerializer)
    body = KINDS["workflow"].object(0, 0).decode()
    begun = time.perf_counter()
    for number in range(events):
        queue.enqueue(
            "operator.eq",
            args=["bare", body],
            job_id=f"{number:020d}",
            rate_limit=RateLimit(key=f"object-{number % BASE}", concurrency=1),
            retry=Retry(max=9),
            result_ttl=0,
        )
    enqueued = time.perf_counter()
    logging.disable(logging.CRITICAL)
    SimpleWorker([queue], connection=redis, serializer=JSONSerializer).work(burst=True)
    done = time.perf_counter()
    rates = {"enqueue": events / (enqueued - begun), "run": events / (done - enqueued)}
    print(msgspec.json.encode(rates).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
