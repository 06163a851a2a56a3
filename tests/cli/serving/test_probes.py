"""The probes as the kubelet sees them: an outage makes a process not ready, and only a loop that hangs not alive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.rig import REDIS_BUS, Desk
from tests.cli.serving.asking import ask, until_answered
from tests.cli.started import Started
from tests.harness.proxy import Proxy
from tests.ports import free_port

PROGRAM = """
import signal, time
from kubecdc.cli import ending
from kubecdc.cli.serving import bus_probe, health
bus_probe.BusProbe.watch.__kwdefaults__.update(period=0.2, most=1.0)
health.Health.__init__.__kwdefaults__["hang"] = 5.0
listen = ending.Stop.listen
def then(stop):
    listen(stop)
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))  # in the thread of the event loop
ending.Stop.listen = then
from kubecdc.cli.main import main
main()
"""


class Pod:
    """One process and the port of its probes."""

    def __init__(self, desk: Desk, name: str, command: str, *args: str) -> None:
        self.port = free_port()
        given = ["-f", str(desk.manifests), "--health-bind-address", f"127.0.0.1:{self.port}", "--log-format", "json"]
        more = {"KUBECONFIG": str(desk.kubeconfig)}
        self.started = Started(desk.folder / name, command, *given, *args, program=PROGRAM, env=more)

    async def until(self, path: str, status: int) -> str:
        return await until_answered(self.port, path, status, alive=self._alive)

    async def keeps_alive(self) -> None:
        for path in ("/livez", "/startupz"):
            status, text = await asyncio.to_thread(ask, self.port, path)
            assert status == 200, text
        self._alive()

    def _alive(self) -> None:
        assert self.started.process.poll() is None, self.started.err


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.mark.long
async def test_an_outage_makes_a_process_not_ready_and_a_hanging_loop_not_alive(
    desk: Desk, proxy: Proxy, redis_url: str
) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url=redis_url.replace(str(proxy.server_port), str(proxy.port))))
    async with AsyncExitStack() as stack:
        pods = {}
        for name, command in {"leader": "watch", "standby": "watch", "worker": "work"}.items():
            pods[name] = Pod(desk, name, command)
            stack.callback(pods[name].started.kill)
            await pods[name].until("/readyz", 200)
        assert "standing by" in pods["standby"].started.err

        async with proxy.hanging():
            for pod in pods.values():
                assert "[-]bus default: " in await pod.until("/readyz", 503)
                await pod.keeps_alive()
        for pod in pods.values():
            await pod.until("/readyz", 200)

        desk.api.fail(503, path=".*")
        for name in ("leader", "standby"):
            assert "[-]API server: " in await pods[name].until("/readyz", 503)
        for pod in pods.values():
            await pod.keeps_alive()
        assert (await asyncio.to_thread(ask, pods["worker"].port, "/readyz"))[0] == 200
        desk.api.faults.failures.clear()
        for pod in pods.values():
            await pod.until("/readyz", 200)

        os.kill(pods["worker"].started.pid, signal.SIGUSR1)
        assert "it has not run for" in await pods["worker"].until("/livez", 503)
        await pods["worker"].until("/readyz", 503)


async def test_a_process_whose_bus_is_away_at_its_start_has_started_and_is_not_ready(
    desk: Desk, tmp_path: Path
) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url="redis://127.0.0.1:1/0"))
    pod = Pod(desk, "worker", "work")
    try:
        await pod.until("/startupz", 200)
        assert "[-]bus default: it is not open yet" in await pod.until("/readyz", 503)
        await pod.keeps_alive()
        pod.started.term()
        assert await pod.started.end() == 0
    finally:
        pod.started.kill()
