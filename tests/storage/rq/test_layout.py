"""What a commit writes is what RQ itself would have written, and RQ's own classes read it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Retry, Worker
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit, RateLimitRegistry
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.storage.rq import jobs
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, events
from tests.storage.rq.conftest import RqHarness

NAME = "orders/notify"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)
OURS = {b"committed", b"received", b"attempts", b"reason", b"ended"}
TIMES = {b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat", b"meta", b"description"}


def queue(bus: str, client: Redis) -> Queue:
    """The queue of `NAME` on a bus."""
    return Queue(queue_names(client, bus, [NAME])[0], connection=client, serializer=JSONSerializer)


def queue_names(client: Redis, bus: str, names: list[str]) -> list[str]:
    found: Any = client.hmget(f"{{kubecdc:{bus}}}:queues", names)
    return [name.decode() for name in found]


def fetch(client: Redis, id_: str) -> Job:
    return Job.fetch(id_, connection=client, serializer=JSONSerializer)


async def test_a_committed_event_is_the_job_that_rq_would_have_made(rq_harness: RqHarness, client: Redis) -> None:
    bus, name = await rq_harness.open(), rq_harness.settings.name
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(*events([1, 2]))
    mine = queue(name, client)
    (id_,) = mine.job_ids
    job = fetch(client, id_)
    key = str(job.rate_limit_key)
    (waiting,) = RateLimitRegistry(key, client).get_rate_limited_job_ids()
    assert id_ < waiting
    assert (job.func_name, job.args, job.kwargs) == (jobs.FUNCTION, [NAME, event(1).encode().decode()], {})
    assert job.meta == {"event": event(1).id, "partitionkey": event(1).partitionkey}

    theirs = Queue("theirs", connection=client, serializer=JSONSerializer)
    for _ in range(2):
        theirs.enqueue(
            jobs.FUNCTION,
            args=job.args,
            rate_limit=RateLimit(key="theirs", concurrency=1),
            retry=Retry(max=jobs.RETRIES, enqueue_at_front=True),
            job_timeout=-1,
            result_ttl=0,
            failure_ttl=-1,
        )
    (first,) = theirs.job_ids
    (second,) = RateLimitRegistry("theirs", client).get_rate_limited_job_ids()
    for our_id, their_id in ((id_, first), (waiting, second)):
        ours, rqs = fields(client, our_id), fields(client, their_id)
        assert ours.keys() - OURS - {b"meta"} == rqs.keys()
        different = {name for name in rqs.keys() - TIMES if ours[name] != rqs[name]}
        assert different == {b"data", b"origin", b"rate_limit_key"}
    assert fetch(client, waiting).get_status() == fetch(client, second).get_status() == JobStatus.RATE_LIMITED
    for registry, holder in ((RateLimitRegistry(key, client), id_), (RateLimitRegistry("theirs", client), first)):
        assert registry.get_allowed_job_ids() == [holder]
        assert registry.concurrency == 1
    assert {mine.key, theirs.key} <= {q.key for q in Queue.all(connection=client)}


def fields(client: Redis, id_: str) -> dict[bytes, Any]:
    found: Any = client.hgetall(Job.key_for(id_))
    return dict(found)


async def test_rq_sees_what_a_worker_has_and_the_worker(rq_harness: RqHarness, client: Redis) -> None:
    bus, name = await rq_harness.open("here/7"), rq_harness.settings.name
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        registry = StartedJobRegistry(queue=queue(name, client))
        (id_,) = registry.get_job_ids(cleanup=False)
        (worker,) = Worker.all(queue=queue(name, client))
        assert worker.queue_names() == [f"kubecdc.{name}.orders.notify"]
        job = fetch(client, id_)
        assert (job.get_status(), job.worker_name) == (JobStatus.STARTED, worker.name)
        (execution,) = job.get_executions()
        assert (execution.job_id, execution.worker_name) == (id_, worker.name)
        assert worker.get_current_executions() == [], "rq-dashboard cannot show a worker at a job in JSON"
        await delivery.ack()
        assert registry.get_job_ids(cleanup=False) == []
        assert not Job.exists(id_, connection=client)
    assert Worker.all(queue=queue(name, client)) == []


async def test_nothing_of_rqs_is_left_once_all_is_done(rq_harness: RqHarness, client: Redis) -> None:
    bus, name = await rq_harness.open(), rq_harness.settings.name
    await bus.register([SPEC])
    before = set(client.scan_iter("rq:*"))
    await (await Leader.take(bus)).commit(*events([1, 2]), *events([3, 4], "system:masters:allowed"))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(4)
    left = set(client.scan_iter("rq:*")) - before
    assert left <= {b"rq:queues", b"rq:rl-keys"}, "no lane, job, execution or worker"
    assert not [lane for lane in client.smembers("rq:rl-keys") if f"kubecdc:{name}:".encode() in lane]


async def test_a_dead_letter_is_what_rq_shows_as_failed(rq_harness: RqHarness, client: Redis) -> None:
    bus, name = await rq_harness.open(), rq_harness.settings.name
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        await (await receiver.next()).dead_letter("HTTP 400: no such field")
    failed = FailedJobRegistry(queue=queue(name, client))
    (id_,) = failed.get_job_ids()
    result = fetch(client, id_).latest_result()
    assert result is not None
    assert (result.type, result.exc_string) == (result.Type.FAILED, "HTTP 400: no such field")
    failed.cleanup(timestamp=4e9)
    assert failed.get_job_ids() == [id_], "it never expires"
    assert client.ttl(Job.key_for(id_)) == -1


@pytest.mark.parametrize("at_front", [False, True])
async def test_a_dead_letter_that_rq_requeues_starts_anew(rq_harness: RqHarness, client: Redis, at_front: bool) -> None:
    bus, name = await rq_harness.open(), rq_harness.settings.name
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.dead_letter("no")
        failed = FailedJobRegistry(queue=queue(name, client))
        failed.requeue(failed.get_job_ids()[0], at_front=at_front)
        again = await receiver.next()
        assert (again.event.id, again.attempt) == (event(1).id, 1)
        (status,) = await bus.subscriptions()
        assert (status.pending, status.dead_letters) == (1, 0)
        await again.ack()


async def test_each_subscription_has_a_queue_with_a_name_to_type(rq_harness: RqHarness, client: Redis) -> None:
    bus = await rq_harness.open()
    names = ["a/b", "a.b", "a/b.c", "a.b/c", "with space, comma", "ünïcode/x"]
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in names])
    await (await Leader.take(bus)).commit(event(1))
    of = dict(zip(names, queue_names(client, rq_harness.settings.name, names), strict=True))
    assert of["a/b"] == f"kubecdc.{rq_harness.settings.name}.a.b"
    assert len(set(of.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", queue) for queue in of.values())
    assert {q.name for q in Queue.all(connection=client)} >= set(of.values())


async def test_a_lane_is_free_of_the_colons_that_rq_adds(rq_harness: RqHarness, client: Redis) -> None:
    """A ClusterRole may be called `x:allowed`, which is what RQ calls the set beside the lane `x`."""
    bus = await rq_harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    await leader.commit(event(1, "x"), event(2, "x:allowed"), event(3, "x:rate_limited"))
    async with Receiver.of(bus, NAME, prefetch=3) as receiver:
        assert len(set(await receiver.acked(3))) == 3


async def test_an_event_that_is_no_utf8_arrives_as_it_was(rq_harness: RqHarness) -> None:
    body = json.dumps({"text": "\ud800 é"}, ensure_ascii=False).encode(errors="surrogatepass")
    assert (
        jobs.body(
            b'["kubecdc.rq.handle", null, ["s", %s], {}]' % json.dumps(body.decode(errors="surrogateescape")).encode(),
            None,
        )
        == body
    )


async def test_a_job_that_is_not_ours_is_put_aside_for_rqs_own_tools(rq_harness: RqHarness, client: Redis) -> None:
    bus, name = await rq_harness.open(), rq_harness.settings.name
    await bus.register([SPEC])
    queue(name, client).enqueue("os.getpid", 1, 2, 3)
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        with pytest.raises(Undecodable):
            _ = delivery.event
        await delivery.dead_letter("not a CloudEvent")
    assert FailedJobRegistry(queue=queue(name, client)).get_job_count() == 1
    assert await bus.dead_letters.page() == []
