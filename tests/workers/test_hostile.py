"""Whatever text is in an event, it is settled, and it holds up the event loop for a few milliseconds at most."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from kubecdc.cli.logs import event_lines
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import build
from kubecdc.workers.triggers.contract import Context
from tests.harness.heartbeat import heartbeat
from tests.watcher.test_change import READABLE
from tests.workers.raw_peer import raw_peer, says
from tests.workers.support import (
    MemoryDelivery,
    MemorySubscription,
    event,
    http_trigger,
    log_trigger,
    route,
    sensor,
    settings,
)

pytestmark = pytest.mark.usefixtures("as_in_a_process")
FEW_MILLISECONDS = 0.1  # seconds of CPU: ten times what they take, and less than any of them took before
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LARGE = 200_000  # elements, 1.6 MB
DEEP = READABLE - 50


def of(data: object) -> Event:
    """An event with ``v`` in its data: JSON text as bytes, or a value."""
    text = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return msgspec.structs.replace(event(), data=msgspec.Raw(b'{"t":"ADD","v":' + text + b"}"))


def taken(dest: str, key: str = "v", *, raw: bool = False, **more: str) -> dict[str, Any]:
    return {"src": {"dependencyName": "dep", "dataKey": key, "useRawData": raw}, "dest": dest, **more}


async def settled(trigger: dict[str, Any], about: Event, **given: Any) -> tuple[MemoryDelivery, float]:
    """What became of the event, and the longest turn of the loop meanwhile."""
    subscription, stop = MemorySubscription(), asyncio.Event()
    made = build(sensor(trigger).spec.triggers[0], Context("s", 4, **given))
    task = asyncio.create_task(consume(subscription, route(made, trigger), settings(), stop=stop))
    body = about.encode()
    async with heartbeat() as beat, asyncio.timeout(60):
        delivery = subscription.give(body)
        await delivery.settled.wait()
    stop.set()
    await task
    await made.close()
    return delivery, beat.longest


URLS = {
    "no address": "a" * 200_000,
    "long": "http://127.0.0.1/" + "a" * 3_000_000,
    "users": "http://" + "@" * 200_000,
    "colons": "http://h" + ":" * 200_000,
    "letters": "http://" + "é" * 200_000 + "/",
    "labels": "http://" + "é." * 100_000 + "/",
    "joiners": "http://" + "\u0915\u094d\u200d" * 60_000 + "/",
    "ligatures": "http://h" + "\ufdfa" * 100_000 + "/",
    "labels of ligatures": "http://" + ("\ufdfa" * 60 + ".") * 4 + "x/",
    "dots": "http://127.0.0.1/" + "a/../" * 40_000,
    "blanks": "http://h/" + " " * 200_000 + "x",
    "brackets": "http://" + "[" * 200_000 + "/",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_a_url(url: str) -> None:
    delivery, longest = await settled(http_trigger("http://x/", {"parameters": [taken("url")]}), of(url))
    assert delivery.last == "dead_letter"
    assert "is not an HTTP address" in delivery.reason
    assert longest < FEW_MILLISECONDS


HTTP = {
    "a long host": (of("h" * 200_000), {"parameters": [taken("host")]}, "dead_letter"),
    "a host of 253 characters": (of("h" * 253), {"parameters": [taken("host")]}, "ack"),
    "a timeout of 30 digits": (of(b"9" * 30), {"parameters": [taken("timeout", raw=True)]}, "dead_letter"),
    "a host that is none": (of("h h" * 70_000), {"parameters": [taken("host")]}, "dead_letter"),
    "a long header": (of("é" * 100_000), {"dynamicHeaders": [taken("X-A")]}, "ack"),
    "a header that is too long": (of("x" * 3_000_000), {"dynamicHeaders": [taken("X-A")]}, "dead_letter"),
    "many headers": (of({f"x-{n}": "y" for n in range(900)}), {"parameters": [taken("headers", raw=True)]}, "ack"),
    "too many headers": (
        of({f"x-{n}": "y" for n in range(50_000)}), {"parameters": [taken("headers", raw=True)]}, "dead_letter",
    ),
    "headers that are numbers": (
        of({f"x-{n}": n for n in range(50_000)}), {"parameters": [taken("headers", raw=True)]}, "dead_letter",
    ),
    "a long name of a Secret": (
        of("a-" * 100_000 + "!"),
        {
            "secureHeaders": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "parameters": [taken("secureHeaders.0.valueFrom.secretKeyRef.name")],
        },
        "dead_letter",
    ),
    "each element is read": (of([{"a": 1}] * LARGE), {"payload": [taken("o", "v.#.a", raw=True)]}, "ack"),
    "elements are selected": (of([{"a": 1}] * LARGE), {"payload": [taken("o", "v.#(a=2)#", raw=True)]}, "ack"),
    "elements are matched": (of(["a" * 20] * LARGE), {"payload": [taken("o", 'v.#(%"*a*a*a*b")#', raw=True)]}, "ack"),
    "each element is written": (
        of([{"a": 1}] * LARGE), {"payload": [taken("o", raw=True), taken("o.#.a", "t")]}, "ack",
    ),
    "each element of a small event is written": (
        of([{"a": 1}] * 7_000), {"payload": [taken("o", raw=True), taken("o.#.a", "t")]}, "ack",
    ),
    "elements of a small event are grouped": (
        of({"long": [0] * 10_000, **{f"k{n}": [] for n in range(3_000)}}),
        {"payload": [taken("o", "v.@group", raw=True)]}, "ack",
    ),
    "elements are grouped": (
        of({"long": [0] * 100_000, **{f"k{n}": [] for n in range(20_000)}}),
        {"payload": [taken("o", "v.@group", raw=True)]}, "ack",
    ),
    "text of a large value": (of([{"a": 1}] * LARGE), {"payload": [taken("o")]}, "ack"),
    "JSON in a text": (of("[" * 300_000), {"payload": [taken("o", "v.@fromstr")]}, "dead_letter"),
    "the whole event": (of([{}] * LARGE), {"payload": [{"src": {"dependencyName": "dep"}, "dest": ""}]}, "ack"),
    "as it is": (of([{}] * LARGE), {}, "ack"),
    "deep": (of(b'{"a":' * DEEP + b"1" + b"}" * DEEP), {"payload": [taken("o", raw=True)]}, "ack"),
    "deep, as text": (of(b'{"a":' * DEEP + b"1" + b"}" * DEEP), {"payload": [taken("o")]}, "ack"),
    "deep, flattened": (
        of(b"[" * DEEP + b"1" + b"]" * DEEP), {"payload": [taken("o", 'v.@flatten:{"deep":true}', raw=True)]}, "ack",
    ),
    "deep, searched": (of(b"[" * DEEP + b'{"b":1}' + b"]" * DEEP), {"payload": [taken("o", "v.@dig:b")]}, "ack"),
    "deep, of which each level is found": (
        of(b'{"a":' * DEEP + b"1" + b"}" * DEEP), {"payload": [taken("o", "v.@dig:a", raw=True)]}, "dead_letter",
    ),
    "a number of 200,000 digits": (of(b"9" * 200_000), {"payload": [taken("o")]}, "dead_letter"),
    "numbers of 4,000 digits": (of(b"[" + b",".join([b"9" * 4000] * 500) + b"]"), {"payload": [taken("o")]}, "ack"),
    "a number beyond all": (of(b"1e999"), {"payload": [taken("o")]}, "dead_letter"),
}  # fmt: skip


@pytest.mark.parametrize("name", HTTP)
async def test_what_a_request_takes_from_it(name: str) -> None:
    about, http, end = HTTP[name]
    async with raw_peer(says(OK)) as peer:
        delivery, longest = await settled(http_trigger(peer.url, http), about)
    assert delivery.last == end, delivery.reason
    assert longest < FEW_MILLISECONDS


LOGGED = {
    "large": of([{}] * LARGE),
    "many lines": of(b"[\n" + b"1,\n" * LARGE + b"1]"),
    "deep": of(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "long": of("x" * 3_000_000),
}


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", LOGGED)
async def test_a_line_of_the_log(name: str, log_format: str, capfd: pytest.CaptureFixture[str]) -> None:
    delivery, longest = await settled(log_trigger(), LOGGED[name], render=event_lines(log_format))
    assert delivery.last == "ack"
    assert longest < FEW_MILLISECONDS


QUERIES = {
    "many values": "&".join(f"={n:04}" for n in range(2700)),
    "one value": "a=" + "x" * 16_000,
    "escapes": "a=" + "%41" * 5_000,
    "names": "&".join(["aaaa"] * 3_000),
    "as many as are looked for": "&".join(f"k{n}=value{n}" for n in range(25)),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_that_the_answer_may_repeat(query: str) -> None:
    said = f"{query} and more".encode() + b"\xff" * 40_000
    answer = b"HTTP/1.1 400 %b\r\nContent-Length: %d\r\n\r\n%b" % (query.encode(), len(said), said)
    async with raw_peer(says(answer)) as peer:
        http = {"parameters": [taken("url", operation="append")]}
        delivery, longest = await settled(http_trigger(f"{peer.url}/?", http), of(query))
    assert delivery.reason.startswith(f"POST {peer.url}/: 400 ***: ***")
    assert query[:50] not in delivery.reason
    assert longest < FEW_MILLISECONDS


async def test_a_reason_names_what_cannot_be_read() -> None:
    delivery, _ = await settled(http_trigger("http://x/", {"payload": [taken("o")]}), of(b"1e999"))
    assert delivery.reason == "the event's data cannot be read: Number out of range - at `$[...]`"


ANSWERS = {
    "many headers": b"HTTP/1.1 200 OK\r\n"
    + b"".join(b"X-%d: y\r\n" % n for n in range(4000))
    + b"Content-Length: 0\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
    "many cookies": b"HTTP/1.1 503 X\r\n" + b"Set-Cookie: a=b; c=d; e\r\n" * 4000 + b"Content-Length: 0\r\n\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 250_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 8_000_000,
    "an endless phrase": b"HTTP/1.1 200 " + b"y" * 8_000_000,
    "many answers before the answer": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + OK,
    "many answers": OK * 20_000,
    "a body": b"HTTP/1.1 400 X\r\nContent-Length: 8000000\r\n\r\n" + b"\xff" * 8_000_000,
    "small chunks": b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n\xfc\r\n" * 100_000 + b"0\r\n\r\n",
    "a long Retry-After": b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: " + b"1 Jan " * 40_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer(answer: bytes) -> None:
    async with raw_peer(says(answer)) as peer:
        delivery, longest = await settled(http_trigger(peer.url, {"timeout": 5}), of(1))
    assert delivery.settled.is_set()
    assert longest < FEW_MILLISECONDS
