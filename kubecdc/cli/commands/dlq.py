"""`kubecdc dlq`: events that were given up on."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click
import msgspec

from kubecdc.cli import options
from kubecdc.cli.buses import on_each, on_one, require
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.output import confirm, moment, show, show_one
from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.contracts import Bus, DeadLetter
from kubecdc.storage.manifest import EventBus

COLUMNS = ("id", "subscription", "event", "object", "reason", "attempts", "when")
PAGE = 100  # letters a call

of_subscription = click.option(
    "--subscription", metavar="NAME", envvar="KUBECDC_SUBSCRIPTION", show_envvar=True, help="Only those of NAME."
)
all_ = click.option(
    "--all", "everything", is_flag=True, envvar="KUBECDC_ALL", show_envvar=True, help="All that are there now."
)


@click.group()
def dlq() -> None:
    """List, show, redrive or purge dead letters: events that were given up on.

    They are kept until they are redriven or purged, also when their subscription is gone.
    """


@dlq.command("list")
@of_subscription
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    envvar="KUBECDC_LIMIT",
    show_envvar=True,
    help="At most so many, the oldest first.",
)
@options.manifests
@options.secrets
@options.bus
@options.output
def list_(
    filenames: tuple[str, ...], bus: str | None, subscription: str | None, limit: int, output_format: str
) -> None:
    """Print dead letters, the oldest first: which event of which object, why, and when it was given up."""

    async def rows(opened: Bus, manifest: EventBus) -> list[dict[str, Any]]:
        require(opened.capabilities.dead_letter_browse, manifest, "show its dead letters")
        letters = await _letters(opened, subscription, limit + 1)
        return [_row(letter, manifest) for letter in letters]

    found = on_each(load(filenames, stdin=sys.stdin), rows, only=bus)
    show(found[:limit], COLUMNS, output_format, empty="no dead letters")
    if len(found) > limit:
        click.echo(f"there are more than these {limit}: see them with --limit", err=True)


@dlq.command("show")
@click.argument("id_", metavar="ID")
@options.manifests
@options.secrets
@options.bus
@options.output
def show_(filenames: tuple[str, ...], bus: str | None, id_: str, output_format: str) -> None:
    """Print a dead letter whole: why it was given up, and the event."""

    async def read(opened: Bus, manifest: EventBus) -> dict[str, Any]:
        require(opened.capabilities.dead_letter_browse, manifest, "show its dead letters")
        found = await opened.dead_letters.letter(id_)
        if found is None:
            raise _unknown(id_)
        letter, body = found
        try:
            content = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = body.decode(errors="backslashreplace")
        return {**_row(letter, manifest), "content": content}

    show_one(on_one(load(filenames, stdin=sys.stdin), bus, read), output_format)


@dlq.command("redrive")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@all_
@of_subscription
@options.manifests
@options.secrets
@options.bus
def redrive(
    filenames: tuple[str, ...], bus: str | None, ids: tuple[str, ...], everything: bool, subscription: str | None
) -> None:
    """Deliver dead letters again: each to the subscription it was for, with all its attempts.

    It comes behind what is pending of its object, so it may be older than what was delivered before it. The event id
    and the Idempotency-Key are the same as ever: a receiver that has seen them may ignore it.
    Exit code 1 if any stays a dead letter; a line tells why.
    """
    done, refused = 0, 0

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done, refused
        reasons = await opened.dead_letters.redrive(some)
        for id_, reason in reasons.items():
            click.echo(f"{id_} stays: {reason}", err=True)
        refused += len(reasons)
        done += len(some) - len(reasons)

    try:
        _on_each_chosen(load(filenames, stdin=sys.stdin), bus, ids, everything, subscription, step)
    except Unavailable:
        click.echo(f"{done} redriven, then it had to stop", err=True)
        raise
    click.echo(f"{done} redriven")
    if refused:
        sys.exit(1)


@dlq.command("purge")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@all_
@of_subscription
@options.manifests
@options.secrets
@options.bus
@options.yes
def purge(
    filenames: tuple[str, ...],
    bus: str | None,
    ids: tuple[str, ...],
    everything: bool,
    subscription: str | None,
    yes: bool,
) -> None:
    """Forget dead letters for ever."""
    done = 0

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done
        done += await opened.dead_letters.purge(some)

    def ask(count: int) -> None:
        confirm(f"Forget {count} dead letters for ever?", yes=yes)

    _on_each_chosen(load(filenames, stdin=sys.stdin), bus, ids, everything, subscription, step, ask)
    if ids and not done:
        raise _unknown(", ".join(ids))
    click.echo(f"{done} purged")


def _on_each_chosen(
    manifests: Manifests,
    bus: str | None,
    ids: tuple[str, ...],
    everything: bool,
    subscription: str | None,
    do: Callable[[Bus, Sequence[str]], Awaitable[None]],
    ask: Callable[[int], None] = lambda count: None,
) -> None:
    """Do it for the letters that the command names, some at a time."""
    if bool(ids) == everything:
        raise UsageError("name dead letters by ID, or give --all", hint="`kubecdc dlq list` prints the ids")
    if ids and subscription:
        raise UsageError("--subscription goes with --all, not with ids")

    async def each(opened: Bus, manifest: EventBus) -> None:
        require(opened.capabilities.dead_letter_browse, manifest, "show its dead letters")
        # All ids before the first step: a letter that comes back dead meanwhile is not taken twice.
        chosen = list(ids) or [letter.id for letter in await _letters(opened, subscription, sys.maxsize)]
        if chosen:
            ask(len(chosen))
        for start in range(0, len(chosen), PAGE):
            await do(opened, chosen[start : start + PAGE])

    on_one(manifests, bus, each)


async def _letters(bus: Bus, subscription: str | None, limit: int) -> list[DeadLetter]:
    """The oldest ones, read by pages."""
    found: list[DeadLetter] = []
    while len(found) < limit:
        after = found[-1].id if found else ""
        page = await bus.dead_letters.page(subscription, after=after, limit=min(limit - len(found), 10 * PAGE))
        if not page:
            break
        found += page
    return found


def _unknown(id_: str) -> KubecdcError:
    return KubecdcError(f"there is no dead letter {id_}", hint="`kubecdc dlq list` prints them")


def _row(letter: DeadLetter, manifest: EventBus) -> dict[str, Any]:
    return {
        "id": letter.id,
        "subscription": letter.subscription,
        "event": letter.event or None,
        "object": letter.partitionkey or None,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "when": moment(letter.last),
        "committed": moment(letter.first),
        "bus": manifest.name,
    }
