"""`kubecdc bus`: the subscriptions of a bus, their backlog and their workers."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from kubecdc.cli import options
from kubecdc.cli.buses import no_subscription, on_each, paused_in, place_of, require_capability, subscriptions_of
from kubecdc.cli.conditions import pruned, waiting
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.output import Output, View, confirm, moment, time
from kubecdc.cli.showing import manifests_to_show, show_each
from kubecdc.counts import counted
from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.contracts import Bus, SubscriptionStatus, Unknown, Worker
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.pauses import pause, paused, resume

if TYPE_CHECKING:
    from kubecdc.workers.conditions.kept import Kept

VIEW = View(
    ("subscription", "pending", "held", "oldest", "dead", "named", "paused", "workers"),
    ("source", "event", "gone", "registered", "bus"),
    "no subscriptions yet",
)
WAITING = 100  # of the events that wait for their conditions, which JSON and YAML have


@click.group()
def bus() -> None:
    """Create, show, pause and resume subscriptions, and remove unused ones."""


@bus.command("show")
@options.manifests
@options.access
@options.watch
@options.output
def show_(filenames: tuple[str, ...], output: Output, watch: bool) -> None:
    """Print each subscription with its backlog and its workers.

    HELD is the number of events that wait for others to meet the `conditions` of their trigger. NAMED shows whether a
    manifest (-f) has the subscription; `unknown` if the manifests have a problem. PAUSED shows whether a command or a
    manifest has paused it.
    """
    manifests = manifests_to_show(filenames)
    unnamed = "unknown" if manifests.problems else "no"

    async def rows(bus: Bus, manifest: EventBus) -> list[dict[str, Any]]:
        named = {spec.name for spec in subscriptions_of(manifests, manifest)}
        pauses, otherwise = dict.fromkeys(paused_in(manifests), "manifest"), "no"
        try:
            pauses |= dict.fromkeys(await paused(bus), "command")
        except (UsageError, Unavailable) as e:  # of a state that is elsewhere, in a cluster that is not to be had
            otherwise = "unknown"
            click.echo(f"the paused subscriptions cannot be read: {e}", err=True)
        statuses = await bus.subscriptions()
        held: dict[str, list[Kept]] = {}
        try:
            held = await waiting(bus, manifests, manifest, [s.spec.name for s in statuses])
        except (Refused, Unavailable) as e:
            click.echo(f"the number of held events cannot be read: {e}", err=True)
        return [
            _row(
                s,
                manifest,
                held=held.get(s.spec.name),
                named="yes" if s.spec.name in named else unnamed,
                paused=pauses.get(s.spec.name, otherwise),
            )
            for s in statuses
        ]

    show_each(manifests, rows, output, VIEW, watch=watch)


@bus.command("ensure", short_help="Create what the subscriptions need.")
@options.manifests
@options.access
@click.option("--dry-run", is_flag=True, help="Print what would be created or changed, without doing it.")
def ensure(filenames: tuple[str, ...], dry_run: bool) -> None:
    """Create everything that the subscriptions of the manifests (-f) need.

    Depending on the type of the bus, these are queues, topics, subscriptions, places for dead letters, and their
    policies. Run this with the right to create them. The watcher and the workers then need only the right to use them.
    Nothing is removed, and the subscriptions of other manifests are not touched.
    """
    manifests = load(filenames, stdin=sys.stdin)

    async def make(bus: Bus, manifest: EventBus) -> list[str]:
        return await bus.ensure(subscriptions_of(manifests, manifest), dry_run=dry_run)

    done = on_each(manifests, make, create=not dry_run)
    verb = "would ensure" if dry_run else "ensured"
    click.echo("\n".join(f"{verb} {one}" for one in done) or "nothing to do: everything is there")


@bus.command("prune", short_help="Remove the subscriptions that no manifest has.")
@click.argument("name", required=False)
@options.manifests
@options.access
@options.yes
def prune(filenames: tuple[str, ...], name: str | None, yes: bool) -> None:
    """Remove the subscriptions that no manifest (-f) has, or only NAME, and discard their backlog.

    Pass all manifests that use the bus. A subscription that a manifest has is never removed. One that a worker has
    open, or that is paused, is removed only by its NAME.
    """
    manifests = load(filenames, stdin=sys.stdin)
    kept: list[str] = []

    async def remove(bus: Bus, manifest: EventBus) -> list[str]:
        named = {spec.name for spec in subscriptions_of(manifests, manifest)}
        if name in named:
            raise UsageError(
                f"a manifest has the subscription {name!r}", hint="remove its trigger from the manifests first"
            )
        removed, pauses = [], await paused(bus)
        for s in await bus.subscriptions(ages=False):
            if s.spec.name in named or name not in {None, s.spec.name}:
                continue
            if name is None and isinstance(s.workers, tuple) and s.workers:
                kept.append(
                    f"{s.spec.name} is kept: {_workers(s.workers)} has it open; stop that worker, or prune it by name"
                )
                continue
            if name is None and s.spec.name in pauses:
                kept.append(f"{s.spec.name} is kept: it is paused; resume it, or prune it by name")
                continue
            backlog = "backlog" if isinstance(s.pending, Unknown) else counted(s.pending, "pending event")
            confirm(f"Remove the subscription {s.spec.name} and discard its {backlog}?", yes=yes)
            if await bus.prune(s.spec.name):
                if s.spec.name in pauses:
                    await resume(bus, s.spec.name)
                await pruned(bus, s.spec.name)
                removed.append(s.spec.name)
        return removed

    removed = on_each(manifests, remove)
    if name and not removed:
        raise no_subscription(name)
    for one in kept:
        click.echo(one, err=True)
    if removed or not kept:
        done = "\n".join(f"{one} removed" for one in removed)
        click.echo(done or "nothing to prune: the manifests have every subscription")


@bus.command("pause")
@click.argument("subscription")
@options.manifests
@options.access
def pause_(filenames: tuple[str, ...], subscription: str) -> None:
    """Stop the deliveries of SUBSCRIPTION.

    Its workers stop within seconds and return the events in progress. Its events are kept, up to `maxPending`: a full
    bus blocks the watcher.
    """
    _set_paused(filenames, subscription, pause, "paused")


@bus.command("resume", short_help="Deliver SUBSCRIPTION again after a pause.")
@click.argument("subscription")
@options.manifests
@options.access
def resume_(filenames: tuple[str, ...], subscription: str) -> None:
    """Deliver SUBSCRIPTION again after a pause, unless a manifest pauses it."""
    _set_paused(filenames, subscription, resume, "resumed")


def _set_paused(filenames: tuple[str, ...], name: str, do: Callable[[Bus, str], Awaitable[None]], done: str) -> None:
    manifests = load(filenames, stdin=sys.stdin)

    async def set_(bus: Bus, manifest: EventBus) -> list[str]:
        if name not in {status.spec.name for status in await bus.subscriptions(ages=False)}:
            return []
        if name in {own.name for own in manifest.spec.subscriptions}:
            raise UsageError(
                f"{name!r} belongs to a consumer of your own, which kubecdc cannot pause", hint="stop that consumer"
            )
        require_capability(bus.capabilities.pauses, manifest, "store pauses")
        await do(bus, name)
        return [place_of(manifest, state=True)]

    found = on_each(manifests, set_)
    if not found:
        raise no_subscription(name)
    places = " and ".join(filter(None, found))
    click.echo(f"{name} {done}" + (f" in {places}" if places else ""))
    if done == "resumed" and name in paused_in(manifests):
        click.echo("its trigger has `paused: true`, so it is still not delivered", err=True)


def _row(
    status: SubscriptionStatus, manifest: EventBus, *, held: list[Kept] | None, named: str, paused: str
) -> dict[str, Any]:
    return {
        "subscription": status.spec.name,
        "source": status.spec.source,
        "event": status.spec.subject,
        "pending": _number(status.pending),
        "held": None if held is None else len(held),
        "oldest": _time(status.oldest),
        "dead": _number(status.dead_letters),
        "gone": status.gone,
        "named": named,
        "paused": paused,
        "workers": _workers(status.workers),
        "bus": manifest.name,
        "registered": _time(status.registered),
        "waiting": [
            {"key": one.key, "event": one.event, "since": moment(time(one.since))} for one in (held or ())[:WAITING]
        ],
    }


def _waiting(one: Kept) -> dict[str, str]:
    return {"key": one.key, "event": one.event, "since": moment(time(one.since))}


def _number(value: int | Unknown) -> int | str:
    """Estimates as ``~12``."""
    return value if type(value) is int else str(value)


def _time(value: float | Unknown | None) -> Any:
    if isinstance(value, Unknown):
        return str(value)
    return time(value) if value else None


def _workers(workers: tuple[Worker, ...] | Unknown) -> str:
    return str(workers) if isinstance(workers, Unknown) else ", ".join(worker.holder for worker in workers)
