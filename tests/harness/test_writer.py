"""The writer knows what was committed, whatever became of the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.harness import writer as writer_module
from tests.harness.api import WORKFLOWS, Api
from tests.harness.ledger import Change
from tests.harness.load import Load
from tests.harness.writer import WriteFailedError, Writer

Fault = Callable[[int, str], str]  # (request number, method) -> "" | "unseen" | "unanswered" | a status


class Server(Api):
    """One resourceVersion counter and a dict; ``fault`` decides what goes wrong. ``log``: (action, uid, version)."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[str, str, int]] = []
        self.requests = 0

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> tuple[int, Any]:
        self.requests += 1
        fault = self.fault(self.requests, method)
        if fault == "unseen":
            raise aiohttp.ServerDisconnectedError
        if fault.isdigit():
            return int(fault), "not now"
        answer = self._do(method, path, body)
        if fault == "unanswered":
            raise aiohttp.ServerDisconnectedError
        return answer

    def _do(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            path += f"/{body['metadata']['name']}"
            if path in self.objects:
                return 409, {"kind": "Status"}
            return 201, self._commit(
                "ADD", path, {**body, "metadata": {**body["metadata"], "uid": f"u{len(self.log)}"}}
            )
        old = self.objects.get(path)
        if old is None:
            return 404, {"kind": "Status"}
        if method == "GET":
            return 200, old
        if method == "DELETE":
            del self.objects[path]
            self.log.append(("DELETE", old["metadata"]["uid"], len(self.log) + 1))
            return 200, {"kind": "Status"}
        merged = {**old, **body, "metadata": {**old["metadata"], **body["metadata"]}}
        return 200, old if merged == old else self._commit("UPDATE", path, merged)

    def _commit(self, action: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        version = len(self.log) + 1
        self.objects[path] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}
        self.log.append((action, body["metadata"]["uid"], version))
        return self.objects[path]


def known(change: Change) -> tuple[str, str, int | None]:
    return change.action, change.uid, change.version


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PAUSE", 0.0)


@pytest.mark.parametrize("fault", ["unseen", "unanswered", "429", "503"])
@pytest.mark.parametrize("nth", range(1, 7))
async def test_every_write_is_known_though_a_request_failed(fault: str, nth: int) -> None:
    server = Server(lambda n, method: fault if n in {nth, nth + 1} else "")
    writer = Writer(server, WORKFLOWS)
    await writer.create("default", "a", {"spec": {}})
    await writer.patch("default", "a", {"spec": {"n": 1}})
    await writer.delete("default", "a")
    await writer.create("default", "a", {"spec": {}})
    told = [(action, uid, None if action == "DELETE" else version) for action, uid, version in server.log]
    assert [known(c) for c in writer.changes] == told
    assert [action for action, _, _ in told] == ["ADD", "UPDATE", "DELETE", "ADD"]


async def test_a_refused_write_fails_at_once() -> None:
    writer = Writer(Server(lambda n, method: "422"), WORKFLOWS)
    with pytest.raises(WriteFailedError, match="422"):
        await writer.create("default", "a", {"spec": {}})


async def test_the_load_knows_each_of_its_changes_through_faults() -> None:
    faults = {3: "unseen", 5: "unanswered", 7: "503"}
    server = Server(lambda n, method: faults.get(n % 11, ""))
    writer = Writer(server, WORKFLOWS)
    await Load(seed=1, objects=20, changes=400).run(writer)
    told = Counter((action, uid, None if action == "DELETE" else version) for action, uid, version in server.log)
    assert Counter(known(c) for c in writer.changes) == told
    assert len(writer.changes) == 401
    assert {action for action, _, _ in told} == {"ADD", "UPDATE", "DELETE"}
    assert writer.changes[-1].version == len(server.log)


async def test_a_seed_makes_the_same_changes_again() -> None:
    async def actions(seed: int) -> list[tuple[str, str]]:
        writer = Writer(Server(lambda n, method: ""), WORKFLOWS)
        await Load(seed=seed, objects=10, changes=100, writers=1).run(writer)
        return [(c.action, c.partitionkey) for c in writer.changes]

    assert await actions(7) == await actions(7)
    assert await actions(7) != await actions(8)


async def test_no_copy_and_no_restore_comes_between_a_look_and_its_write() -> None:
    server = Server(lambda number, method: "")
    writer = Writer(server, WORKFLOWS)
    await writer.create("default", "a", {"spec": {}})
    order: list[str] = []

    async def write(name: str) -> None:
        async with writer.turn():
            order.append(f"{name} begins")
            await asyncio.sleep(0.01)
            order.append(f"{name} ends")

    async def stop() -> None:
        async with writer.stillness():
            order.append("still")
            await asyncio.sleep(0.01)
            order.append("over")

    first = asyncio.create_task(write("first"))
    await asyncio.sleep(0)
    await asyncio.gather(first, stop(), write("second"))
    assert order == ["first begins", "first ends", "still", "over", "second begins", "second ends"]
