"""Dead letters as commands select and read them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from kubecdc.cli.buses import on_one, require_capability
from kubecdc.cli.manifests.loading import load
from kubecdc.errors import UsageError
from kubecdc.storage.contracts import Bus, DeadLetter
from kubecdc.storage.manifest import EventBus

PAGE = 100  # dead letters for each call
Letters = Mapping[str, DeadLetter | None]  # by id; None for one that is not there


@dataclass(frozen=True)
class Selection:
    """The dead letters that the arguments and options of a command select."""

    filenames: tuple[str, ...]
    bus: str | None
    ids: tuple[str, ...]
    everything: bool
    subscription: str | None

    def for_each_page(
        self, do: Callable[[Bus, Sequence[str]], Awaitable[None]], decide: Callable[[Letters], Awaitable[Letters]]
    ) -> None:
        """Call ``do`` with the ids of each page. Before, ``decide`` says which of all selected letters are meant.

        Raises UsageError for options that cannot be combined.
        """
        manifests = load(self.filenames, stdin=sys.stdin)
        if bool(self.ids) == self.everything:
            raise UsageError("give either ids of dead letters or --all", hint="`kubecdc dlq list` prints the ids")
        if self.ids and self.subscription:
            raise UsageError("--subscription cannot be combined with ids, only with --all")

        async def on_bus(bus: Bus, manifest: EventBus) -> None:
            require_browsing(bus, manifest)
            # All are read before the first call, so that an event that fails again is not selected twice.
            found = await self._found(bus)
            chosen = list(await decide(found)) if found else []
            for start in range(0, len(chosen), PAGE):
                await do(bus, chosen[start : start + PAGE])

        on_one(manifests, self.bus, on_bus)

    async def _found(self, bus: Bus) -> Letters:
        if not self.ids:
            return {letter.id: letter for letter in await letters(bus, self.subscription, sys.maxsize)}
        found: dict[str, DeadLetter | None] = {}
        for id_ in self.ids:
            known = await bus.dead_letters.letter(id_)
            found[id_] = known[0] if known else None
        return found


def undecided(found: Letters) -> dict[str, DeadLetter]:
    """The letters that are superseded, or of which the bus does not know it."""
    return {id_: letter for id_, letter in found.items() if letter is not None and letter.superseded is not False}


async def letters(bus: Bus, subscription: str | None, limit: int) -> list[DeadLetter]:
    """At most ``limit`` dead letters, the oldest first."""
    found: list[DeadLetter] = []
    while len(found) < limit:
        after = found[-1].id if found else ""
        page = await bus.dead_letters.page(subscription, after=after, limit=min(limit - len(found), 10 * PAGE))
        if not page:
            break
        found += page
    return found


def require_browsing(bus: Bus, manifest: EventBus) -> None:
    """Raise UsageError if the bus has no dead letters that can be listed."""
    require_capability(bus.capabilities.dead_letter_browse, manifest, "list its dead letters")
