"""Reads the manifests of a process again when they change, and has it go on with them. Bad ones change nothing.

A process that dies in between starts with the manifests that it finds, as after any other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from kubecdc.cli.manifests.loading import ManifestErrors, Manifests
from kubecdc.cli.reload.looks import Looks
from kubecdc.cli.reload.on_bus import OnBus
from kubecdc.cli.reload.outcome import Outcome
from kubecdc.cli.reload.uses import BusUse, Uses, require_no_restart
from kubecdc.cluster.shared import SharedCluster
from kubecdc.errors import KubecdcError

log = structlog.get_logger()
NOT_USED = "the changed manifests are not used; the previous ones stay in use"
IN_USE = "the manifests were read again and are in use"
MOST = 20  # problems in a line


class Reloading:
    """``load`` reads the manifests, and raises UsageError for bad ones; ``uses`` are what they ask of the process.

    ``said`` are the notices that were logged at the start.
    """

    def __init__(
        self,
        load: Callable[[], Manifests],
        uses: Callable[[Manifests], Uses],
        looks: Looks,
        outcome: Outcome,
        said: Iterable[str] = (),
    ) -> None:
        self._load = load
        self._uses = uses
        self._looks = looks
        self._outcome = outcome
        self._said = set(said)
        self._latest: Uses | None = None  # what is to be in use, None if that has a problem

    def ask(self) -> None:
        """Read the manifests now, whether they seem to have changed or not."""
        self._looks.ask()

    async def run(self, buses: Mapping[str, OnBus], cluster: SharedCluster) -> None:
        """Follow the manifests. Never returns. Newer ones take the place of those that a bus has not taken yet."""
        async with asyncio.TaskGroup() as tasks:
            going_on = tasks.create_task(asyncio.sleep(0))
            while True:
                asked = await self._looks.news()
                try:
                    uses = await self._read(buses)
                except KubecdcError as e:
                    if await self._looks.same():
                        self._failed(e)
                    continue
                if not await self._looks.same():
                    continue
                self._latest = uses
                going_on.cancel()
                await asyncio.wait({going_on})
                going_on = tasks.create_task(self._go_on(uses, buses, cluster, asked=asked))

    async def _read(self, buses: Mapping[str, OnBus]) -> Uses:
        """What the manifests ask for now, read in a thread. Raises UsageError."""
        manifests = await asyncio.to_thread(self._load)
        uses = self._uses(manifests)
        require_no_restart({name: bus.use for name, bus in buses.items()}, uses)
        for notice in manifests.notices:
            if notice not in self._said:
                log.warning(notice, code="manifest-notice")
        self._said = set(manifests.notices)
        return uses

    async def _go_on(self, uses: Uses, buses: Mapping[str, OnBus], cluster: SharedCluster, *, asked: bool) -> None:
        """Each bus on its own: one that does not answer, or refuses something, holds up no other."""
        before = {name: bus.use for name, bus in buses.items()}

        async def become(bus: OnBus) -> bool:
            try:
                await bus.become(uses[bus.manifest.name])
            except KubecdcError as e:
                self._failed(e)
                return False
            return True

        try:
            if any(use.needs_cluster for use in uses.values()):
                await cluster.objects()
        except KubecdcError as e:
            self._failed(e)
            return
        if not all(await asyncio.gather(*map(become, buses.values()))):
            return
        if self._latest is uses:
            if trouble := self._outcome.trouble:
                log.info("recovered", code="recovered", was=trouble.reason)
            self._outcome.succeeded()
        found = _differences(before, uses)
        if found or asked:
            log.info(IN_USE, code="manifests-reloaded", **found)

    def _failed(self, error: KubecdcError) -> None:
        self._latest = None
        self._outcome.failed(error)
        if isinstance(error, ManifestErrors):
            problems = [str(problem) for problem in error.problems[:MOST]]
            log.error(
                NOT_USED,
                code="manifests-unused",
                count=len(error.problems),
                problems=problems,
                hint="`kubecdc validate -f` prints all",
            )
        else:
            log.error(NOT_USED, code="manifests-unused", reason=str(error), hint=error.hint)


def _differences(old: Uses, new: Uses) -> dict[str, list[str]]:
    """For the log: `entries_added`, `triggers_changed`, and so on, with the names of each."""
    parts: dict[str, Callable[[BusUse], Mapping[str, object]]] = {
        "entries": lambda use: use.entries,
        "triggers": lambda use: use.triggers,
        "subscriptions": lambda use: use.by_name,
    }
    found: dict[str, list[str]] = {}
    for what, part in parts.items():
        was = {name: value for use in old.values() for name, value in part(use).items()}
        now = {name: value for use in new.values() for name, value in part(use).items()}
        found[f"{what}_added"] = [name for name in now if name not in was]
        found[f"{what}_changed"] = [name for name in now if name in was and now[name] != was[name]]
        found[f"{what}_removed"] = [name for name in was if name not in now]
    return {how: names for how, names in found.items() if names}
