"""`kubecdc replay`: events that are still retained, once more."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

import click

from kubecdc.cli import options
from kubecdc.cli.buses import on_one, require
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.output import confirm, moment
from kubecdc.errors import UsageError
from kubecdc.manifest.units import duration
from kubecdc.storage.contracts import Bus, ObjectName, Replay
from kubecdc.storage.manifest import EventBus


@click.command()
@click.option(
    "--subscription",
    required=True,
    metavar="NAME",
    envvar="KUBECDC_SUBSCRIPTION",
    show_envvar=True,
    help="Who gets them: <sensor>/<trigger>, or an entry of the EventBus's `subscriptions`.",
)
@click.option(
    "--since",
    metavar="TIME|DURATION",
    envvar="KUBECDC_SINCE",
    show_envvar=True,
    help="Committed since: 2026-01-31T08:00:00Z (UTC where no zone is given), or an age, as 90m or 24h.",
)
@click.option(
    "--from",
    "first",
    metavar="EVENT_ID",
    envvar="KUBECDC_FROM",
    show_envvar=True,
    help="From this event on, in the order of commits; it is the first one.",
)
@click.option(
    "--object",
    "name",
    metavar="[RESOURCE/]NS/NAME",
    envvar="KUBECDC_OBJECT",
    show_envvar=True,
    help="Of this object only. RESOURCE is the plural, as in the EventSource: workflows/default/a, nodes//n1.",
)
@click.option(
    "--dry-run", is_flag=True, envvar="KUBECDC_DRY_RUN", show_envvar=True, help="Say how many there are, and stop."
)
@options.manifests
@options.secrets
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
    """Deliver events again that the bus still retains, to one subscription.

    These are repetitions on purpose: event id and Idempotency-Key are the same as ever, attempts start anew. They come
    behind what is pending, each object's in order and up to its newest event, so that what a receiver sees of an object
    in the end is its last state. How far back it reaches is the EventBus's `retention` and `retentionBytes`.
    """
    asked = Replay(
        subscription=subscription,
        since=_time(since) if since else None,
        first=first or "",
        object=_object(name) if name else None,
    )

    async def again(opened: Bus, manifest: EventBus) -> None:
        require(opened.capabilities.replay, manifest, "replay")
        if subscription not in {status.spec.name for status in await opened.subscriptions()}:
            raise UsageError(f"there is no subscription {subscription!r}", hint="`kubecdc bus show` lists them")
        found = await opened.replayable(asked)
        if found.forgotten is not None and (asked.since is None or asked.since < found.forgotten):
            click.echo(f"the bus has forgotten what was committed up to {moment(found.forgotten)}", err=True)
        if not found.events or dry_run:
            click.echo(f"{found.events} events to replay")
            return
        confirm(f"Deliver {found.events} events to {subscription} again?", yes=yes)
        click.echo(f"{await opened.replay(asked)} events are delivered to {subscription} again")

    on_one(load(filenames, stdin=sys.stdin), bus, again)


def _time(text: str) -> float:
    try:
        age = duration(text)
    except ValueError:
        pass
    else:
        if age < timedelta():
            raise UsageError(f"--since {text}: an age is not negative")
        return time.time() - age.total_seconds()
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as e:
        raise UsageError(
            f"--since {text}: neither a time nor a duration", hint="write 2026-01-31T08:00:00Z, or 24h"
        ) from e


def _object(text: str) -> ObjectName:
    *resource, namespace, name = text.rsplit("/", 2) if text.count("/") in {1, 2} else ("", "", "")
    if not name:
        raise UsageError(
            f"--object {text}: is no [RESOURCE/]NAMESPACE/NAME",
            hint="write default/a or workflows/default/a; without a namespace, nodes//n1",
        )
    return ObjectName(namespace, name, resource[0] if resource else "")
