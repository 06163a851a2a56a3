"""The http trigger against real servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.route import build
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.http.answer import judge, retry_after
from kubecdc.workers.triggers.http.trigger import ANSWER_BYTES, HttpTrigger
from tests.workers.peer import saying, serving
from tests.workers.support import event, http_trigger, route, sensor

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def trigger(**given: Any) -> AsyncIterator[HttpTrigger]:
    made = HttpTrigger(now=lambda: NOW, **given)
    yield made
    await made.close()


async def send(url: str, http: Mapping[str, Any] | None = None, about: Event | None = None, **given: Any) -> Outcome:
    async with trigger(**given) as made:
        return await made.execute(route(made, http_trigger(url, http)).request(about or event()))


RETRIED = [404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 507, 599]
FAILED = [300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 405, 406, 410, 411, 412, 413, 414, 415, 418, 422, 451]


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 205, 206, 226, *RETRIED, *FAILED])
async def test_the_status_decides(status: int) -> None:
    async with serving(saying(status)) as peer:
        outcome = await send(peer.url)
    expected = Retry if status in RETRIED else Failure if status in FAILED else Success
    assert isinstance(outcome, expected)
    assert len(peer.received) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, Success), (404, Success), (302, Success), (201, Retry), (204, Retry), (503, Retry), (409, Retry),
     (400, Failure), (301, Failure)],
)  # fmt: skip
def test_with_a_policy_exactly_its_statuses_are_success(status: int, expected: type) -> None:
    assert isinstance(judge(status, None, (200, 404, 302), "no"), expected)


async def test_the_policy_of_the_manifest_is_used() -> None:
    manifest = sensor(http_trigger("http://x", policy={"status": {"allow": [418]}})).spec.triggers[0]
    made = build(manifest, Context("s", 1))
    async with serving(saying(418)) as peer:
        assert await made.execute(route(made, http_trigger(peer.url)).request(event())) == Success()
    await made.close()


async def test_the_request_carries_the_event() -> None:
    about = event(traceparent="00-aa-bb-01", synthetic=True, redelivery="redrive", timeline=2, key='wörk flows/%"é')
    async with serving(saying(200)) as peer:
        await send(f"{peer.url}/hook?a=b", about=about)
    [got] = peer.received
    assert (got.method, got.path, got.body) == ("POST", "/hook?a=b", bytes(about.data))
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("kubecdc/")
    assert got.headers["traceparent"] == "00-aa-bb-01"
    assert unquote(got.headers["idempotency-key"]) == f"workflows/{about.id}/s/t"
    assert unquote(got.headers["ce-partitionkey"]) == about.partitionkey
    assert got.headers["ce-partitionkey"] == "w%C3%B6rk%20flows/%25%22%C3%A9"
    attributes = {k: unquote(v) for k, v in got.headers.items() if k.startswith("ce-")}
    assert attributes == {
        "ce-specversion": "1.0",
        "ce-id": about.id,
        "ce-source": "workflows",
        "ce-type": "resource",
        "ce-subject": "changed",
        "ce-time": about.time,
        "ce-partitionkey": about.partitionkey,
        "ce-sequence": about.sequence,
        "ce-epoch": "1",
        "ce-timeline": "2",
        "ce-synthetic": "true",
        "ce-redelivery": "redrive",
        "ce-traceparent": "00-aa-bb-01",
    }


async def test_the_name_of_the_cluster_comes_first_in_the_key() -> None:
    about = event(cluster="prod/eu")
    async with serving(saying(200)) as peer:
        await send(peer.url, about=about)
    [got] = peer.received
    assert unquote(got.headers["ce-cluster"]) == "prod/eu"
    assert unquote(got.headers["idempotency-key"]) == f"prod/eu/workflows/{about.id}/s/t"


async def test_headers_of_the_manifest_win_except_those_that_name_the_event() -> None:
    headers = {
        "content-type": "text/plain", "User-Agent": "mine", "X-Mine": "1", "idempotency-key": "x", "CE-ID": "x",
        "Content-Length": "3", "ce-extra": "x",
    }  # fmt: skip
    about = event()
    async with serving(saying(200)) as peer:
        await send(peer.url, {"headers": headers}, about)
    [got] = peer.received
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("text/plain", "mine")
    assert got.headers["x-mine"] == "1"
    assert got.headers["idempotency-key"] == f"workflows/{about.id}/s/t"
    assert got.headers["ce-id"] == about.id
    assert got.body == bytes(about.data)
    assert "ce-extra" not in got.headers


PAYLOAD = [{"src": {"dependencyName": "dep", "dataKey": "body.metadata.name"}, "dest": "name"}]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
async def test_every_method_sends_its_payload(method: str) -> None:
    async with serving(saying(200)) as peer:
        assert await send(peer.url, {"method": method, "payload": PAYLOAD}) == Success()
    [got] = peer.received
    assert (got.method, got.body) == (method, b'{"name":"w1"}')


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_have_no_body_without_a_payload(method: str) -> None:
    async with serving(saying(200)) as peer:
        await send(peer.url, {"method": method})
    assert peer.received[0].body == b""


async def test_parameters_rewrite_url_headers_and_method() -> None:
    def parameter(key: str, dest: str, operation: str = "") -> dict[str, Any]:
        return {"src": {"dependencyName": "dep", "dataKey": key}, "dest": dest, "operation": operation}

    parameters = [parameter("body.metadata.name", "url", "append"), parameter("type", "headers.X-Type")]
    async with serving(saying(200)) as peer:
        http = {"headers": {"X-Type": "?"}, "parameters": parameters}
        await send(f"{peer.url}/", http)
    assert (peer.received[0].path, peer.received[0].headers["x-type"]) == ("/w1", "ADD")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("99999999", 3600.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("status", [429, 503, 404])
async def test_retry_after_is_honoured_on_every_answer_that_is_retried(status: int) -> None:
    async with serving(saying(status, Retry_After="7")) as peer:
        outcome = await send(peer.url)
    assert isinstance(outcome, Retry)
    assert outcome.after == 7.0


async def test_redirects_are_not_followed() -> None:
    async with serving(saying(307, Location="/elsewhere")) as peer:
        outcome = await send(peer.url)
    assert isinstance(outcome, Failure)
    assert [r.path for r in peer.received] == ["/"]


async def test_cookies_are_not_kept() -> None:
    async with serving(saying(200, Set_Cookie="a=b")) as peer, trigger() as made:
        request = route(made, http_trigger(peer.url)).request(event())
        for _ in range(2):
            await made.execute(request)
    assert all("cookie" not in r.headers for r in peer.received)


async def test_the_reason_shows_the_status_and_the_answer_but_no_secret() -> None:
    async with serving(saying(400, "no such thing " * 100)) as peer:
        url = peer.url.replace("http://", "http://user:secret@") + "/hook?token=secret#secret"
        outcome = await send(url)
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(f"POST {peer.url}/hook: 400 Bad Request: no such thing")
    assert "secret" not in outcome.reason
    assert len(outcome.reason) < 300


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/", "http://", "http://[::1", "http://host:99999/", "//host/"])
async def test_a_url_that_cannot_be_called_is_a_failure(url: str) -> None:
    assert isinstance(await send(url), Failure)


async def test_nobody_listening_is_retried() -> None:
    async with serving(saying(200)) as peer:
        pass
    outcome = await send(peer.url)
    assert isinstance(outcome, Retry)


async def test_an_unknown_host_is_retried() -> None:
    assert isinstance(await send("http://does-not-exist.invalid/"), Retry)


async def test_the_timeout_of_the_manifest_is_the_deadline() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as peer:
        outcome = await send(peer.url, {"timeout": 1})
    assert outcome == Retry(f"POST {peer.url}: no answer within 1 s")


@asynccontextmanager
async def raw(answer: bytes, *, close: bool = True) -> AsyncIterator[str]:
    """A server that says these bytes after the request's headers, whatever they mean."""
    done = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not close:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        done.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200", b"nonsense\r\n\r\n", b"HTTP/1.1 2xx OK\r\n\r\n"]
)
async def test_a_peer_that_does_not_speak_http_to_the_end_is_retried(answer: bytes) -> None:
    async with raw(answer) as url:
        assert isinstance(await send(url), Retry)


async def test_101_is_a_failure() -> None:
    async with raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n") as url:
        assert isinstance(await send(url), Failure)


async def test_a_status_counts_though_the_body_is_cut_off() -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart") as url:
        assert await send(url) == Success()


async def test_a_status_counts_though_the_body_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubecdc.workers.triggers.http.trigger.ANSWER_SECONDS", 0.05)
    async with raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\npart", close=False) as url:
        outcome = await send(url)
    assert isinstance(outcome, Failure)
    assert outcome.reason.endswith("400 Bad Request: part")


async def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in itertools.count():
            await answer.write(b"x" * 4096)
            sent += 4096
        return answer

    async with serving(endless) as peer:
        assert await send(peer.url) == Success()
    assert sent < 100 * ANSWER_BYTES


async def test_a_thousand_answers_with_bodies_use_no_more_connections_than_run_at_once() -> None:
    async with serving(saying(200, "x" * 10_000)) as peer, trigger(concurrency=8) as made:
        request = route(made, http_trigger(peer.url)).request(event())

        async def some() -> None:
            for _ in range(125):
                assert await made.execute(request) == Success()

        await asyncio.gather(*(some() for _ in range(8)))
        assert len(peer.received) == 1000
        assert len(peer.connections) <= 8


async def test_the_idempotency_key_is_the_same_over_retries() -> None:
    async with serving(saying(503)) as peer, trigger() as made:
        ready = route(made, http_trigger(peer.url))
        for _ in range(3):
            await made.execute(ready.request(event()))
        await made.execute(ready.request(event(2)))
    keys = [r.headers["idempotency-key"] for r in peer.received]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
