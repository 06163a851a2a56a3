"""How the subscriptions are: those of the triggers, and those of an EventBus for consumers of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from kubecdc.cli.buses import paused_in
from kubecdc.cli.output import Row, time
from kubecdc.cli.status.look import Found
from kubecdc.cli.status.record import Process, Subscription
from kubecdc.cli.status.sources import CANNOT_REPORT, leading
from kubecdc.cli.status.verdict import Finding, Verdict, row, seconds
from kubecdc.storage.contracts import SubscriptionStatus, Unknown

BEHIND_SECONDS = 60.0  # the age of the oldest event
FAILING_SECONDS = 10.0  # without a success: one failure now and then is none of the trigger
Works = Sequence[tuple[Process, Subscription]]


def subscription_row(found: Found, status: SubscriptionStatus) -> Row:
    """The row of one subscription."""
    name = status.spec.name
    works = [(p, p.subscriptions[name]) for p in found.processes or () if name in p.subscriptions]
    rates = [work.rate for _, work in works if work.rate is not None]
    pause = _pause(found, name, works)
    age = found.at - status.oldest if isinstance(status.oldest, float) else None
    idle = status.pending == 0 and not any(rates)
    troubles = [trouble for _, work in works if (trouble := work.locked or work.breaker or work.failed)]
    leader = leading(found)
    source = leader.sources.get(f"{status.spec.source}/{status.spec.subject}") if leader else None
    return row(
        f"subscription/{name}",
        list(_findings(found, status, works, pause, age)),
        Verdict.IDLE if idle else Verdict.OK,
        kind="subscription",
        bus=found.manifest.name,
        by=_workers(found, status, works),
        behind=seconds(age),
        pending=_number(status.pending),
        rate_in=source.rate if source else None,
        rate_out=sum(rates) if rates else None,
        dead=_number(status.dead_letters),
        paused=pause,
        gone=status.gone,
        breaker_open=any(work.breaker for _, work in works) if works else None,
        failure=troubles[0].reason if troubles else None,
        since=time(min(trouble.since for trouble in troubles)) if troubles else None,
    )


def _findings(
    found: Found, status: SubscriptionStatus, works: Works, pause: str | None, age: float | None
) -> Iterator[Finding]:
    name, limit = status.spec.name, found.manifest.spec.max_pending
    blocked, failing, behind = (partial(Finding, v) for v in (Verdict.BLOCKED, Verdict.FAILING, Verdict.BEHIND))
    if isinstance(status.pending, int) and status.pending >= limit:
        yield blocked("its backlog has reached maxPending: the watcher waits", "kubecdc bus show")
    if pause:
        by = "`kubecdc bus pause`" if pause == "command" else "`paused: true` in its manifest"
        command = f"kubecdc bus resume {name}" if pause == "command" else ""
        yield Finding(Verdict.BLOCKED if status.pending else Verdict.IDLE, f"it is paused by {by}", command)
    elif name not in found.named and not works and not found.manifests.problems:
        yield Finding(
            Verdict.BLOCKED if status.pending else Verdict.IDLE,
            "no manifest names it: its backlog fills the bus",
            f"kubecdc bus prune {name}",
        )
    elif found.unwritable:
        yield Finding(Verdict.UNKNOWN, CANNOT_REPORT)
    elif status.pending and _nobody_works(status, works):
        ended = found.ended if found.ended and found.ended.works else None
        why = f": {ended.holder} ended: {ended.reason}" if ended else ""
        yield blocked(f"no worker of it reports to the bus{why}", "kubecdc work")
    for process, work in works:
        if work.locked and status.pending:
            yield blocked(f"events wait: {work.locked.reason}", "kubecdc validate --cluster")
        if work.breaker:
            cause = f"the trigger fails for all objects: {work.breaker.reason}"
            yield failing(cause, "kubecdc try --execute --event FILE")
        elif work.failed and status.pending and process.at - work.failed.since > FAILING_SECONDS:
            yield failing(f"the last attempts failed: {work.failed.reason}", "kubecdc try --execute --event FILE")
    if isinstance(status.dead_letters, int) and status.dead_letters:
        letter = found.letters.get(name)
        command = f"kubecdc dlq list --subscription {name}"
        yield failing(f"it has dead letters{f': {letter.reason}' if letter else ''}", command)
    if age is not None and age > BEHIND_SECONDS:
        yield behind("events have waited for a long time", "kubecdc bus show -w")
    elif isinstance(status.pending, int) and limit > status.pending >= limit / 2:
        yield behind("its backlog is above half of maxPending", "kubecdc bus show -w")
    if found.processes is None and status.pending and isinstance(status.workers, Unknown):
        yield Finding(Verdict.UNKNOWN, "its workers are not known on this type of bus; see the metrics")


def _pause(found: Found, name: str, works: Works) -> str | None:
    """What pauses it: a command or a manifest."""
    if name in found.paused:
        return "command"
    return "manifest" if name in paused_in(found.manifests) or any(work.paused for _, work in works) else None


def _nobody_works(status: SubscriptionStatus, works: Works) -> bool:
    """Consumers of one's own do not report, nor do workers of a queue's library, but the bus may know them."""
    return not works and status.workers == ()


def _workers(found: Found, status: SubscriptionStatus, works: Works) -> str | None:
    if works:
        return ", ".join(process.holder for process, _ in works)
    if isinstance(status.workers, Unknown):
        return None if found.processes is None else ""
    return ", ".join(worker.holder for worker in status.workers)


def _number(value: int | Unknown) -> Any:
    """Estimates as ``~12``."""
    return value if type(value) is int else str(value)
