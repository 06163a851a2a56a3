"""An ACL user with the rights that docs/rq.md names can use an rq bus, and no less is enough."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from kubecdc.errors import KubecdcError, UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.rq import ServerSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer
from tests.storage.rq.conftest import RqHarness
from tests.storage.rq.workshop import workshop

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = [ROOT / "storage/redis_server", ROOT / "storage/rq"]
RULES = re.findall(r"^ACL SETUSER (\S+) on >PASSWORD (.*)$", (ROOT / "docs/rq.md").read_text(), re.MULTILINE)
OURS, WORKERS = (rule.split() for _, rule in RULES)
SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """With a user for kubecdc and one for RQ's own workers."""
    redis_server.require()
    server = RedisServer(tmp_path)
    server.start()
    for name, rule in (("kubecdc", OURS), ("rqworker", WORKERS)):
        execute(server, "ACL", "SETUSER", name, "on", ">geheim", *rule)
    yield server
    server.kill()


def execute(server: RedisServer, *command: str) -> Any:
    with Redis.from_url(server.url) as client:
        return client.execute_command(*command)


def url(server: RedisServer, user: str = "kubecdc") -> str:
    return f"redis://{user}:geheim@127.0.0.1:{server.port}/1"


async def test_the_documented_rights_are_enough_for_kubecdc(guarded: RedisServer) -> None:
    bus = await open_bus(ServerSettings(url(guarded)), holder="one")
    try:
        await bus.register([SUB])
        async with bus.elector.lead() as term:
            leader = await Leader.take(bus, term=term.number)
            await leader.commit(event(1), event(2), event(3))
            await bus.housekeeping.tidy()
            async with Receiver.of(bus, SUB.name) as receiver:
                assert await receiver.acked(1) == [event(1).id]
                await (await receiver.next()).dead_letter("no")
                await (await receiver.next()).extend()
            (letter,) = await bus.dead_letters.page()
            assert await bus.dead_letters.redrive([letter.id]) == {}
            assert len(await bus.subscriptions()) == 1
            assert await bus.prune(SUB.name)
    finally:
        await bus.close()


async def test_each_right_is_needed_and_is_named_when_it_is_missing(guarded: RedisServer) -> None:
    for right in (right for right in OURS if right.startswith("+")):
        if right == "+role":  # for Sentinels
            continue
        execute(guarded, "ACL", "SETUSER", "kubecdc", right.replace("+", "-"))
        execute(guarded, "SCRIPT", "FLUSH")
        with pytest.raises(UsageError, match="forbids what a bus needs") as refused:
            await open_bus(ServerSettings(url(guarded)), holder="one")
        assert right[1:].partition("|")[0] in str(refused.value).lower()
        execute(guarded, "ACL", "SETUSER", "kubecdc", right)


async def test_the_documented_rights_are_enough_for_rqs_own_workers(guarded: RedisServer, tmp_path: Path) -> None:
    async with workshop(ServerSettings(guarded.database(1)), tmp_path) as shop:
        shop.rewrite(guarded.database(1), url(guarded))
        await shop.leader.commit(event(1), event(2))
        shop.settings = ServerSettings(url(guarded, "rqworker"))
        worker = shop.rq_worker("--burst", "--worker-class", "rq.worker.SimpleWorker")
        await worker.wait(60)
        assert shop.accepted == [event(1).id, event(2).id], worker.tail()
        await shop.leader.commit(event(3))
        await shop.behave(status=400, seconds=60)
        await shop.rq_worker("--burst").wait(60)
        (letter,) = await shop.bus.dead_letters.page()
        assert letter.event == event(3).id


def test_the_rights_are_those_of_every_command_that_is_sent() -> None:
    scripts = {path: path.read_text() for folder in FOLDERS for path in folder.rglob("*.lua")}
    used = {name for text in scripts.values() for name in re.findall(r"redis\.p?call\('([A-Z]+)'", text)}
    used |= {name for text in scripts.values() for name in re.findall(r"apply\('([A-Z]+)'", text)}
    for path in (path for folder in FOLDERS for path in folder.rglob("*.py")):
        used |= set(re.findall(r"""(?:keyed|command)\(\s*"([A-Z]+)\"""", path.read_text()))
    tried = set(re.findall(r"\{'([A-Z]+)'", scripts[FOLDERS[-1] / "lua/administration/rights.lua"]))
    assert used - tried == {"INFO", "ROLE"}  # which other checks send themselves
    allowed = {right[1:].upper() for right in OURS if right.startswith("+")}
    assert allowed == tried | {"EVAL", "EVALSHA", "INFO", "ROLE", "SELECT", "CLIENT|SETNAME"}


async def test_a_bus_of_the_other_kind_is_refused_by_name(rq_harness: RqHarness) -> None:
    settings = rq_harness.settings
    redis = await open_redis(RedisSettings(settings.url, name=f"{settings.name}-redis"), holder="one")
    await redis.close()
    with pytest.raises(UsageError, match="is a redis bus, not an rq bus"):
        await rq_harness.rq(replace(settings, name=f"{settings.name}-redis"))
    await rq_harness.rq()
    with pytest.raises(UsageError, match="partitions"):
        await open_redis(RedisSettings(settings.url, name=settings.name), holder="one")


async def test_a_bus_that_is_not_there_is_said(rq_harness: RqHarness) -> None:
    with pytest.raises(UsageError, match="no bus"):
        await open_bus(rq_harness.settings, holder="one", create=False)


async def test_another_key_prefix_of_rq_is_refused(rq_harness: RqHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await rq_harness.rq()
    monkeypatch.setattr("kubecdc.storage.rq.bus.RQ_KEY_PREFIX", "jobs")
    with pytest.raises(UsageError, match="RQ_KEY_PREFIX=rq, and it is jobs here"):
        await rq_harness.rq()


async def test_the_extra_is_named_when_rq_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "rq" or name.startswith("rq."):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(KubecdcError) as missing:
        await open_bus(ServerSettings("redis://localhost"), holder="one")
    assert "kubecdc[rq]" in missing.value.hint
