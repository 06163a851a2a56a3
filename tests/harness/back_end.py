"""What a stack needs to know of its bus, of whatever type that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubecdc.storage.contracts import Bus, CheckpointStore, Unknown
from tests.harness.kinds import Kind
from tests.harness.proxy import Proxy


@dataclass(frozen=True)
class Election:
    """How a leader is elected by a Lease that lasts so many seconds."""

    lease: int

    @property
    def options(self) -> Sequence[str]:
        """Of `kubecdc watch`."""
        durations = ("--lease-duration", f"{self.lease}s", "--renew-deadline", f"{self.lease - 1}s")
        return ("--leader-election", *durations, "--retry-period", "500ms")


QUICK = Election(4)


@dataclass(frozen=True)
class Observed:
    """What the test reads of a bus, beside the processes that work on it."""

    checkpoints: CheckpointStore
    pending: Callable[[], Awaitable[int]]  # events that no worker has settled yet


class BackEnd(Protocol):
    """A bus of its own for a stack.

    ``manifest``: its part of the EventBus's spec. ``election``: None if its lock elects. ``environment``: variables of
    watchers and workers. ``ack_wait``: seconds, of the manifest. ``faults``: what can be done to it. ``atomic``:
    events and checkpoint are stored in one step; else the checkpoint is in a ConfigMap, and workers need the cluster.
    """

    name: str
    election: Election | None
    atomic: bool
    ack_wait: float
    faults: Collection[Kind]

    @property
    def manifest(self) -> Mapping[str, object]: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def proxy(self) -> Proxy | None:
        """Between kubecdc and the server."""
        ...

    def copies(self) -> Mapping[str, int]:
        """How often each event was published, by its id; empty where the bus takes it once."""
        ...

    def observed(self, kubeconfig: Path) -> AbstractAsyncContextManager[Observed]:
        """The bus, opened for the test; it is made if it is not there yet. ``kubeconfig``: of an administrator."""
        ...


@asynccontextmanager
async def observed(opened: AbstractAsyncContextManager[Bus]) -> AsyncIterator[Observed]:
    """A bus that counts what is pending, and has its checkpoint."""
    async with opened as bus:

        async def pending() -> int:
            counts = [status.pending for status in await bus.subscriptions()]
            return sum(count for count in counts if not isinstance(count, Unknown))

        yield Observed(bus.checkpoints, pending)
