"""RQ's own functions in pipelines: enqueues 100 jobs in each transaction, then takes and ends 64 at a time.

Each job has a rate limit of its object and the retries that kubecdc's jobs have. It is registered as begun and as ended
with the functions of RQ's own worker, but for 64 jobs in a pipeline; that worker does it for one after the other.
``rates`` prints how many a second; ``commits`` how many seconds so many jobs take at once.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from statistics import median
from typing import Any

import msgspec
from redis import Redis
from rq import Queue, Retry
from rq.executions import Execution
from rq.job import Job
from rq.rate_limit import RateLimit, RateLimitRegistry
from rq.serializers import JSONSerializer
from rq.utils import current_timestamp, now, utcformat

from benchmarks.objects import KINDS

COMMIT, TAKEN = 100, 64  # jobs in a transaction
OBJECTS = 1000
WARM, MEASURED = 10, 10  # times that are not counted, and that are counted
SECONDS = 30  # until a worker counts as dead
WORKER = "bare"


class Jobs:
    """A fresh queue."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queue = Queue("bare", connection=redis, serializer=JSONSerializer)
        self._numbers = count()

    def bodies(self, events: int) -> list[tuple[int, str]]:
        """The next ones, and their numbers."""
        return [
            (number, KINDS["workflow"].object(number % OBJECTS, number).decode())
            for _, number in zip(range(events), self._numbers, strict=False)
        ]

    def enqueue(self, bodies: list[tuple[int, str]]) -> None:
        with self._redis.pipeline() as pipeline:
            for number, body in bodies:
                job = self._queue.create_job(
                    "bare.handle",
                    args=[body],
                    job_id=f"{number:020d}",
                    description=str(number),
                    timeout=-1,
                    result_ttl=0,
                    failure_ttl=-1,
                    retry=Retry(max=10, enqueue_at_front=True),
                    rate_limit=RateLimit(key=f"object-{number % OBJECTS}", concurrency=1),
                )
                self._queue._enqueue_rate_limited_job(job, pipeline)
            pipeline.execute()

    def take(self) -> list[tuple[Job, Execution]]:
        """The next jobs, which are registered as begun."""
        ids: Any = self._redis.lpop(self._queue.key, TAKEN)
        taken = []
        with self._redis.pipeline() as pipeline:
            for job in Job.fetch_many([id_.decode() for id_ in ids or []], self._redis, JSONSerializer):
                assert job
                taken.append((job, Execution.create(job, SECONDS, pipeline, WORKER)))
                job.prepare_for_execution(WORKER, pipeline)
            pipeline.execute()
        return taken

    def end(self, taken: list[tuple[Job, Execution]]) -> None:
        """They are done: they are deleted, and the next ones of their objects enter the queue."""
        with self._redis.pipeline() as pipeline:
            for job, execution in taken:
                job.delete(pipeline=pipeline, remove_from_queue=False)
                execution.delete(job, pipeline)
                lane = RateLimitRegistry.from_job(job)
                lane._release_script(
                    keys=[lane.allowed_key, lane.rate_limited_key],
                    args=[
                        1,
                        current_timestamp(),
                        utcformat(now()),
                        Queue.redis_queue_namespace_prefix,
                        Job.redis_job_namespace_prefix,
                        job.id,
                    ],
                    client=pipeline,
                )
            pipeline.execute()


def rates(jobs: Jobs, events: int) -> dict[str, float]:
    bodies = jobs.bodies(events)
    begun = time.perf_counter()
    for start in range(0, events, COMMIT):
        jobs.enqueue(bodies[start : start + COMMIT])
    enqueued = time.perf_counter()
    left = events
    while left:
        taken = jobs.take()
        jobs.end(taken)
        left -= len(taken)
    return {"publish": events / (enqueued - begun), "consume": events / (time.perf_counter() - enqueued)}


def commits(jobs: Jobs, events: int) -> dict[str, float]:
    seconds = []
    for _ in range(WARM + MEASURED):
        bodies = jobs.bodies(events)
        begun = time.perf_counter()
        jobs.enqueue(bodies)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": median(seconds[WARM:])}


def main(mode: str, events: int) -> None:
    jobs = Jobs(Redis.from_url(os.environ["BARE_REDIS_URL"]))
    print(msgspec.json.encode({"rates": rates, "commits": commits}[mode](jobs, events)).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
