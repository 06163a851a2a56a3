"""RQ's own workers run the jobs of an rq bus, and die."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rq import Queue
from rq.job import JobStatus
from rq.registry import FailedJobRegistry, StartedJobRegistry

from kubecdc.storage.contracts import Failures
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.pauses import pause, resume
from kubecdc.storage.rq import ServerSettings
from kubecdc.storage.testing.actors import Leader, Receiver, event, events
from tests.storage.keys import NEW, OLD, SECRET, KeyFolder
from tests.storage.redis_server import RedisServer
from tests.storage.rq.workshop import FAST, SUBSCRIPTION, Workshop, kill, workshop

pytestmark = pytest.mark.long
ACK_WAIT = 2.0  # seconds


@pytest.fixture
async def shop(shared_redis: RedisServer, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Workshop]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    settings = ServerSettings(shared_redis.database(4), name=name, ack_wait=timedelta(seconds=ACK_WAIT))
    async with workshop(settings, tmp_path) as shop:
        yield shop


@pytest.mark.parametrize(
    "kind", ["rq.worker.Worker", "rq.worker.SimpleWorker", "rq.worker.SpawnWorker", "kubecdc.rq.worker.Worker"]
)
async def test_a_burst_worker_delivers_in_order_and_leaves_nothing(shop: Workshop, kind: str) -> None:
    sent = [*events([1, 2, 3]), event(4, "b")]
    await shop.leader.commit(*sent)
    worker = shop.rq_worker("--burst", "--worker-class", kind)
    await worker.wait(60)
    assert sorted(shop.accepted) == sorted(e.id for e in sent), worker.tail()
    assert [id_ for id_ in shop.accepted if "uid-a" in id_] == [e.id for e in sent[:3]]
    (status,) = await shop.bus.subscriptions()
    assert (status.pending, status.oldest, status.dead_letters) == (0, None, 0)
    assert not list(shop.client.scan_iter("rq:job:*"))
    assert all(line.idempotency_key.endswith(SUBSCRIPTION) for line in shop.received)


async def test_an_encrypted_event_waits_in_its_job_until_its_key_is_there(shop: Workshop, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "secrets").write(OLD)
    async with folder.kept(OLD) as ring:
        leader = await Leader.take(EncryptedBus(shop.bus, ring), term=2)
        await leader.commit(event(1))
    (job,) = shop.client.scan_iter("rq:job:*")
    assert "as it was" not in str(shop.client.hgetall(job))
    folder.write(NEW)
    shop.environment["KUBECDC_SECRETS_DIR"] = str(folder.secrets)
    keys = "".join(f"    - {{name: {SECRET}, key: {name}}}\n" for name in (NEW, OLD))
    shop.rewrite("spec:\n  redelivery:", f"spec:\n  encryption:\n    keys:\n{keys}  redelivery:")
    worker = shop.rq_worker()
    await shop.until(lambda: "event-locked" in worker.tail(), 30, "the event waits")
    assert shop.received == []
    async with asyncio.timeout(30):
        while "events wait: " not in (said := await shop.status())[1]:
            pass
    assert said[0] == 1
    folder.write(NEW, OLD)
    await shop.until(lambda: shop.accepted == [event(1).id], 30, "the event")
    await shop.empty()
    (status,) = await shop.bus.subscriptions()
    assert (status.pending, status.dead_letters) == (0, 0)
    assert "events wait: " not in (await shop.status())[1]


async def test_a_trigger_that_fails_first_is_repeated_in_its_job_after_the_backoff(shop: Workshop) -> None:
    await shop.behave(status=503, seconds=60)
    await shop.leader.commit(event(1), event(2))
    worker = shop.rq_worker()
    await shop.until(lambda: len(shop.received) == 2, 30, "two attempts")
    await shop.behave()
    await shop.until(lambda: len(shop.accepted) == 2, 30, "both events")
    assert shop.accepted == [event(1).id, event(2).id]
    tries = [line.at for line in shop.received if line.id == event(1).id]
    assert len(tries) > 2
    assert all(after - before >= 0.28 for before, after in pairwise(tries))
    await shop.empty()
    assert "GivenBack" not in worker.output()


async def test_addresses_that_are_denied_are_not_reached_by_workers_of_rq(shop: Workshop) -> None:
    await shop.leader.commit(event(1))
    worker = shop.rq_worker(KUBECDC_DENY_ADDRESSES="127.0.0.0/8")
    await shop.until(lambda: "is refused by --deny-addresses" in worker.output(), 30, "the reason")
    assert not shop.received
    assert await shop.pending() == 1


async def test_what_cannot_be_handled_is_in_the_failed_job_registry_and_can_be_redriven(shop: Workshop) -> None:
    await shop.behave(status=400, seconds=60)
    await shop.leader.commit(event(1), event(2))
    worker = shop.rq_worker()
    failed = FailedJobRegistry(shop.queue, connection=shop.client, serializer="json")
    await shop.until(lambda: failed.get_job_count(cleanup=False) == 2, 30, "two dead letters")
    letters = await shop.bus.dead_letters.page()
    assert [(letter.event, letter.attempts) for letter in letters] == [(event(1).id, 1), (event(2).id, 1)]
    assert "400" in letters[0].reason
    job = shop.job(letters[0].id)
    result = job.latest_result()
    assert job.get_status() == JobStatus.FAILED
    assert result is not None
    assert letters[0].reason in (result.exc_string or ""), "what dashboards show"
    assert await shop.pending() == 0

    await shop.behave()
    await shop.leader.commit(event(3))
    assert await shop.bus.dead_letters.redrive([letters[0].id]) == {}
    await shop.until(lambda: event(1).id in shop.accepted, 20, "the redriven event")
    assert shop.accepted == [event(3).id, event(1).id]
    assert failed.get_job_count(cleanup=False) == 1
    (letter,) = await shop.bus.dead_letters.page()
    assert (letter.event, letter.superseded) == (event(2).id, True), "a later one was delivered, by a worker of RQ"
    assert worker.running


async def test_what_filters_leave_out_of_what_a_transform_makes_is_done_and_no_success(shop: Workshop) -> None:
    await shop.behave(status=400, seconds=60)
    await shop.leader.commit(event(1))
    await shop.rq_worker("--burst").wait(60)
    whole = shop.bus.subscription(SUBSCRIPTION, prefetch=1)
    before = await whole.successes()
    added = "{data: [{path: type, type: string, value: [ADD]}]}"
    shop.rewrite("    name: changed\n", f"    name: changed\n    transform: {{jq: '{{}}'}}\n    filters: {added}\n")
    await shop.leader.commit(event(2))
    worker = shop.rq_worker("--burst")
    await worker.wait(60)
    assert [line.id for line in shop.received] == [event(1).id], worker.tail()
    assert (await shop.pending(), await whole.successes()) == (0, before)
    (letter,) = await shop.bus.dead_letters.page()
    assert (letter.event, letter.superseded) == (event(1).id, False)


async def test_attempts_of_both_kinds_of_workers_add_up_to_max_deliveries(shop: Workshop) -> None:
    await shop.behave(status=503, seconds=60)
    await shop.leader.commit(event(1))
    async with Receiver.of(shop.bus, SUBSCRIPTION, prefetch=2) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.nack(timedelta(0), Failures(1, 0))
        again = await receiver.next()
        assert again.attempt == 2
        await again.start()
        await shop.leader.commit(event(2, "another"))
        assert await receiver.acked(1) == [event(2, "another").id]
        await again.nack(timedelta(0), Failures(1, 0))
    shop.rewrite("maxDeliveries: 20", "maxDeliveries: 3")
    shop.rq_worker()
    failed = FailedJobRegistry(shop.queue, connection=shop.client, serializer="json")
    await shop.until(lambda: failed.get_job_count(cleanup=False) == 1, 30, "a dead letter")
    (letter,) = await shop.bus.dead_letters.page()
    assert letter.attempts == 3
    assert len(shop.received) == 1


async def test_a_paused_subscription_is_not_run_by_rqs_own_worker(shop: Workshop) -> None:
    await pause(shop.bus, SUBSCRIPTION)
    await shop.leader.commit(event(1), event(2))
    shop.rq_worker()
    started = StartedJobRegistry(shop.queue, connection=shop.client, serializer="json")
    await shop.until(lambda: started.get_job_count(cleanup=False) == 1, 30, "a worker that has a job")
    await asyncio.sleep(2 * ACK_WAIT)  # it keeps its claim meanwhile
    assert shop.received == []
    assert started.get_job_count(cleanup=False) == 1
    await resume(shop.bus, SUBSCRIPTION)
    await shop.until(lambda: shop.accepted == [event(1).id, event(2).id], 30, "both events")
    assert len(shop.received) == 2


async def test_an_outage_makes_no_dead_letter_with_rqs_own_worker_either(shop: Workshop) -> None:
    shop.rewrite("maxDeliveries: 20", "maxDeliveries: 2")
    await shop.behave(status=503, seconds=60)
    await shop.leader.commit(event(1))
    shop.rq_worker()
    await shop.until(lambda: len(shop.received) > 4, 30, "more attempts than count")
    await shop.behave()
    await shop.until(lambda: shop.accepted == [event(1).id], 30, "the event")
    assert await shop.bus.dead_letters.page() == []
    subscription = shop.bus.subscription(SUBSCRIPTION, prefetch=1)
    await shop.empty()
    assert await subscription.successes() == 1


async def test_a_worker_without_the_manifest_hands_the_event_back_and_fails_nothing(shop: Workshop) -> None:
    await shop.leader.commit(event(1))
    lost = shop.rq_worker("--max-jobs", "1", manifests="")
    await lost.wait(60)
    assert "KUBECDC_MANIFESTS is not set" in lost.output()
    (status,) = await shop.bus.subscriptions()
    assert (status.pending, status.dead_letters) == (1, 0)
    shop.rq_worker()
    await shop.until(lambda: shop.accepted == [event(1).id], 30, "the event")


async def test_a_worker_that_is_told_to_stop_gives_a_delayed_event_back(shop: Workshop) -> None:
    shop.rewrite("300ms", "60s")
    await shop.behave(status=503, seconds=60)
    await shop.leader.commit(event(1))
    worker = shop.rq_worker(*FAST)
    await shop.until(lambda: shop.received, 30, "the first attempt")
    await shop.behave()
    await asyncio.sleep(0.2)  # the delay of 60 s has begun
    await worker.stop(15)
    shop.rq_worker()
    await shop.until(lambda: shop.accepted == [event(1).id], 30, "the event at the next worker")


async def test_a_machine_that_died_is_found_by_the_heartbeats_of_the_job(shop: Workshop) -> None:
    """RQ's own heartbeats would keep the job for 61 seconds more."""
    await shop.behave(delay=60, seconds=60)
    await shop.leader.commit(event(1), event(2))
    dying = shop.rq_worker()
    await shop.until(lambda: shop.received, 30, "the first attempt")
    await asyncio.sleep(ACK_WAIT)  # the job has extended its claim
    horse = shop.horse(dying)
    await dying.kill()
    kill(horse)
    died = time.monotonic()
    await shop.behave()
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        delivery = await receiver.next()
        took = time.monotonic() - died
        assert (delivery.event.id, delivery.attempt) == (event(1).id, 1)
        print(f"found after {took:.1f} s")
        assert took < ACK_WAIT + 3, took
        await delivery.ack()
        assert await receiver.acked(1) == [event(2).id], "its lane goes on"


async def test_a_job_outlives_rqs_worker_and_is_not_run_twice(shop: Workshop) -> None:
    """Only the parent is killed. RQ alone would have two run the job: the process at work keeps it itself."""
    seconds = 4 * ACK_WAIT
    await shop.behave(delay=seconds, seconds=seconds)
    await shop.leader.commit(event(1), event(2))
    dying = shop.rq_worker(*FAST)
    other = shop.work()
    await other.wait_for('"bus"')
    await shop.until(lambda: shop.received, 30, "the first attempt")
    await dying.kill()
    await shop.until(lambda: len(shop.accepted) >= 2, 30 + seconds, "both events")
    await shop.empty()
    assert shop.accepted == [event(1).id, event(2).id]


async def test_a_job_left_between_rqs_lists_is_put_back_and_not_failed(shop: Workshop) -> None:
    await shop.leader.commit(event(1), event(2))
    shop.client.lmove(f"rq:queue:{shop.queue}", f"rq:queue:{shop.queue}:intermediate")
    begun = time.monotonic()
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        assert await receiver.acked(2) == [event(1).id, event(2).id]
        took = time.monotonic() - begun
    print(f"found after {took:.1f} s")
    assert ACK_WAIT <= took < ACK_WAIT + 3
    (status,) = await shop.bus.subscriptions()
    assert (status.pending, status.dead_letters) == (0, 0)
    assert not shop.client.exists(f"rq:queue:{shop.queue}:intermediate")


async def test_a_lock_that_a_dead_worker_of_rq_holds_stops_nothing(shop: Workshop) -> None:
    """RQ's lock for cleaning lives for 899 seconds, whatever became of its holder."""
    shop.client.set(f"rq:clean_registries:{shop.queue}", 1, ex=899)
    await shop.leader.commit(event(1))
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        await receiver.next()  # it dies with it
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        async with asyncio.timeout(ACK_WAIT + 3):
            assert await receiver.acked(1) == [event(1).id]


async def test_order_and_lanes_hold_with_both_kinds_of_workers(shop: Workshop) -> None:
    numbers, names = range(1, 13), ("a", "b", "c", "d")
    await shop.behave(status=503, delay=0.05, seconds=1.0)
    for first in numbers[::4]:
        await shop.leader.commit(*(event(n, name) for n in numbers[first - 1 : first + 3] for name in names))
    shop.work()
    for kind in ("Worker", "SimpleWorker", "SimpleWorker"):
        shop.rq_worker("--worker-class", f"rq.worker.{kind}")
    await shop.until(lambda: len(set(shop.accepted)) == len(numbers) * len(names), 90, "all events")
    seen: dict[str, list[int]] = defaultdict(list)
    for line in shop.received:
        if line.answer == 200:
            seen[line.partitionkey].append(int(line.sequence))
    assert [seen[key] for key in sorted(seen)] == [[*numbers]] * len(names)
    await shop.empty()
    assert await shop.pending() == 0


async def test_the_leader_finds_what_rqs_workers_leave(shop: Workshop) -> None:
    """Also where no `kubecdc work` runs."""
    await shop.leader.commit(event(1), event(2))
    (first,) = Queue(shop.queue, connection=shop.client).job_ids
    lane = shop.job(first).rate_limit_key
    # RQ's worker ended the job, and died before it gave the place in the lane away.
    shop.client.delete(f"rq:job:{first}", f"rq:queue:{shop.queue}")
    assert shop.client.zrange(f"rq:rl:{lane}:allowed", 0, -1) == [first.encode()]
    async with shop.bus.elector.lead():
        await shop.until(lambda: shop.client.llen(f"rq:queue:{shop.queue}") == 1, 10, "the second event")
        (status,) = await shop.bus.subscriptions()
        assert status.pending == 1
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        assert await receiver.acked(1) == [event(2).id]


async def test_a_job_that_is_in_none_of_rqs_lists_is_put_back_by_the_leader(shop: Workshop) -> None:
    """A worker of several queues takes a job with BLPOP, and may die before it is recorded anywhere."""
    await shop.leader.commit(event(1), event(2), event(3, "b"))
    taken = shop.client.lpop(f"rq:queue:{shop.queue}")
    assert taken
    async with shop.bus.elector.lead(), Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        assert await receiver.acked(1) == [event(3, "b").id], "what is in the queue is left alone"
        begun = time.monotonic()
        assert await receiver.acked(2) == [event(1).id, event(2).id]
    assert time.monotonic() - begun < ACK_WAIT + 3


async def test_a_suspended_rq_suspends_kubecdc_work_too(shop: Workshop) -> None:
    shop.client.set("rq:suspended", 1)
    try:
        await shop.leader.commit(event(1))
        async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
            await receiver.nothing(0.5)
            shop.client.delete("rq:suspended")
            assert await receiver.acked(1) == [event(1).id]
    finally:
        shop.client.delete("rq:suspended")


async def test_rqs_own_cleaning_and_ours_do_not_disturb_each_other(shop: Workshop) -> None:
    await shop.leader.commit(*events([1, 2, 3]))
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        await receiver.next()  # it dies with it
    started = StartedJobRegistry(shop.queue, connection=shop.client, serializer="json")
    await shop.until(started.get_expired_job_ids, 10, "a lapsed job")
    started.cleanup()
    async with Receiver.of(shop.bus, SUBSCRIPTION) as receiver:
        assert await receiver.acked(3) == [event(n).id for n in (1, 2, 3)]
