"""One run of a job by RQ's own worker."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from contextlib import suppress
from typing import cast

import structlog
from rq import get_current_job
from rq.job import Job

from kubecdc import facts, nesting
from kubecdc.cli.logs import event_lines, lines
from kubecdc.cli.status.reporter import Reporter
from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.rq.configuration import addresses, configured, opening
from kubecdc.rq.delivery import JobDelivery, JobSubscription
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.errors import ClaimLost, NoSubscription
from kubecdc.storage.contracts.event import redelivered
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.opening import opened
from kubecdc.storage.pauses import paused
from kubecdc.storage.rq.bus import RqBus
from kubecdc.storage.rq.deliveries.running_job import RunningJob
from kubecdc.storage.rq.jobs import RETRIES
from kubecdc.workers import locked
from kubecdc.workers.joining import share
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route, close, route
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import persist

log = structlog.get_logger()
PAUSE = 5.0  # seconds before a job that cannot be worked on here is handed back
STOPPING = 1.0  # seconds between two looks at whether RQ's worker is to stop


class DeadLettered(Exception):
    """The event is a dead letter. The text is the reason."""


class GivenBack(Exception):
    """The event is not done, and no failure: RQ has to run its job again, which it does at once."""


def run(subscription: str, event: str) -> None:
    """Run the trigger until the event is settled. Raises DeadLettered, GivenBack: then RQ ends the job accordingly."""
    job = get_current_job()
    if job is None or not job.worker_name:
        raise UsageError("kubecdc.rq.handle was called outside a job", hint="it is for RQ's workers: docs/rq.md")
    if not structlog.is_configured():
        verbose = logging.getLogger("rq.worker").isEnabledFor(logging.DEBUG)
        structlog.configure(
            processors=lines("console", sys.stderr),
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
            logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        )
    nesting.allow()
    job.retries_left = RETRIES  # of dead workers and of GivenBack; attempts are counted by us
    try:
        last = asyncio.run(_work(job, subscription, event.encode(errors="surrogateescape"))).last
    except ClaimLost as e:
        _leave(job, e)
        return
    except NoSubscription as e:  # it was pruned, and so this job is to be deleted
        log.warning("the event is no longer owed to any subscription", code="job-unwanted", error=str(e), **_facts(job))
        return
    except KubecdcError as e:
        log.error(
            "the event cannot be processed here; it is returned",
            code="job-returned",
            error=str(e),
            hint=e.hint,
            **_facts(job),
        )
        time.sleep(PAUSE)
        raise GivenBack(f"{e} ({e.hint})" if e.hint else str(e)) from e
    if last.reason:
        job.retries_left = 0
        raise DeadLettered(last.reason)
    if last.lost:
        _leave(job, ClaimLost.lapsed(job.id))
    elif not last.done:
        raise GivenBack("the worker stops")


async def _work(job: Job, subscription: str, body: bytes) -> JobSubscription:
    found = configured(subscription)
    how = opening()
    async with opened(found.bus, how) as bus:
        inner = bus.inner if isinstance(bus, EncryptedBus) else bus
        if not isinstance(inner, RqBus):
            raise UsageError(f"the bus of {subscription!r} is not an rq bus in the manifests of this worker")
        running = inner.running(job.id, cast(str, job.worker_name), subscription)
        claim, received, attempts, failures, again = await running.begin()
        if again:
            body = redelivered(body, "redrive")
        whole = inner.subscription(subscription, prefetch=1)
        last = JobDelivery(claim, body, received=received, attempts=attempts, failures=failures, wait=running.wait)

        async def is_paused() -> bool:
            return found.trigger.paused or subscription in await persist(lambda: paused(bus))

        one = JobSubscription(last, whole, is_paused)
        settings = Settings.of(found.bus.spec.redelivery, ack_wait=bus.ack_wait, concurrency=1)
        cluster = how.cluster.shared()
        given = {"concurrency": 1, "render": event_lines(None), "mounts": how.mounts, "cluster": cluster}
        given |= {"addresses": addresses()}
        to = route(found.sensor, found.trigger, found.dependency, **given)
        share(bus, [to])
        stop = asyncio.Event()
        beside = [asyncio.create_task(_set_when_stopping(running, stop))]
        beside.append(asyncio.create_task(_report_when_locked(bus, found.bus.name, how.holder, to)))
        try:
            opened_one = bus.opening(one) if isinstance(bus, EncryptedBus) else one
            await consume(opened_one, to, settings, stop=stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await close([to])
            await cluster.aclose()
            await settings.scripts.close()
    return one


async def _set_when_stopping(running: RunningJob, stop: asyncio.Event) -> None:
    """RQ's worker waits for its job when it is told to stop; a delay may be longer than it has."""
    while not stop.is_set():
        await asyncio.sleep(STOPPING)
        with suppress(Unavailable):
            if await running.stopping():
                stop.set()


async def _report_when_locked(bus: Bus, name: str, holder: str, to: Route) -> None:
    """While the event waits for its key, `kubecdc status` shows it. Other jobs are over too soon to report anything."""
    while locked.trouble(to, time.time) is None:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(STOPPING)
    end = facts.triggers.read(to.subscription, lambda: facts.Trigger(locked=locked.trouble(to, time.time)))
    try:
        await Reporter(name, bus, holder, subscriptions=lambda: (to.subscription,)).keep()
    finally:
        end()


def _facts(job: Job) -> dict[str, object]:
    """For log lines: the job, its event and the object of that."""
    return {"job": job.id, "object": job.meta.get("partitionkey", "?"), "event_id": job.meta.get("event", "?")}


def _leave(job: Job, error: ClaimLost) -> None:
    """Another worker has the job, or will have it: RQ must not end it here.

    The process that RQ forked for the job ends without a word to RQ. A SimpleWorker has no such process: it puts the
    job into the queue once more, and the event may be delivered twice.
    """
    log.warning("the job was lost to another worker; the event is delivered again", code="job-lost", **_facts(job))
    if os.environ.get("RQ_JOB_ID") == job.id:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(0)
    raise GivenBack(str(error)) from error
