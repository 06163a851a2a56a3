"""`kubecdc bus`: who subscribes, what waits for them, who works on it."""

from __future__ import annotations

import sys
from typing import Any

import click

from kubecdc.cli import options
from kubecdc.cli.buses import on_each, owed
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.output import confirm, moment, show
from kubecdc.errors import UsageError
from kubecdc.storage.contracts import Bus, SubscriptionStatus
from kubecdc.storage.manifest import EventBus

COLUMNS = ("subscription", "source", "event", "pending", "oldest", "dead", "named", "workers")


@click.group()
def bus() -> None:
    """Show subscriptions and their backlog; end the ones nobody names."""


@bus.command("show")
@options.manifests
@options.secrets
@options.output
def show_(filenames: tuple[str, ...], output_format: str) -> None:
    """Print each subscription, its backlog and its workers. NAMED tells whether a manifest (-f) has it."""
    manifests = load(filenames, stdin=sys.stdin)

    async def rows(bus: Bus, manifest: EventBus) -> list[dict[str, Any]]:
        named = {spec.name for spec in owed(manifests, manifest)}
        return [_row(s, manifest, named=s.spec.name in named) for s in await bus.subscriptions()]

    show(on_each(manifests, rows), COLUMNS, output_format, empty="no subscriptions yet")


@bus.command("prune")
@click.argument("name", required=False)
@options.manifests
@options.secrets
@options.yes
def prune(filenames: tuple[str, ...], name: str | None, yes: bool) -> None:
    """End the subscriptions that no manifest (-f) names any more, or just NAME of them, and drop their backlog.

    Give every manifest of the bus: a subscription that a manifest names is never ended.
    """
    manifests = load(filenames, stdin=sys.stdin)

    async def end(bus: Bus, manifest: EventBus) -> list[str]:
        named = {spec.name for spec in owed(manifests, manifest)}
        if name in named:
            raise UsageError(f"{name!r} is named by a manifest", hint="take its trigger out of the manifests first")
        ended = []
        for s in await bus.subscriptions():
            if s.spec.name not in named and name in {None, s.spec.name}:
                confirm(f"End the subscription {s.spec.name} and drop its {s.pending} pending events?", yes=yes)
                if await bus.prune(s.spec.name):
                    ended.append(s.spec.name)
        return ended

    ended = on_each(manifests, end)
    if name and not ended:
        raise UsageError(f"there is no subscription {name!r}", hint="`kubecdc bus show` lists them")
    click.echo("\n".join(f"{e} is ended" for e in ended) or "nothing to prune: every subscription is named")


def _row(status: SubscriptionStatus, manifest: EventBus, *, named: bool) -> dict[str, Any]:
    return {
        "subscription": status.spec.name,
        "source": status.spec.source,
        "event": status.spec.subject,
        "pending": status.pending,
        "oldest": moment(status.oldest) if status.oldest else None,
        "dead": status.dead_letters,
        "named": "yes" if named else "no",
        "workers": ", ".join(w.holder for w in status.workers),
        "bus": manifest.name,
        "registered": moment(status.registered),
    }
