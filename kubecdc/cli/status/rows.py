"""All rows of a look: buses, processes that have a trouble, sources and subscriptions."""

from __future__ import annotations

from collections.abc import Iterator

from kubecdc.cli.buses import subscriptions_of
from kubecdc.cli.manifests.loading import ManifestErrors, Manifests
from kubecdc.cli.output import Row, time
from kubecdc.cli.status.look import Found
from kubecdc.cli.status.record import LIVES, Process
from kubecdc.cli.status.sources import source_row
from kubecdc.cli.status.subscriptions import subscription_row
from kubecdc.cli.status.verdict import Finding, Verdict, row, seconds
from kubecdc.counts import counted
from kubecdc.errors import KubecdcError
from kubecdc.storage.manifest import EventBus

MANIFESTS = "manifests"  # the name of the trouble of those that were read last, and are not in use
CLOCK_SECONDS = LIVES.total_seconds() + 5.0  # a report may be as old as it lives


def rows_of_manifests(manifests: Manifests) -> Iterator[Row]:
    """The row of the documents that were left out, if any."""
    if problems := manifests.problems:
        more = f"; and {counted(len(problems) - 1, 'more problem')}" if problems[1:] else ""
        finding = Finding(Verdict.FAILING, f"{problems[0]}{more}", "kubecdc validate")
        yield row("manifests", [finding], Verdict.OK, kind="manifests", problems=[str(problem) for problem in problems])


def rows(found: Found) -> Iterator[Row]:
    """The rows of a bus that has answered."""
    yield _bus_row(found)
    for process in found.processes or ():
        if findings := list(_troubles(found, process)):
            yield row(
                f"process/{process.holder}",
                findings,
                Verdict.OK,
                kind="process",
                bus=found.manifest.name,
                version=process.version,
                since=time(min((trouble.since for trouble in process.troubles.values()), default=process.at)),
            )
    for entry in found.entries:
        yield source_row(found, entry)
    for status in found.statuses:
        yield subscription_row(found, status)
    for name in sorted(found.named - {status.spec.name for status in found.statuses}):
        why, command = "", "kubecdc run"
        if found.manifests.problems:
            why, command = ", and no process uses these manifests while they have a problem", "kubecdc validate"
        finding = Finding(Verdict.BLOCKED, f"it is not registered yet: no event is kept for it{why}", command)
        yield row(f"subscription/{name}", [finding], Verdict.OK, kind="subscription", bus=found.manifest.name)


def rows_without_answer(bus: EventBus, manifests: Manifests, error: KubecdcError) -> Iterator[Row]:
    """The rows of a bus that cannot be reached from here, or refuses."""
    hint = f" ({error.hint})" if error.hint else ""
    away = Finding(Verdict.BLOCKED, f"{error}{hint}", "kubecdc status -w")
    unknown = [Finding(Verdict.UNKNOWN, "its bus cannot be read")]
    yield row(f"bus/{bus.name}", [away], Verdict.OK, kind="bus", bus=bus.name, up=False)
    nothing = Found(bus, manifests, 0.0)
    for entry in nothing.entries:
        yield row(f"source/{entry}", unknown, Verdict.OK, kind="source", bus=bus.name)
    for spec in subscriptions_of(manifests, bus):
        yield row(f"subscription/{spec.name}", unknown, Verdict.OK, kind="subscription", bus=bus.name)


def _bus_row(found: Found) -> Row:
    findings = [
        Finding(Verdict.UNKNOWN, f"{what} cannot be read: {why}")
        for what, why in found.unknown.items()
        if what not in {"checkpoints", "lease"}  # the sources say it
    ]
    if found.unwritable:
        cause = f"it can be read but not written: {found.unwritable}"
        findings.append(Finding(Verdict.BLOCKED, cause, "kubecdc status -w"))
    ages = [found.at - s.oldest for s in found.statuses if isinstance(s.oldest, float)]
    pending = [s.pending for s in found.statuses if isinstance(s.pending, int)]
    dead = [s.dead_letters for s in found.statuses if isinstance(s.dead_letters, int)]
    processes = found.processes
    watch, work = (sum(getattr(p, side) for p in processes or ()) for side in ("watches", "works"))
    return row(
        f"bus/{found.manifest.name}",
        findings,
        Verdict.IDLE if _is_idle(found) else Verdict.OK,
        kind="bus",
        bus=found.manifest.name,
        up=True,
        by=None if processes is None else f"{watch} watch, {work} work",
        behind=seconds(max(ages, default=None)),
        pending=int(sum(pending)) if len(pending) == len(found.statuses) else None,
        dead=int(sum(dead)) if len(dead) == len(found.statuses) else None,
        partitions=getattr(found.manifest.spec.queue, "partitions", None),
    )


def _is_idle(found: Found) -> bool:
    """Whether it is known that nothing flows: no event is pending, and none came or went in the last minute."""
    if found.processes is None:
        return False
    parts = (part for p in found.processes for parts in (p.sources, p.subscriptions) for part in parts.values())
    return all(part.rate == 0 for part in parts) and all(status.pending == 0 for status in found.statuses)


def _troubles(found: Found, process: Process) -> Iterator[Finding]:
    for name, trouble in process.troubles.items():
        hint = f" ({trouble.hint})" if trouble.hint else ""
        command = "kubecdc validate --cluster"
        if name == MANIFESTS:  # validate does not find what else it may be, such as a change that needs a restart
            command = "kubecdc validate" if trouble.error == ManifestErrors.__name__ else ""
        yield Finding(Verdict.FAILING, f"{name}: {trouble.reason}{hint}", command)
    if not -CLOCK_SECONDS < found.at - process.at < CLOCK_SECONDS:
        yield Finding(Verdict.FAILING, "its clock and the one here differ by more than half a minute", "date -u")
