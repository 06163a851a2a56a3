"""Watcher and worker as processes of their own, on a bus in Redis."""

from __future__ import annotations

import signal

from storage.testing.actors import until
from tests.cli.rig import REDIS_BUS, Desk


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


async def test_the_password_of_a_redis_is_told_to_nobody(desk: Desk) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url="redis://user:geheim@127.0.0.1:1/0"))
    done = await desk.call("run")
    assert done.code == 1
    assert "127.0.0.1:1" in done.err
    assert "geheim" not in done.out + done.err
