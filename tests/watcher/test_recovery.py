"""What follows a failure, whatever it is that failed: a wait as long as the server asks for, and fresh credentials."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from kubecdc.backoff import Backoff
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import MOST_RETRY_AFTER, ApiError
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import Term
from kubecdc.watcher import recovery
from kubecdc.watcher.namespaces import selected
from kubecdc.watcher.recovery import Recovery
from kubecdc.watcher.session import Session
from tests.apiserver import NAMESPACES, simulator
from tests.apiserver.watch import WatchRules
from tests.watcher.rig import KEY, Rig, event_source, rig, told


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.0, 0.01, 0.0))
    monkeypatch.setattr(selected, "PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unavailable("the bus is away"), 0.01),
        (ApiError("busy", status=429, retry_after=0.2), 0.2),
        (ApiError("busy", status=503, retry_after=0.001), 0.01),
        (ApiError("down for maintenance", status=503, retry_after=3600), 60),
    ],
)
async def test_a_failure_is_waited_out_as_long_as_the_server_asks(
    error: KubecdcError, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(delay: float) -> None:
        waits.append(delay)

    monkeypatch.setattr("asyncio.sleep", sleep)
    await Recovery(Session(cast(Any, None), cast(Any, None), Term(1, "test")), "a").after(error)
    assert waits == [seconds]


@pytest.mark.parametrize(
    ("asked", "granted"), [(3600, 60), (math.inf, 60), (10**400, 60), (1.5, 1.5), (0, 0), (-5, 0), (math.nan, 0)]
)
def test_no_server_and_no_gateway_silences_a_watch_for_long(asked: float, granted: float) -> None:
    assert ApiError("busy", status=503, retry_after=asked).retry_after == granted


async def test_what_a_gateway_asks_for_is_capped_for_every_request(bench: Rig) -> None:
    bench.api.fail(503, path="maintained", retry_after=3600)
    async with Cluster(str(bench.kubeconfig)) as cluster:
        for answer in (cluster.get("/maintained"), cluster.post("/maintained", {}), cluster.put("/maintained", {})):
            with pytest.raises(ApiError) as caught:
                await answer
            assert (caught.value.status, caught.value.retry_after) == (503, MOST_RETRY_AFTER)
        with pytest.raises(ApiError) as caught:
            async with cluster.stream("/maintained", {}):
                pytest.fail("it was refused")
        assert caught.value.retry_after == MOST_RETRY_AFTER


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Rig]:
    async with simulator(tokens=["old"], rules=WatchRules(scale=0.1)) as api, rig(api, tmp_path) as made:
        yield made


async def prod(bench: Rig, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"env": "prod"}}}
    await bench.api.create(*NAMESPACES, "", body)


async def test_a_token_that_is_rotated_while_namespaces_are_watched_is_read_again(bench: Rig) -> None:
    await bench.start(event_source(namespaceSelector={"matchLabels": {"env": "prod"}}))
    await bench.watching()  # the namespaces, and nothing else: none is selected
    bench.api.simulator.tokens = {"new"}
    bench.api.kubeconfig(bench.kubeconfig)
    bench.api.cut_streams(mid_line=False)
    await prod(bench, "one")
    await bench.create("a", namespace="one")
    assert told(await bench.events(namespace="one")) == ["ADD a"]


async def test_a_token_that_is_rotated_before_other_namespaces_are_left_is_read_again(
    bench: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    await prod(bench, "one")
    await prod(bench, "two")
    await bench.create("a", namespace="one")
    await bench.start(event_source(namespaces=["one"]))
    assert told(await bench.events(namespace="one")) == ["ADD a"]
    await bench.kill()
    bench.api.simulator.tokens = {"new"}
    await bench.start(event_source(namespaces=["two"]))

    async def refused() -> bool:
        return "does not accept the credentials" in capsys.readouterr().out

    await bench.until(refused)
    bench.api.kubeconfig(bench.kubeconfig)
    assert told(await bench.events(namespace="two")) == ["~DELETE a"]
    states = {c.key for c in await (await bench.open()).checkpoints.checkpoints() if c.state}
    assert states == {f"{KEY}/two"}


async def test_a_call_is_repeated_until_it_is_done() -> None:
    calls = 0

    async def call() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise Unavailable("not yet")
        return calls

    attempts = Recovery(Session(cast(Any, None), cast(Any, None), Term(1, "test")), "a")
    assert await attempts.until_done(call) == 3
    assert attempts.failures == 0
