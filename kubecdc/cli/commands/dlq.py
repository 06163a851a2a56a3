"""`kubecdc dlq`: the dead letters of a bus."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from kubecdc.cli import options
from kubecdc.cli.buses import on_each, on_one, require_capability
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.output import confirm, moment, show, show_one
from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.contracts import Bus, DeadLetter
from kubecdc.storage.manifest import EventBus

COLUMNS = ("id", "subscription", "event", "object", "reason", "attempts", "when")
PAGE = 100  # dead letters for each call

of_subscription = options.option("--subscription", metavar="NAME", help="Only dead letters of the subscription NAME.")
all_ = options.option("--all", "everything", is_flag=True, help="All dead letters.")
selection = options.combined(
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    all_,
    of_subscription,
    options.manifests,
    options.secrets,
    options.bus,
)


@click.group()
def dlq() -> None:
    """List, show, redrive or purge dead letters.

    A dead letter is an event that a trigger could not handle. It is kept until it is redriven or purged, even if its
    subscription is removed.
    """


@dlq.command("list")
@of_subscription
@options.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Maximum number of dead letters, the oldest first.",
)
@options.manifests
@options.secrets
@options.bus
@options.output
def list_(
    filenames: tuple[str, ...], bus: str | None, subscription: str | None, limit: int, output_format: str
) -> None:
    """Print dead letters, the oldest first, each with its event, object, reason and time."""

    received: list[str] = []

    async def rows(opened: Bus, manifest: EventBus) -> list[dict[str, Any]]:
        _require_browsing(opened, manifest)
        letters = await _letters(opened, subscription, limit + 1)
        if not opened.capabilities.counts:
            received.append(manifest.name)
        return [_row(letter, manifest) for letter in letters]

    found = on_each(load(filenames, stdin=sys.stdin), rows, only=bus)
    show(found[:limit], COLUMNS, output_format, empty="no dead letters")
    for name in received:
        click.echo(
            f"bus {name}: the service lists no messages, they are received and handed back. "
            "Some may be missing, for example those that another command looks at, and their order is approximate",
            err=True,
        )
    if len(found) > limit:
        click.echo(f"only the first {limit} are shown: use --limit to see more", err=True)


@dlq.command("show")
@click.argument("id_", metavar="ID")
@options.manifests
@options.secrets
@options.bus
@options.output
def show_(filenames: tuple[str, ...], bus: str | None, id_: str, output_format: str) -> None:
    """Print all fields of a dead letter, with the reason and the event."""

    async def read(opened: Bus, manifest: EventBus) -> dict[str, Any]:
        _require_browsing(opened, manifest)
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
@selection
def redrive(**selected: Any) -> None:
    """Deliver dead letters again, each to its own subscription, with a full set of attempts.

    A dead letter is queued after the pending events of its object, so it may arrive after newer events. The event id
    and the Idempotency-Key do not change: a receiver that knows them may ignore the event.
    Exit code 1 if a dead letter could not be redriven. The reason is printed.
    """
    done, refused = 0, 0

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done, refused
        reasons = await opened.dead_letters.redrive(some)
        for id_, reason in reasons.items():
            click.echo(f"{id_} not redriven: {reason}", err=True)
        refused += len(reasons)
        done += len(some) - len(reasons)

    try:
        _Selection(**selected).for_each_page(step)
    except Unavailable:
        click.echo(f"{done} redriven before the error", err=True)
        raise
    click.echo(f"{done} redriven")
    if refused:
        sys.exit(1)


@dlq.command("purge")
@selection
@options.yes
def purge(yes: bool, **selected: Any) -> None:
    """Delete dead letters permanently."""
    letters, done = _Selection(**selected), 0

    async def step(opened: Bus, some: Sequence[str]) -> None:
        nonlocal done
        done += await opened.dead_letters.purge(some)

    def ask(count: int) -> None:
        confirm(f"Delete {count} dead letters permanently?", yes=yes)

    letters.for_each_page(step, ask)
    if letters.ids and not done:
        raise _unknown(", ".join(letters.ids))
    click.echo(f"{done} purged")


@dataclass(frozen=True)
class _Selection:
    """The dead letters that the options of `selection` select."""

    filenames: tuple[str, ...]
    bus: str | None
    ids: tuple[str, ...]
    everything: bool
    subscription: str | None

    def for_each_page(
        self,
        do: Callable[[Bus, Sequence[str]], Awaitable[None]],
        ask: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Call ``do`` with the ids of each page. Before, ``ask`` is called with their total number, to confirm.

        Raises UsageError for options that cannot be combined.
        """
        manifests = load(self.filenames, stdin=sys.stdin)
        if bool(self.ids) == self.everything:
            raise UsageError("give either ids of dead letters or --all", hint="`kubecdc dlq list` prints the ids")
        if self.ids and self.subscription:
            raise UsageError("--subscription cannot be combined with ids, only with --all")

        async def on_bus(bus: Bus, manifest: EventBus) -> None:
            _require_browsing(bus, manifest)
            # All ids are read before the first call, so that an event that fails again is not selected twice.
            chosen = list(self.ids) or [one.id for one in await _letters(bus, self.subscription, sys.maxsize)]
            if chosen:
                ask(len(chosen))
            for start in range(0, len(chosen), PAGE):
                await do(bus, chosen[start : start + PAGE])

        on_one(manifests, self.bus, on_bus)


async def _letters(bus: Bus, subscription: str | None, limit: int) -> list[DeadLetter]:
    """At most ``limit`` dead letters, the oldest first."""
    found: list[DeadLetter] = []
    while len(found) < limit:
        after = found[-1].id if found else ""
        page = await bus.dead_letters.page(subscription, after=after, limit=min(limit - len(found), 10 * PAGE))
        if not page:
            break
        found += page
    return found


def _require_browsing(bus: Bus, manifest: EventBus) -> None:
    require_capability(bus.capabilities.dead_letter_browse, manifest, "list its dead letters")


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
