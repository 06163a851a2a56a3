"""`kubecdc replay`: delivers retained events again."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

import click

from kubecdc.cli import options
from kubecdc.cli.buses import no_subscription, on_one, require_capability
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.option import option
from kubecdc.cli.output import confirm, moment
from kubecdc.cli.output import time as at
from kubecdc.counts import counted
from kubecdc.errors import UsageError
from kubecdc.manifest.units import duration
from kubecdc.storage.contracts import Bus, ObjectName, Replay, Unknown
from kubecdc.storage.manifest import EventBus


@click.command()
@option(
    "--subscription",
    required=True,
    metavar="NAME",
    help="The receiving subscription: <sensor>/<trigger>, or a name in `subscriptions` of the EventBus.",
)
@option(
    "--since",
    metavar="TIME|DURATION",
    help="Only events committed since a time (2026-01-31T08:00:00Z; default zone: UTC), or in the last 90m or 24h.",
)
@option(
    "--from",
    "first",
    metavar="EVENT_ID",
    help="This event and those committed after it.",
)
@option(
    "--object",
    "name",
    metavar="[RESOURCE/]NS/NAME",
    help="Only events of this object. RESOURCE is the plural, as in the EventSource: workflows/default/a, nodes//n1.",
)
@click.option("--dry-run", is_flag=True, help="Print the number of events, without delivering them.")
@options.manifests
@options.access
@options.bus
@options.yes
def replay(
    filenames: tuple[str, ...],
    bus: str | None,
    subscription: str,
    since: str | None,
    first: str | None,
    name: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Deliver retained events to one subscription again.

    The event id and the Idempotency-Key do not change, and the attempts start again. The events are queued after the
    pending ones. The events of each object stay in order and end with its newest event, so that a receiver sees the
    latest state last. `retention` and `retentionBytes` of the EventBus limit how long events are retained.
    """
    asked = Replay(
        subscription=subscription,
        since=_time(since) if since else None,
        first=first or "",
        object=_object(name) if name else None,
    )

    async def replay_to(opened: Bus, manifest: EventBus) -> None:
        require_capability(opened.capabilities.replay, manifest, "replay")
        if subscription not in {status.spec.name for status in await opened.subscriptions(ages=False)}:
            raise no_subscription(subscription)
        found = await opened.replayable(asked)
        if found.forgotten is not None and (asked.since is None or asked.since < found.forgotten):
            click.echo(f"events committed up to {moment(at(found.forgotten))} are no longer retained", err=True)
        if not found.events or dry_run:
            click.echo(f"{_events(found.events)} to replay")
            return
        confirm(f"Deliver {_events(found.events)} to {subscription} again?", yes=yes)
        click.echo(f"{_events(await opened.replay(asked))} will be delivered to {subscription} again")

    on_one(load(filenames, stdin=sys.stdin), bus, replay_to)


def _events(count: int | Unknown) -> str:
    return "an unknown number of events" if isinstance(count, Unknown) else counted(count, "event")


def _time(text: str) -> float:
    try:
        age = duration(text)
    except ValueError:
        pass
    else:
        if age < timedelta():
            raise UsageError(f"--since {text}: the duration must not be negative")
        return time.time() - age.total_seconds()
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as e:
        raise UsageError(
            f"--since {text}: is neither a time nor a duration", hint="write 2026-01-31T08:00:00Z, or 24h"
        ) from e


def _object(text: str) -> ObjectName:
    *resource, namespace, name = text.rsplit("/", 2) if text.count("/") in {1, 2} else ("", "", "")
    if not name:
        raise UsageError(
            f"--object {text}: is not [RESOURCE/]NAMESPACE/NAME",
            hint="write default/a or workflows/default/a; for an object without a namespace, nodes//n1",
        )
    return ObjectName(namespace, name, resource[0] if resource else "")
