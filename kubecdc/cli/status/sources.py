"""How the entries of the EventSources are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from kubecdc.cli.output import Row, time
from kubecdc.cli.status.look import Found
from kubecdc.cli.status.record import Process, Source
from kubecdc.cli.status.verdict import Finding, Verdict, row, seconds
from kubecdc.counts import counted
from kubecdc.storage.contracts import Checkpoint, Gap

BEHIND_SECONDS = 10.0
RECENT_SECONDS = 3600.0  # a gap is spoken of for so long
COMMANDS = {
    "BusFull": "kubecdc bus show",
    "NoSubscription": "kubecdc bus show",
    "Refused": "kubecdc checkpoint show",
}
CANNOT_REPORT = "processes cannot report to the bus: it cannot be written"
LOOK_AT_THE_CLUSTER = "kubecdc validate --cluster"


def leading(found: Found) -> Process | None:
    """Who leads. For a while after it was killed, an old leader may still seem to: who began last counts."""
    leaders = [process for process in found.processes or () if process.leads]
    newest = found.leader.holder if found.leader else ""
    return max(leaders, key=lambda process: (process.holder == newest, process.at), default=None)


def source_row(found: Found, entry: str) -> Row:
    """The row of one entry."""
    checkpoints = [c for c in found.checkpoints if c.state and f"{c.key}/".startswith(f"{entry}/")]
    leader = leading(found)
    own = leader.sources.get(entry) if leader else None
    gap = _last_gap(found, entry)
    findings = list(_findings(found, entry, checkpoints, leader, own, gap))
    quiet = own is not None and own.rate == 0
    return row(
        f"source/{entry}",
        findings,
        Verdict.IDLE if quiet else Verdict.OK,
        kind="source",
        bus=found.manifest.name,
        by=leader.holder if leader else (found.lead and found.lead.holder) or None,
        behind=seconds(own.behind) if own else None,
        rate_out=own.rate if own else None,
        position=checkpoints[0].state.position if len(checkpoints) == 1 and checkpoints[0].state else None,
        watches=own.watches if own else None,
        since=time(own.trouble.since) if own and own.trouble else None,
        hint=own.trouble.hint if own and own.trouble else None,
        gap=datetime.fromisoformat(gap.time) if gap else None,
        gap_reason=gap.reason if gap else None,
        audit=time(own.audit.time) if own and own.audit else None,
        audit_result=own.audit.result if own and own.audit else None,
    )


def _findings(
    found: Found,
    entry: str,
    checkpoints: Sequence[Checkpoint],
    leader: Process | None,
    own: Source | None,
    gap: Gap | None,
) -> Iterator[Finding]:
    if why := found.unknown.get("checkpoints"):
        yield Finding(Verdict.UNKNOWN, f"its position cannot be read: {why}", LOOK_AT_THE_CLUSTER)
    if found.processes is None:
        yield _without_reports(found)
    elif leader is None:
        yield _nobody_leads(found)
    elif own is None:
        cause = "the leader does not watch it: it is still starting, or has other manifests"
        yield Finding(Verdict.BEHIND, cause, "kubecdc validate")
    elif own.trouble and own.trouble.error == "Cut":  # by the network, now and then
        cause = f"no watch is open: {own.trouble.reason}"
        yield Finding(Verdict.BEHIND, cause, LOOK_AT_THE_CLUSTER)
    elif own.trouble:
        command = COMMANDS.get(own.trouble.error, LOOK_AT_THE_CLUSTER)
        yield Finding(Verdict.BLOCKED, own.trouble.reason, command)
    elif own.behind > BEHIND_SECONDS:
        yield Finding(
            Verdict.BEHIND, "no watch is open, or changes that were read are not committed yet", "kubecdc bus show"
        )
    elif not checkpoints and "checkpoints" not in found.unknown:
        yield Finding(Verdict.BEHIND, "nothing has been committed yet", "kubecdc checkpoint show")
    for reason in {c.state.listing for c in checkpoints if c.state and c.state.listing}:
        yield Finding(Verdict.BEHIND, f"a list is under way: {reason}", "kubecdc checkpoint show")
    if own and own.audit and own.audit.result != "clean":
        yield Finding(Verdict.OK, "the last audit found differences, which were repaired", "kubecdc audit")
    if gap and found.at - datetime.fromisoformat(gap.time).timestamp() < RECENT_SECONDS:
        cause = f"a gap was repaired: {gap.reason}; versions in it may be collapsed"
        yield Finding(Verdict.OK, cause, "kubecdc checkpoint show")


def _without_reports(found: Found) -> Finding:
    if found.lead and found.lead.why:
        return Finding(Verdict.BLOCKED, f"nobody leads: {found.lead.why}", "kubecdc watch")
    why = found.unknown.get("processes", "processes do not report to this type of bus; see their metrics")
    if found.lead:
        return Finding(Verdict.UNKNOWN, f"its lag is not known: {why}")
    lease = f"; the Lease cannot be read: {found.unknown['lease']}" if "lease" in found.unknown else ""
    return Finding(Verdict.UNKNOWN, f"the leader and its lag are not known: {why}{lease}")


def _nobody_leads(found: Found) -> Finding:
    if found.unwritable:
        return Finding(Verdict.UNKNOWN, CANNOT_REPORT)
    watchers = [process for process in found.processes or () if process.watches]
    ended, last = found.ended, found.leader
    if ended and ended.watches and not (last and last.since > ended.at):
        hint = f" ({ended.hint})" if ended.hint else ""
        return Finding(Verdict.BLOCKED, f"nobody leads: {ended.holder} ended: {ended.reason}{hint}", "kubecdc watch")
    standing_by = counted(len(watchers), "watcher stands by", "watchers stand by")
    cause = f"nobody leads: {standing_by if watchers else 'no watcher reports to the bus'}"
    if troubles := {trouble.reason for process in watchers for trouble in process.troubles.values()}:
        return Finding(Verdict.BLOCKED, f"{cause}: {', '.join(sorted(troubles))}", LOOK_AT_THE_CLUSTER)
    if last and last.holder not in {process.holder for process in watchers}:
        cause += f"; the last leader, {last.holder}, was ended, hangs, or cannot reach the bus"
    return Finding(Verdict.BLOCKED, cause, "kubecdc watch")


def _last_gap(found: Found, entry: str) -> Gap | None:
    gaps = [gap for key, own in found.gaps.items() if f"{key}/".startswith(f"{entry}/") for gap in own]
    return max(gaps, key=lambda gap: datetime.fromisoformat(gap.time), default=None)
