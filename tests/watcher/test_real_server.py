"""What only a real API server proves: what its restart and etcd's compaction do to a watcher."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.apiserver import LocalSimulator
from tests.apiserver.real import RealApiServer, require_assets
from tests.watcher.rig import KEY, Rig, event_source, rig, told

EVENTS = ("", "v1", "events")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealApiServer]:
    require_assets()
    made = RealApiServer(tmp_path / "server")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def bench(server: RealApiServer, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(cast(LocalSimulator, server), tmp_path) as made:
        yield made


async def reasons(bench: Rig) -> list[tuple[str, int]]:
    return [(gap.reason, gap.synthetic) for gap in await (await bench.open()).checkpoints.gaps(KEY)]


async def test_a_restart_alarms_nobody_if_nothing_changed(
    server: RealApiServer, bench: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        await bench.create(name)
    await bench.start()
    assert told(await bench.events()) == ["ADD a", "ADD b", "ADD c"]
    await server.create("", "v1", "configmaps", "default", {"kind": "ConfigMap", "metadata": {"name": "later"}})
    await server.restart()

    async def listed() -> bool:
        return bool(await reasons(bench))

    await bench.until(listed, 30)
    assert await reasons(bench) == [("history expired", 0)]
    await bench.create("d")
    assert told(await bench.events()) == ["ADD d"]
    assert "gap repaired" not in capsys.readouterr().out
    events = (await bench.api.list(*EVENTS))["items"]
    assert "GapRepaired" not in [event.get("reason") for event in events]


async def test_an_expired_watch_on_events_is_recognized(server: RealApiServer, bench: Rig) -> None:
    async def note(name: str) -> None:
        about: dict[str, Any] = {"involvedObject": {"namespace": "default"}, "reason": "Tested"}
        await server.create(*EVENTS, "default", {"kind": "Event", "metadata": {"name": name}, **about})

    source = event_source(group="", version="v1", resource="events", filter={"prefix": "mine"})

    async def pending(count: int) -> bool:
        return [s.pending for s in await (await bench.open()).subscriptions()] == [count]

    await note("mine-1")
    await bench.start(source)
    await bench.until(lambda: pending(1))
    await bench.kill()
    await note("mine-2")
    await server.compact()
    await bench.start(source)

    async def repaired() -> bool:
        return await reasons(bench) == [("history expired", 1)]

    await bench.until(repaired)
    assert await pending(2)
