"""Faults on command: what a client sees of each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.apiserver import WORKFLOWS, WatchRules, path_of, simulator, workflow

PATH = path_of(*WORKFLOWS, "default")
FORBIDDEN = (
    'workflows.argoproj.io is forbidden: User "system:serviceaccount:default:default" cannot list resource "workflows" '
    'in API group "argoproj.io" in the namespace "default"'
)
WATCH = PATH + "?watch=true&allowWatchBookmarks=true"


async def get(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, Any]:
    async with session.get(url, **options) as response:
        return response.status, await response.json()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for 5 s at most."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to be")


async def test_a_stream_is_cut_in_the_middle_of_a_line() -> None:
    async with simulator() as api, aiohttp.ClientSession() as session:
        async with session.get(f"{api.url}{WATCH}&resourceVersion={api.version}") as stream:
            assert api.cut_streams() == 1
            made = await api.create(*WORKFLOWS, "default", workflow("one", text="x" * 500))
            received = b""
            with pytest.raises(aiohttp.ClientPayloadError):
                while True:
                    received += await stream.content.readany()
            assert b"\n" not in received
            assert received.startswith(b'{"type":"ADDED"')
            assert len(received) > 200
            assert made["metadata"]["resourceVersion"].encode() not in received[:100]
        await until(lambda: api.watching == 0)


async def test_a_silent_server_answers_nothing_and_then_goes_on() -> None:
    async with (
        simulator() as api,
        aiohttp.ClientSession(api.url) as session,
        session.get(f"{WATCH}&resourceVersion={api.version}") as stream,
    ):
        api.silence()
        await api.create(*WORKFLOWS, "default", workflow("one"))
        request = asyncio.ensure_future(get(session, PATH))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.content.readline(), 0.1)
        assert not request.done()
        api.silence(False)
        assert json.loads(await stream.content.readline())["type"] == "ADDED"
        assert (await request)[0] == 200


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (401, "Unauthorized", "Unauthorized"),
        (403, "Forbidden", FORBIDDEN),
        (429, "TooManyRequests", "Too many requests, please try again later."),
        (500, "InternalError", "Internal error occurred: the fault was commanded"),
        (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
    ],
)
async def test_the_next_requests_that_match_fail_and_no_others(status: int, reason: str, message: str) -> None:
    async with simulator() as api, aiohttp.ClientSession(api.url) as session:
        api.fail(status, count=2, method="GET", path="/workflows")
        assert (await get(session, "/api/v1/namespaces"))[0] == 200
        for _ in range(2):
            code, body = await get(session, PATH)
            assert (code, body["reason"], body["message"], body["code"]) == (status, reason, message, status)
        assert (await get(session, PATH))[0] == 200


async def test_a_429_says_when_to_come_again() -> None:
    async with simulator() as api, aiohttp.ClientSession(api.url) as session:
        api.fail(429, retry_after=7)
        async with session.get(PATH) as response:
            assert response.headers["Retry-After"] == "7"
        api.faults.clear()
        assert (await get(session, PATH))[0] == 200


async def test_expired_history_is_410_in_the_stream_or_by_http() -> None:
    async with simulator(rules=WatchRules(scale=0.1)) as api, aiohttp.ClientSession(api.url) as session:
        start = api.version
        await api.create(*WORKFLOWS, "default", workflow("one"))
        await api.expire_history()
        async with session.get(f"{WATCH}&resourceVersion={start}") as stream:
            assert stream.status == 200
            line = json.loads(await stream.content.read())
            assert line["object"]["message"] == f"too old resource version: {start} ({api.version})"
        await api.expire_history(http=True)
        code, body = await get(session, f"{WATCH}&resourceVersion={start}")
        assert (code, body["reason"]) == (410, "Expired")
        async with session.get(f"{WATCH}&resourceVersion={api.version}&timeoutSeconds=1") as stream:
            assert await stream.content.read() == b""


async def test_a_window_of_ten_forgets_the_eleventh_change() -> None:
    async with simulator(window=(10, 10)) as api, aiohttp.ClientSession(api.url) as session:
        start = api.version
        for i in range(11):
            await api.create(*WORKFLOWS, "default", workflow(f"w{i}"))
        async with session.get(f"{WATCH}&resourceVersion={start}") as stream:
            assert json.loads(await stream.content.readline())["object"]["code"] == 410
        async with session.get(f"{WATCH}&resourceVersion={start + 1}") as stream:
            assert json.loads(await stream.content.readline())["object"]["metadata"]["name"] == "w1"


async def test_a_restart_ends_streams_cleanly_forgets_history_and_answers_429_for_a_while() -> None:
    async with simulator(initializing=0.2) as api, aiohttp.ClientSession(api.url) as session:
        start = api.version
        await api.create(*WORKFLOWS, "default", workflow("one"))
        async with session.get(f"{WATCH}&resourceVersion={api.version}") as stream:
            await api.restart()
            assert await stream.content.read() == b""
        code, body = await get(session, f"{WATCH}&resourceVersion={api.version}")
        assert (code, body["message"]) == (429, "storage is (re)initializing")
        assert (await get(session, PATH))[1]["items"][0]["metadata"]["name"] == "one"
        await api.faults.initialized()
        async with session.get(f"{WATCH}&resourceVersion={start}") as stream:
            assert json.loads(await stream.content.readline())["object"]["code"] == 410


async def test_nobody_listens_while_connections_are_refused() -> None:
    async with simulator() as api, aiohttp.ClientSession(api.url) as session:
        async with session.get(f"{WATCH}&resourceVersion={api.version}") as stream:
            refused = asyncio.ensure_future(api.refuse(0.2))
            with pytest.raises(aiohttp.ClientError):
                await stream.content.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await get(session, PATH)
            await refused
        assert (await get(session, PATH))[0] == 200


async def test_latency_delays_every_request() -> None:
    async with simulator() as api, aiohttp.ClientSession(api.url) as session:
        api.faults.latency = 0.1
        start = time.monotonic()
        await get(session, PATH)
        assert time.monotonic() - start >= 0.1


async def test_a_token_that_is_taken_away_no_longer_lets_in() -> None:
    async with simulator(tokens=["first"]) as api, aiohttp.ClientSession(api.url) as session:
        assert (await get(session, PATH))[0] == 403  # of nobody
        first = {"Authorization": "Bearer first"}
        assert (await get(session, PATH, headers=first))[0] == 200
        await api.ask("POST", "/_sim/tokens", {"tokens": ["second"]})
        assert (await get(session, PATH, headers=first))[0] == 401
        assert (await get(session, PATH, headers={"Authorization": "Bearer second"}))[0] == 200


async def test_a_client_that_does_not_read_is_disconnected_without_an_error_and_others_are_not() -> None:
    async with simulator(rules=WatchRules(pending=50)) as api:
        slow = await asyncio.open_connection("127.0.0.1", api.simulator.port, limit=1024)
        slow[1].write(f"GET {WATCH}&resourceVersion={api.version} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: api.watching == 1)
        for i in range(300):
            await api.create(*WORKFLOWS, "default", workflow(f"w{i}", pad="x" * 100_000))
        assert api.watching == 1  # it is still being sent what was queued before
        received = await asyncio.wait_for(_read_all(slow[0]), 10)
        assert received.endswith(b"0\r\n\r\n")
        assert b'"ERROR"' not in received
        assert received.count(b'{"type":"ADDED"') < 300
        slow[1].close()
        await slow[1].wait_closed()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        received += await reader.read(1 << 20)
    return received


async def test_expired_events_end_in_an_instant_empty_close() -> None:
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Started"}
    async with simulator(initializing=0.05) as api, aiohttp.ClientSession(api.url) as session:
        start = api.version
        await api.create("", "v1", "events", "default", event)
        path = "/api/v1/events?watch=true&allowWatchBookmarks=true&resourceVersion="
        async with session.get(f"{path}{start}") as stream:
            assert json.loads(await stream.content.readline())["object"]["reason"] == "Started"
        await api.restart()
        await api.faults.initialized()
        async with session.get(f"{path}{start}") as stream:
            assert json.loads(await stream.content.readline())["type"] == "ADDED"
        await api.expire_history()
        async with session.get(f"{path}{start}") as stream:
            assert (stream.status, await stream.content.read()) == (200, b"")


async def test_the_admin_endpoints_command_faults_of_another_process_and_tell_the_ledger() -> None:
    async with simulator(initializing=0) as api, aiohttp.ClientSession(api.url) as session:
        start = api.version
        await api.create(*WORKFLOWS, "default", workflow("one", labels={"a": "b"}))
        log = await api.ask("GET", "/_sim/log", since=start, resource="workflows")
        assert [(e["type"], e["name"], e["namespace"], e["labels"], e["rv"]) for e in log] == [
            ("ADDED", "one", "default", {"a": "b"}, str(start + 1))
        ]
        await api.ask("POST", "/_sim/fail", {"status": 503, "count": 1, "path": "workflows"})
        assert (await get(session, PATH))[0] == 503
        async with session.get(f"{WATCH}&resourceVersion={start + 1}"):
            assert await api.ask("POST", "/_sim/cut", {"mid_line": False}) == {"streams": 1}
        await api.ask("POST", "/_sim/restart", {"seconds": 0})
        await until(lambda: api.simulator.starts == 2)
        assert (await api.ask("GET", "/_sim/state"))["starts"] == 2
