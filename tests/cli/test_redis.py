"""Watcher and worker as processes of their own, on a bus in Redis."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from kubecdc.storage.testing.actors import until
from tests.cli.rig import HTTP, REDIS_BUS, Desk
from tests.ports import free_port
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer


async def _all(names: list[str], out: str) -> bool:
    return all(f'"{name}"' in out for name in names)


async def test_watch_and_work_share_a_bus_in_redis(redis_desk: Desk) -> None:
    desk = redis_desk
    missing = await desk.call("bus", "show")
    assert missing.code == 2
    assert "there is no bus 'default'" in missing.err
    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        async with desk.running("work") as first, desk.running("work") as second:
            names = [f"flow-{number}" for number in range(12)]
            for name in names:
                await desk.create(name)
            await until(lambda: _all(names, first.out + second.out))
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
            late = [f"late-{number}" for number in range(4)]
            for name in late:
                await desk.create(name)
            await until(lambda: _all(late, second.out))
        (row,) = await desk.rows("bus", "show")
        assert (row["subscription"], row["pending"], row["dead"]) == ("print/line", 0, 0)
        (checkpoint,) = await desk.rows("checkpoint", "show")
        assert checkpoint
        assert await desk.rows("dlq", "list") == []
        replay = await desk.call("replay", "--subscription", "print/line", "--yes")
        assert replay.code == 0, replay.err
        assert "16" in replay.out
        (row,) = await desk.rows("bus", "show")
        assert row["pending"] == 16


@pytest.mark.long
async def test_groups_and_streams_that_somebody_deletes_are_made_again_and_said(
    redis_desk: Desk, redis_url: str
) -> None:
    desk = redis_desk
    async with Redis.from_url(redis_url) as redis:

        async def delete(*, streams: bool) -> None:
            for partition in range(4):
                key = f"{{kubecdc:default}}:events:1:{partition}"
                if streams:
                    await redis.delete(key)
                elif await redis.exists(key):
                    await redis.xgroup_destroy(key, "1:print/line")

        async with desk.running("run") as run:
            for streams in (False, True):
                await desk.create(f"before-{streams:d}")
                await run.until(f'"before-{streams:d}"', out=True)
                await delete(streams=streams)
                await desk.create(f"after-{streams:d}")
                await run.until(f'"after-{streams:d}"', out=True)
        await desk.create("while-down")
        await delete(streams=False)
        async with desk.running("run") as again:
            await again.until('"while-down"', out=True)
    for one in (run, again):
        assert one.process.returncode == 0 and one.lines("consumer groups were missing in Redis and are made again")
    (row,) = await desk.rows("bus", "show")
    assert (row["pending"], row["gone"]) == (0, 0)


async def test_what_a_worker_has_counted_of_a_subscription_ends_when_a_reload_removes_its_trigger(
    redis_desk: Desk, redis_url: str
) -> None:
    """The events too that it found to be gone, which no part of the trigger counts."""
    desk, port = redis_desk, free_port()
    desk.write("post.yaml", HTTP.format(url="http://127.0.0.1:1/"))

    async def exported(name: str) -> set[str]:
        """The metrics of a trigger, without what one process of the bus exports until the subscription is pruned."""
        async with ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
        labels = f'subscription="{name}"', f'sensor="{name.partition("/")[0]}"'
        lines = [line for line in text.splitlines() if any(label in line for label in labels) and "{bus=" not in line]
        return {line.partition("{")[0] for line in lines}

    async with desk.running("watch") as watch, desk.running("work") as first:
        await watch.until('"listed"')
        await desk.create("a")
        await first.until('"trigger-failed"')
        await first.until('"a"', out=True)
    async with Redis.from_url(redis_url) as redis:
        for partition in range(4):
            await redis.xtrim(f"{{kubecdc:default}}:events:1:{partition}", maxlen=0, approximate=False)
    async with desk.running("work", "--metrics-bind-address", f"127.0.0.1:{port}") as second:
        await second.until('"events-gone"')
        assert {"kubecdc_gone_events_total", "kubecdc_partitions_held"} < await exported("post/send")
        (desk.manifests / "post.yaml").unlink()
        second.process.send_signal(signal.SIGHUP)

        async def ended() -> bool:
            return not await exported("post/send")

        await until(ended)
        assert await exported("print/line")


async def test_a_redis_that_is_not_there_yet_is_waited_for_and_its_password_told_to_nobody(
    desk: Desk, tmp_path: Path
) -> None:
    redis_server.require()
    server = RedisServer(tmp_path, "--requirepass", "geheim")
    desk.write("bus.yaml", REDIS_BUS.format(url=server.url.replace("//", "//:geheim@")))
    async with desk.running("run") as run:
        await run.until("waiting for the bus")
        (line,) = run.lines("waiting")
        assert f"127.0.0.1:{server.port}/0 does not answer" in str(line["error"])
        assert "is it up" in str(line["hint"])
        try:
            server.start()
            await run.until('"leading"')
            await desk.create("first")
            await run.until('"name":"first"', out=True)
        finally:
            server.kill()
    assert "geheim" not in run.out + run.err


async def test_who_waits_for_a_redis_goes_when_told(desk: Desk) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url="redis://127.0.0.1:1/0"))
    async with desk.running("run") as run:
        await run.until("waiting for the bus")
        run.process.terminate()
        assert await asyncio.wait_for(run.process.wait(), 5) == 0
    assert "stopped" in run.err
