"""A bus composed of a queue and a store that is opened as a manifest names it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.errors import UsageError
from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.contracts.types import ClusterAccess, Opening, Store
from kubecdc.storage.installed import store_types
from kubecdc.storage.testing import Case, commits, state
from tests.apiserver import RealApiServer, simulator
from tests.storage.conftest import SqliteHarness
from tests.storage.redis_server import RedisServer

CASES = [case for case in [*state.CASES, *commits.CASES] if "atomic_commit" not in case.requires]


@dataclass
class ComposedHarness:
    """Events in a file of SQLite; all else in another store."""

    queues: SqliteHarness
    name: str
    written: dict[str, str]
    access: ClusterAccess
    stack: AsyncExitStack
    bus: str = "default"
    short: timedelta = timedelta(milliseconds=500)

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.queues.capabilities, atomic_commit=False, exactly_once_publish=False)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        queue = await self.queues.open(holder, ack_wait=ack_wait, max_pending=max_pending)
        bus = ComposedBus(queue, await self.store(holder))
        self.stack.push_async_callback(bus.close)
        return bus

    async def store(self, holder: str = "one", *, create: bool = True) -> Store:
        of = store_types().types[self.name]
        opening = Opening(holder, self.access, create=create)
        return await of.open(of.model.model_validate(self.written), self.bus, opening)


class StatelessStore:
    """A store of another package, for checkpoints only."""

    state = None
    elector = None

    def __init__(self, store: Store) -> None:
        self.checkpoints = store.checkpoints
        self.close = store.close


def no_cluster() -> Cluster:
    raise UsageError("no cluster is configured")


@pytest.fixture
async def composed(harness: SqliteHarness) -> AsyncIterator[ComposedHarness]:
    """Its checkpoint is in another file, until a test says otherwise."""
    async with AsyncExitStack() as stack:
        path = str(harness.path.with_name("checkpoints.db"))
        yield ComposedHarness(harness, "sqlite", {"path": path}, ClusterAccess(no_cluster), stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_with_a_file(case: Case, composed: ComposedHarness) -> None:
    await case.run(composed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_with_redis(
    case: Case, composed: ComposedHarness, shared_redis: RedisServer, request: pytest.FixtureRequest
) -> None:
    composed.name, composed.written = "redis", {"url": shared_redis.url}
    composed.bus = request.node.name
    await case.run(composed)


@pytest.fixture(params=["simulator", "real"])
def real(request: pytest.FixtureRequest) -> RealApiServer | None:
    """A real API server, or None for a simulated one."""
    found: RealApiServer | None = request.getfixturevalue("real_api") if request.param == "real" else None
    return found


@pytest.fixture
async def in_config_maps(
    real: RealApiServer | None, composed: ComposedHarness, tmp_path: Path
) -> AsyncIterator[ComposedHarness]:
    """Checkpoints and state are in ConfigMaps."""
    async with AsyncExitStack() as stack:
        if real:
            stack.push_async_callback(real.close)
            kubeconfig = real.kubeconfig(tmp_path / "kubeconfig")
        else:
            api = await stack.enter_async_context(simulator())
            kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        composed.access = ClusterAccess(lambda: Cluster(str(kubeconfig)), "default")
        composed.name, composed.written = "configMap", {"name": f"checkpoint-{uuid.uuid4().hex}"}
        yield composed
        await composed.stack.aclose()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_with_config_maps(case: Case, in_config_maps: ComposedHarness) -> None:
    await case.run(in_config_maps)


async def test_a_config_map_has_state_and_no_election(composed: ComposedHarness) -> None:
    composed.name, composed.written = "configMap", {}
    bus = await composed.open()
    assert (bus.capabilities.state, bus.capabilities.elector) == (True, False)
    with pytest.raises(UsageError) as e:
        _ = bus.elector
    assert "--leader-election" in e.value.hint


async def test_a_store_without_state_is_told(composed: ComposedHarness) -> None:
    queue = await composed.queues.open()
    bus = ComposedBus(queue, StatelessStore(await composed.store()))
    assert not bus.capabilities.state
    with pytest.raises(UsageError, match="cannot store the state"):
        _ = bus.state


async def test_the_cluster_is_connected_to_with_the_first_use(composed: ComposedHarness, tmp_path: Path) -> None:
    composed.name, composed.written = "configMap", {}
    bus = await composed.open()
    with pytest.raises(UsageError, match="no cluster is configured"):
        await bus.checkpoints.checkpoints()
    with pytest.raises(UsageError, match="no cluster is configured"):
        await bus.state.get("print/line", "key")
    async with simulator() as api:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        composed.access = ClusterAccess(lambda: Cluster(str(kubeconfig)), "default")
        assert await (await composed.open()).checkpoints.checkpoints() == []


async def test_a_store_that_has_to_exist_and_does_not_is_refused(composed: ComposedHarness) -> None:
    with pytest.raises(UsageError, match=r"there are no checkpoints at .*checkpoints\.db yet"):
        await composed.store(create=False)
