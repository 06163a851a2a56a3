"""SIGTERM ends a process within five seconds, in a table of what hangs: on both kinds of bus, on both event loops.

Asserted of each process: the other trigger of its Sensor was not delayed, it ended with 0, and within 5 s from the
signal, not counting the time for which its threads could have run and had no CPU; in no case later than after 10 s.
A test runs all hangs of its combination at the same time. Those on uvloop are PID 1, as in a container, if permitted.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import simulator
from tests.cli.scene import Scene, full_pipe, slow_names
from tests.cli.started import LOOPS, as_pid_1
from tests.harness.other_program import locked
from tests.harness.proxy import Proxy
from tests.ports import free_port
from tests.storage.redis_server import RedisServer
from tests.workers.peer import saying, serving

pytestmark = pytest.mark.long
STARTING = 5  # processes at a time
EXPIRED = "x.eyJleHAiOjF9.x"  # its claims: {"exp":1}
PLUGIN = """
import pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "20"])  # it keeps the pipes open when the plugin is gone
pathlib.Path(sys.argv[1]).touch()
child.wait()
"""
Hang = Callable[[Scene], Awaitable[None]]


async def receiver(scene: Scene, *, scheme: str = "http", greeting: bytes = b"") -> None:
    server = await scene.silent(greeting)
    scene.triggers["hangs"] = {"http": {"url": f"{scheme}://127.0.0.1:{server.port}/"}}
    await scene.owe()
    scene.start("work")
    await server.reached()
    await scene.healthy()


async def a_receiver_that_never_answers(scene: Scene) -> None:
    await receiver(scene)


async def a_receiver_that_never_shakes_hands(scene: Scene) -> None:
    await receiver(scene, scheme="https")


async def an_answer_whose_head_has_no_end(scene: Scene) -> None:
    await receiver(scene, greeting=b"HTTP/1.1 200 OK\r\nX: ")


async def an_answer_whose_body_has_no_end(scene: Scene) -> None:
    await receiver(scene, greeting=b"HTTP/1.1 503 Wait\r\nContent-Length: 9\r\n\r\n.")


async def a_receiver_whose_name_takes_long(scene: Scene) -> None:
    scene.triggers["hangs"] = {"http": {"url": "http://slow.example/"}}
    await scene.owe()
    scene.start("work", env=scene.preloaded)
    await scene.asked()
    await scene.healthy()


async def a_retry_that_is_due_in_an_hour(scene: Scene) -> None:
    refusing = await scene.stack.enter_async_context(serving(saying(503)))
    retries = {"steps": 3, "duration": "1h"}
    scene.triggers["hangs"] = {"http": {"url": refusing.url}, "retryStrategy": retries}
    await scene.owe()
    scene.start("work")
    await scene.until(lambda: refusing.received, "a request")
    await scene.healthy()


async def nobody_reads_stdout(scene: Scene) -> None:
    scene.triggers["hangs"] = {"log": {}}
    await scene.owe()
    scene.start("work", stdout=full_pipe(scene.stack))
    await scene.healthy()


async def nobody_reads_stderr(scene: Scene) -> None:
    await scene.owe()
    scene.start("work", stderr=full_pipe(scene.stack))
    await scene.healthy()


async def a_client_of_the_metrics_that_asks_nothing(scene: Scene) -> None:
    port = free_port()
    await scene.owe()
    scene.start("work", "--metrics-bind-address", f"127.0.0.1:{port}")
    await scene.healthy()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    scene.stack.callback(writer.close)
    writer.write(b"GET /metrics HTTP/1.1\r\n")


async def a_bus_that_is_silent_at_the_start(scene: Scene) -> None:
    if scene.redis:
        server = await scene.silent()
        scene.start("work", url=f"redis://127.0.0.1:{server.port}/0")
        await server.reached()
    else:
        await scene.owe()
        scene.stack.enter_context(locked(scene.file))
        scene.start("work")
        await scene.started.until("waiting for the bus")


async def a_bus_that_falls_silent_with_work_in_flight(scene: Scene) -> None:
    server = await scene.silent()
    scene.triggers["hangs"] = {"http": {"url": f"http://127.0.0.1:{server.port}/"}}
    await scene.owe()
    if scene.redis:
        proxy = await scene.stack.enter_async_context(Proxy(int(scene.redis.rpartition(":")[2].partition("/")[0])))
        scene.start("work", url=scene.redis.replace(str(proxy.server_port), str(proxy.port)))
    else:
        scene.start("work")
    await server.reached()
    await scene.healthy()
    if scene.redis:
        await scene.stack.enter_async_context(proxy.hanging())
    else:
        scene.stack.enter_context(locked(scene.file))


async def a_redis_whose_name_takes_long(scene: Scene) -> None:
    scene.start("work", url="redis://slow.example:6379/0", env=scene.preloaded)
    await scene.asked()


async def api_server(scene: Scene, server: str, user: dict[str, Any], reached: Awaitable[None], **more: Any) -> None:
    await scene.owe()
    scene.start_with_cluster(server, user, **more)
    await reached
    await scene.healthy()


TOKEN = {"token": "x"}


async def an_api_server_that_is_silent(scene: Scene) -> None:
    api = await scene.silent()
    await api_server(scene, f"http://127.0.0.1:{api.port}", TOKEN, api.reached())


async def an_api_server_that_never_shakes_hands(scene: Scene) -> None:
    api = await scene.silent()
    await api_server(scene, f"https://127.0.0.1:{api.port}", TOKEN, api.reached())


async def an_api_server_whose_name_takes_long(scene: Scene) -> None:
    await api_server(scene, "http://slow.example", TOKEN, scene.asked(), env=scene.preloaded)


async def a_proxy_that_is_silent(scene: Scene) -> None:
    proxy = await scene.silent()
    cluster = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
    await api_server(scene, "https://api.example", TOKEN, proxy.reached(), cluster=cluster)


async def a_socks_proxy_that_is_silent(scene: Scene) -> None:
    proxy = await scene.silent()
    cluster = {"proxy-url": f"socks5://127.0.0.1:{proxy.port}"}
    await api_server(scene, "https://api.example", TOKEN, proxy.reached(), cluster=cluster)


async def a_plugin_that_gives_no_credentials(scene: Scene) -> None:
    begun = scene.folder / "begun"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", PLUGIN, str(begun)],
        "interactiveMode": "Never",
    }
    running = scene.until(begun.exists, "the plugin")
    await api_server(scene, "http://127.0.0.1:1", {"exec": plugin}, running)


async def an_issuer_of_tokens_that_is_silent(scene: Scene) -> None:
    issuer = await scene.silent()
    config = {
        "idp-issuer-url": f"https://127.0.0.1:{issuer.port}",
        "client-id": "x",
        "id-token": EXPIRED,
        "refresh-token": "x",
    }
    user = {"auth-provider": {"name": "oidc", "config": config}}
    await api_server(scene, "http://127.0.0.1:1", user, issuer.reached())


async def an_api_server_that_falls_silent_under_the_leader(scene: Scene) -> None:
    api = await scene.stack.enter_async_context(simulator())
    proxy = await scene.stack.enter_async_context(Proxy(int(api.url.rpartition(":")[2])))
    await scene.owe()
    scene.start_with_cluster(f"http://127.0.0.1:{proxy.port}", TOKEN, args=("--leader-election",))
    await scene.started.until('"lease taken"')
    await scene.healthy()
    await scene.stack.enter_async_context(proxy.hanging())


ON_BOTH: tuple[Hang, ...] = (
    a_receiver_that_never_answers,
    a_receiver_that_never_shakes_hands,
    an_answer_whose_head_has_no_end,
    an_answer_whose_body_has_no_end,
    a_receiver_whose_name_takes_long,
    a_retry_that_is_due_in_an_hour,
    nobody_reads_stdout,
    nobody_reads_stderr,
    a_client_of_the_metrics_that_asks_nothing,
    a_bus_that_is_silent_at_the_start,
    a_bus_that_falls_silent_with_work_in_flight,
    an_api_server_that_is_silent,
    an_api_server_that_never_shakes_hands,
    an_api_server_whose_name_takes_long,
    a_proxy_that_is_silent,
    a_socks_proxy_that_is_silent,
    a_plugin_that_gives_no_credentials,
    an_issuer_of_tokens_that_is_silent,
    an_api_server_that_falls_silent_under_the_leader,
)
HANGS = {"sqlite": ON_BOTH, "redis": (*ON_BOTH, a_redis_whose_name_takes_long)}


@pytest.mark.timeout(300)  # twenty processes, on a machine that may be busy
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("bus", HANGS)
async def test_sigterm_ends_it_within_five_seconds_whatever_hangs(
    bus: str, loop: str, tmp_path: Path, shared_redis: RedisServer
) -> None:
    library = slow_names(tmp_path)
    prefix = as_pid_1() if loop == "uvloop" else ()
    starting = asyncio.Semaphore(STARTING)

    async def end_of(hang: Hang) -> None:
        async with AsyncExitStack() as stack:
            url = shared_redis.database(3) if bus == "redis" else ""
            name = hang.__name__.replace("_", "-")
            scene = Scene(f"{name}-{loop}", tmp_path / name, loop, url, healthy, library, stack, prefix)
            async with starting:
                await hang(scene)
            await scene.started.caught()
            scene.require_running()
            scene.started.term()
            assert await scene.started.end() == 0

    async with serving(saying(200)) as healthy:
        ends = await asyncio.gather(*(end_of(hang) for hang in HANGS[bus]), return_exceptions=True)
    failed = {hang.__name__: end for hang, end in zip(HANGS[bus], ends, strict=True) if end is not None}
    assert not failed, "\n\n".join(f"{name}: {type(end).__name__}: {end}" for name, end in failed.items())


@pytest.mark.parametrize("loop", LOOPS)
async def test_sigterm_at_the_first_moment_ends_it(loop: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, serving(saying(200)) as healthy:
        for number in range(6):
            scene = Scene(f"s{number}", tmp_path / str(number), loop, "", healthy, tmp_path, stack)
            scene.start("work")
            await asyncio.sleep(number * 0.1)  # some of them before, some after it has handlers and a loop
            scene.started.term()
            assert await scene.started.end() in {0, -signal.SIGTERM}
