"""Whatever bytes a peer sends, an event is settled once, for the true reason, in few printable words."""

from __future__ import annotations

import asyncio

import pytest

from kubecdc.reasons import LONGEST_REASON
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.triggers.http.trigger import SHOWN_CHARACTERS
from tests.workers.raw_peer import Asked, raw_peer, says
from tests.workers.support import event, http_trigger, route
from tests.workers.test_http import send, trigger

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"


def head(status: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("400 Ungültige Anfrage".encode("latin-1"), "400 Ungültige Anfrage"),
        ("400 Ungültige Anfrage".encode(), "400 Ungültige Anfrage"),
        ("400 無効".encode("shift-jis"), "400 \x96³\x8cø".replace("\x96", " ").replace("\x8c", " ")),
        (b"400 a\x1b[31mb\xe2\x80\xaec", "400 a [31mb c"),
        (b"400", "400"),
        (b"400 " + b"x" * 60_000, "400 " + "x" * SHOWN_CHARACTERS),
    ],
)
async def test_the_reason_phrase_is_shown_as_text(answer: bytes, expected: str) -> None:
    async with raw_peer(says(head(answer))) as peer:
        outcome = await send(peer.url)
    assert outcome == Failure(f"POST {peer.url}: {expected}")


@pytest.mark.parametrize(
    "body", [b"\xff" * 60_000, "nein\x00\x1b".encode("utf-16"), b"\xed\xa0\x80", b"a\r\nb" * 50_000]
)
async def test_any_body_is_shown_as_text(body: bytes) -> None:
    async with raw_peer(says(head(b"503 Away", body=body))) as peer:
        outcome = await send(peer.url)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"POST {peer.url}: 503 Away: ")
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < LONGEST_REASON


@pytest.mark.parametrize(
    "answer",
    [
        head(b"200 OK", b"X-Large: " + b"y" * 64 * 1024),
        head(b"200 OK", *(b"X-%d: %b" % (n, b"y" * 56) for n in range(1000))),
        head(b"200 OK", b"Set-Cookie: a=\xff", b"X-Latin: \xfc\xff", b"Content-Type: text/plain; charset=\xff"),
        head(b"200 " + b"z" * 64 * 1024),
        head(b"200 OK", b"Content-Encoding: gzip", body=b"not gzip"),
        head(b"200 OK", b"Retry-After: " + b"9" * 8000),
    ],
    ids=["one large header", "1,000 headers", "not UTF-8", "long phrase", "not gzip", "Retry-After"],
)
async def test_a_success_is_one_whatever_its_head_has(answer: bytes) -> None:
    async with raw_peer(says(answer)) as peer:
        assert await send(peer.url) == Success()


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n", "Invalid character in Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Duplicate Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX Y: z\r\n\r\n", "Invalid header token"),
        (head(b"200 OK", b"X: " + b"y" * (1 << 20)), "its head has more than 262144 bytes"),
        (head(b"200 OK", *(b"X-%d: %b" % (n, b"y" * 100) for n in range(5000))), "its head has more than 262144 bytes"),
        (head(b"200 OK", *(b"X-%d: y" % n for n in range(5000))), "Too many headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK, "it has more than 100 interim answers"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "Bad status line"),
    ],
)
async def test_an_answer_that_is_not_http_is_said_to_be_that(answer: bytes, what: str) -> None:
    async with raw_peer(says(answer)) as peer:
        outcome = await send(f"{peer.url}/?token=secret")
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"POST {peer.url}/: the answer cannot be read: {what}")
    assert "400" not in outcome.reason.removeprefix(f"POST {peer.url}")
    assert "secret" not in outcome.reason
    assert len(outcome.reason) < 500


@pytest.mark.parametrize("pieces", [1, 2, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"x",
        OK + b"body",
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + REFUSED,
        b"HTTP/1.1 200\r\n\r\n",
    ],
)
async def test_a_status_counts_once_its_head_is_there_whatever_follows(answer: bytes, pieces: int) -> None:
    size = max(1, len(answer) // pieces)

    async def talk(asked: Asked) -> None:
        await asked.say(*(answer[at : at + size] for at in range(0, len(answer), size)))
        asked.writer.write_eof()

    async with raw_peer(talk) as peer:
        assert await send(peer.url) == Success()


async def test_a_peer_that_hangs_up_is_said_to_do_that() -> None:
    async def hang_up(asked: Asked) -> None:
        asked.writer.close()

    async with raw_peer(hang_up) as peer:
        outcome = await send(peer.url)
    assert outcome == Retry(f"POST {peer.url}: the connection was closed before the answer was complete")


AWAY = b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"


async def test_a_connection_is_kept_if_nothing_else_comes_on_it() -> None:
    async with raw_peer(says(OK, AWAY, OK)) as peer, trigger() as made:
        made_route = route(made, http_trigger(peer.url))
        found = [type(await made.execute(made_route.request(event(n)))) for n in range(3)]
    assert (found, peer.connections) == ([Success, Retry, Success], 1)


@pytest.mark.parametrize("surplus", [OK, OK[:20], OK * 3, b"x", REFUSED])
@pytest.mark.parametrize("when", ["with the answer", "once that was read", "at the next request"])
async def test_an_answer_that_nobody_asked_for_is_not_for_the_next_event(surplus: bytes, when: str) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def talk(asked: Asked) -> None:
        writers.append(asked.writer)
        await asked.say(AWAY + surplus if when == "with the answer" else AWAY)

    async with raw_peer(talk) as peer, trigger() as made:
        made_route = route(made, http_trigger(peer.url))
        for number in range(3):
            assert await made.execute(made_route.request(event(number))) == Retry(f"POST {peer.url}: 503 Away")
            if when != "with the answer":
                writers[-1].write(surplus)
            if when == "once that was read":
                for _ in range(10):
                    await asyncio.sleep(0)
    assert peer.connections == 3
