"""`kubecdc dlq`: the dead letters of a bus."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from kubecdc.cli import options
from kubecdc.cli.buses import no_subscription, on_one
from kubecdc.cli.conditions import purged
from kubecdc.cli.letters import Letters, Selection, letters, require_browsing, undecided
from kubecdc.cli.option import combined, option
from kubecdc.cli.output import Output, Row, View, confirm, show_one, time
from kubecdc.cli.showing import manifests_to_show, show_each
from kubecdc.counts import counted
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import UNKNOWN, Bus, DeadLetter
from kubecdc.storage.manifest import EventBus

VIEW = View(
    ("id", "subscription", "object", "superseded", "when"),
    ("attempts", "event", "committed", "bus"),
    "no dead letters",
    notes=("reason",),
)
RECEIVED = (
    "bus {name}: this service cannot list messages, so they are received and handed back. Some may be missing, for "
    "example those that another command is reading, and their order is approximate. It is not known whether they are "
    "superseded"
)

of_subscription = option("--subscription", metavar="NAME", help="Only dead letters of the subscription NAME.")
all_ = click.option("--all", "everything", is_flag=True, help="All dead letters.")
selection = combined(
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    all_,
    of_subscription,
    options.manifests,
    options.access,
    options.bus,
)


@click.group()
def dlq() -> None:
    """List, show, redrive or purge dead letters.

    A dead letter is an event that a trigger could not handle. It is kept until it is redriven or purged, even if its
    subscription is removed.
    """


@dlq.command("list", short_help="Print dead letters, the oldest first.")
@of_subscription
@option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Maximum number of dead letters, the oldest first.",
)
@options.manifests
@options.access
@options.bus
@options.watch
@options.output
def list_(
    filenames: tuple[str, ...], bus: str | None, subscription: str | None, limit: int, output: Output, watch: bool
) -> None:
    """Print dead letters, the oldest first, each with its event, object, reason and time.

    A dead letter is superseded if a later event of its object has been delivered since.
    """

    received: list[str] = []
    known: set[str] = set()

    async def rows(opened: Bus, manifest: EventBus) -> list[Row]:
        require_browsing(opened, manifest)
        if subscription:
            known.update(status.spec.name for status in await opened.subscriptions(ages=False))
        if not opened.capabilities.counts:
            received.append(manifest.name)
        found = await letters(opened, subscription, sys.maxsize if watch else limit + 1)
        return [_row(letter, manifest) for letter in found]

    def first(found: list[Row]) -> list[Row]:
        if subscription and not found and subscription not in known:
            raise no_subscription(subscription)
        for name in received:
            click.echo(RECEIVED.format(name=name), err=True)
        if len(found) > limit and not watch:
            click.echo(f"there are more than {counted(limit, 'dead letter')}: use --limit to see more", err=True)
        return found if watch else found[:limit]

    show_each(manifests_to_show(filenames), rows, output, VIEW, watch=watch, only=bus, first=first)


@dlq.command("show")
@click.argument("id_", metavar="ID")
@options.manifests
@options.access
@options.bus
@options.output
def show_(filenames: tuple[str, ...], bus: str | None, id_: str, output: Output) -> None:
    """Print all fields of a dead letter, with the reason and the event."""

    async def read(opened: Bus, manifest: EventBus) -> dict[str, Any]:
        require_browsing(opened, manifest)
        found = await opened.dead_letters.letter(id_)
        if found is None:
            raise _unknown(id_)
        letter, body = found
        try:
            content = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = body.decode(errors="backslashreplace")
        if isinstance(content, dict) and (key := content.get("encryptionkey")):
            text = f"its data is encrypted with key {key}, which `encryption.keys` of {manifest.name} does not give"
            click.echo(text, err=True)
        return {**_row(letter, manifest), "content": content}

    show_one(on_one(manifests_to_show(filenames), bus, read), output)


@dlq.command("redrive", short_help="Deliver dead letters again.")
@selection
@option(
    "--superseded",
    type=click.Choice(["skip", "deliver"]),
    help="What to do with dead letters whose object had a later event delivered since. Asked for on a terminal.",
)
def redrive(superseded: str | None, **selected: Any) -> None:
    """Deliver dead letters again, each to its own subscription, with a full set of attempts.

    A dead letter is queued after the pending events of its object. It may therefore arrive after newer events, so that
    the receiver sees an old state last. If dead letters are superseded, or may be, `--superseded` decides. The event id
    and the Idempotency-Key do not change, and the attribute `redelivery` is `redrive`.
    Exit code 1 if a dead letter could not be redriven. The reason is printed.
    """
    done, refused, skipped = 0, 0, 0

    async def decide(found: Letters) -> Letters:
        nonlocal skipped
        some = undecided(found)
        if not some or (superseded or _ask(found, some)) == "deliver":
            return found
        skipped = len(some)
        return {id_: letter for id_, letter in found.items() if id_ not in some}

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done, refused
        reasons = await opened.dead_letters.redrive(some)
        for id_, reason in reasons.items():
            click.echo(f"{id_} not redriven: {reason}", err=True)
        refused += len(reasons)
        done += len(some) - len(reasons)

    try:
        Selection(**selected).for_each_page(step, decide)
    except Unavailable:
        click.echo(f"{done} redriven before the error", err=True)
        raise
    click.echo(f"{done} redriven" + (f", {skipped} skipped" if skipped else ""))
    if refused:
        sys.exit(1)


@dlq.command("purge")
@selection
@options.yes
def purge(yes: bool, **selected: Any) -> None:
    """Delete dead letters permanently."""
    chosen, done = Selection(**selected), 0
    known: dict[str, DeadLetter | None] = {}

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done
        count = await opened.dead_letters.purge(some)
        done += count
        if count == len(some):  # else one was redriven meanwhile, and needs what is kept of its conditions
            await purged(opened, [letter for id_ in some if (letter := known.get(id_))])

    async def ask(found: Letters) -> Letters:
        known.update(found)
        confirm(f"Delete {counted(len(found), 'dead letter')} permanently?", yes=yes)
        return found

    chosen.for_each_page(step, ask)
    if chosen.ids and not done:
        raise _unknown(", ".join(chosen.ids))
    click.echo(f"{done} purged")


def _ask(found: Letters, some: Mapping[str, DeadLetter]) -> str:
    """Ask what to do with dead letters that are or may be superseded. Raises click.UsageError without a terminal."""
    unknown = sum(letter.superseded is UNKNOWN for letter in some.values())
    are, their = ("is", "its") if len(some) == 1 else ("are", "their")
    said = f"{len(some)} of {counted(len(found), 'dead letter')} {are} superseded"
    said += f"{' or may be' if unknown else ''}: a later event of {their} object was delivered since"
    if unknown:
        said += f", or the bus cannot tell ({unknown})"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{said}. Give --superseded skip or --superseded deliver.")
    answer: str = click.prompt(f"{said}. skip or deliver them?", type=click.Choice(["skip", "deliver"]))
    return answer


def _unknown(id_: str) -> KubecdcError:
    return KubecdcError(f"there is no dead letter {id_}", hint="`kubecdc dlq list` prints them")


def _row(letter: DeadLetter, manifest: EventBus) -> dict[str, Any]:
    return {
        "id": letter.id,
        "subscription": letter.subscription,
        "event": letter.event or None,
        "object": letter.partitionkey or None,
        "superseded": str(letter.superseded) if letter.superseded is UNKNOWN else letter.superseded,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "when": time(letter.last),
        "committed": time(letter.first),
        "bus": manifest.name,
    }
