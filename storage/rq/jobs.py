"""The jobs of RQ that events become, and back.

A job calls ``kubecdc.rq.handle(<subscription>, <event as JSON text>)``. RQ's own classes lay out its fields. Beside
those, its hash has fields of ours, which RQ leaves alone: ``committed`` (ms), ``received`` and ``attempts`` (how
often), ``reason`` and ``ended`` (ms) of a dead letter.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote

from redis import Redis
from rq.exceptions import DeserializationError
from rq.job import Job, JobStatus, Retry
from rq.serializers import JSONSerializer
from rq.utils import utcformat

from kubecdc.storage.contracts.event import Event, redelivered
from kubecdc.storage.redis_server.connection import Argument

FUNCTION = "kubecdc.rq.handle"
RETRIES = 10_000
"""How often RQ itself runs a job again whose worker died. Attempts are counted by us; this is only far above them.

Without an interval, with which RQ gives the job's place in its lane away.
"""
FOREVER = -1  # for RQ: no timeout, or kept until it is deleted
OFFLINE = Redis()  # for RQ's classes, which only lay out fields here: it is never connected


def time_text() -> str:
    """The time, as RQ writes it."""
    return utcformat(datetime.now(UTC))


@cache
def common_fields() -> tuple[Argument, ...]:
    """The fields that all jobs have, and their values, in turn."""
    job = Job.create(
        FUNCTION,
        args=[],
        connection=OFFLINE,
        status=JobStatus.RATE_LIMITED,
        timeout=FOREVER,
        result_ttl=0,
        failure_ttl=FOREVER,
        retry=Retry(max=RETRIES, enqueue_at_front=True),
        serializer=JSONSerializer,
    )
    job.rate_limit_concurrency = 1
    fields = job.to_dict()
    for own in ("data", "created_at", "description"):
        fields.pop(own, None)
    fields["status"] = JobStatus.RATE_LIMITED.value
    return tuple(value for pair in fields.items() for value in pair)


def lay_out(event: Event) -> list[Argument]:
    """An event as `commit.lua` reads it: lane, description, meta, the event as JSON string."""
    meta = {"event": event.id, "partitionkey": event.partitionkey}
    text = event.encode().decode(errors="surrogateescape")
    return [lane(event.partitionkey), event.id, json.dumps(meta), json.dumps(text)]


def lane(partitionkey: str) -> str:
    """A partitionkey in the name of a rate limit. RQ appends parts with colons, and names of objects may have some."""
    return quote(partitionkey, safe="/.")


def body(data: bytes, redelivery: bytes | None) -> bytes:
    """The event of a job, as it was enqueued. Of a job that is not ours it returns what there is, which is no event.

    ``redelivery`` is why it is delivered again, None or b"" if it is not.
    """
    job = Job(connection=OFFLINE, serializer=JSONSerializer)
    job.restore({b"data": data})
    try:
        _, text = job.args
        event = str(text).encode(errors="surrogateescape")
        return redelivered(event, "redrive") if redelivery else event
    except (DeserializationError, ValueError):
        return data


def meta(found: bytes | None) -> dict[str, str]:
    """The names of the event, ``event`` and ``partitionkey``; empty if they cannot be read."""
    try:
        return dict(json.loads(found)) if found else {}
    except ValueError:
        return {}
