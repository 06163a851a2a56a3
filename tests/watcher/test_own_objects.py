"""An entry on ConfigMaps does not capture those that kubecdc writes for itself: it would never come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import msgspec
import pytest

from kubecdc.cluster.changes import decode_page
from kubecdc.cluster.own_objects import ANNOTATION, is_own, without_own
from kubecdc.storage.contracts import StateChange, Term
from kubecdc.watcher import metrics
from kubecdc.watcher.audit import auditor
from tests.apiserver import CONFIGMAPS
from tests.storage.split import SplitBus
from tests.storage.stores import ConfigMapStores
from tests.watcher.rig import KEY, Rig, event_source, told

pytestmark = pytest.mark.usefixtures("quick")
SOURCE = {"group": "", "version": "v1", "resource": "configmaps"}


@pytest.fixture
async def stack(bench: Rig) -> AsyncIterator[AsyncExitStack]:
    """The checkpoint of the rig is in a ConfigMap, which each commit writes."""
    async with AsyncExitStack() as stack:
        checkpoints = await ConfigMapStores(bench.kubeconfig, "kubecdc-checkpoint", stack).store()
        bench.wrap = lambda bus: SplitBus(bus, checkpoints)
        yield stack


async def make(bench: Rig, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    await bench.api.create(*CONFIGMAPS, "default", body)


async def next_told(bench: Rig) -> str:
    async with asyncio.timeout(10):
        async for delivery in (await bench.open()).subscription("test/all", prefetch=1).deliveries():
            await delivery.ack()
            return told([delivery.event])[0]
    raise AssertionError("unreachable")


async def commits(bench: Rig) -> int:
    found = await bench.wrap(await bench.open()).checkpoints.checkpoint(KEY)
    assert found
    return found.number


async def test_the_checkpoint_is_not_captured_nor_does_it_move_the_position(bench: Rig, stack: AsyncExitStack) -> None:
    await make(bench, "before")
    await bench.start(event_source(**SOURCE, namespace="default"))
    assert await next_told(bench) == "ADD before"
    await bench.watching()
    before = await commits(bench)
    for n in range(20):
        await make(bench, f"mine-{n}")
        assert await next_told(bench) == f"ADD mine-{n}"
    assert await commits(bench) == before + 20, "one for each change of others"
    written = await bench.api.get(*CONFIGMAPS, "default", "kubecdc-checkpoint")
    assert written["metadata"]["annotations"][ANNOTATION] == "true"


async def test_nor_are_those_of_other_buses_and_of_the_workers(
    bench: Rig, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two watchers that captured each other's ConfigMaps would keep each other awake. Lists leave them out too, and
    audits find nothing to repair."""
    monkeypatch.setattr(auditor, "SOON_SECONDS", 0.1)
    source = event_source(**SOURCE, namespace="default", auditInterval="1s")
    other = await ConfigMapStores(bench.kubeconfig, "kubecdc-checkpoint-other", stack).store()
    state = await ConfigMapStores(bench.kubeconfig, "kubecdc-checkpoint-state", stack).state()
    follows = ""

    async def work(number: int) -> None:
        nonlocal follows
        await other.acquire("other/changed", Term(number, "other"))
        change = StateChange(value=b"%d" % number, ttl=timedelta(minutes=1), follows=follows)
        await state.put("trigger", "key", change)
        follows = change.token

    await work(1)
    await bench.start(source)
    await bench.watching()
    clean = metrics.of(metrics.AUDITS, KEY, "clean")
    audited = clean.value

    async def audited_twice() -> bool:
        await work(int(await other.newest_term()) + 1)
        return bool(clean.value >= audited + 2)

    await bench.until(audited_twice)
    await make(bench, "mine")
    assert await next_told(bench) == "ADD mine"
    assert await bench.wrap(await bench.open()).checkpoints.gaps(KEY) == []
    await bench.kill()
    await bench.api.expire_history()
    await bench.start(source)
    await make(bench, "later")
    assert (await next_told(bench)).endswith("ADD later")


@pytest.mark.parametrize(
    ("metadata", "own"),
    [
        ({"annotations": {ANNOTATION: "true"}}, True),
        ({"annotations": {"note": f"see {ANNOTATION}"}}, False),
        ({"managedFields": [{"fieldsV1": {"f:metadata": {"f:annotations": {f"f:{ANNOTATION}": {}}}}}]}, False),
        ({"annotations": None, "labels": {ANNOTATION: "true"}}, False),
        ({"annotations": {ANNOTATION: 1}}, False),
        ({}, False),
    ],
)
def test_only_the_annotation_tells(metadata: dict[str, object], own: bool) -> None:
    body = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "2", **metadata}}
    assert is_own(msgspec.json.encode(body)) is own
    page = decode_page(msgspec.json.encode({"metadata": {"resourceVersion": "3"}, "items": [body]}))
    shown = without_own(page)
    assert (len(shown.items), len(shown.left_out)) == ((0, 1) if own else (1, 0))
