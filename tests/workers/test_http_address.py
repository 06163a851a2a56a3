"""Addresses of the http trigger: sent as they are written, bounded before anything parses them."""

from __future__ import annotations

import base64

import pytest

from kubecdc.workers.outcome import Failure, Success
from kubecdc.workers.triggers.http import address
from tests.workers.raw_peer import raw_peer, says
from tests.workers.test_http import send

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
WRITTEN = [
    "/a%3Bb", "/a;b", "/a%24b%2Fc%2B", "/x/../y", "/./x", "/a//b", "//a", "/?a=%3D%26%3B&b=+%20x", "/?a=1&a=2;c",
    "/%e2%98%83", "/?sig=ab%2Bcd%3d", "/?x=%27%28%29", "/a%20b%41", "/?a=b:c@d/e?f", "/?q=%5B%5D|{}^`\"<>\\", "/a%zz%",
    "/?", "/a?&&=", "/a/", "/" + "a" * 8000,
]  # fmt: skip


@pytest.mark.parametrize("target", WRITTEN)
async def test_a_target_is_sent_as_it_is_written(target: str) -> None:
    async with raw_peer(says(OK)) as peer:
        assert await send(peer.url + target) == Success()
    assert peer.targets == [target]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", "/"), ("?x", "/?x"), ("/#part", "/"), ("/?a#b?c", "/?a"), ("/a b", "/a%20b"),
        ("/é?ü=☃", "/%C3%A9?%C3%BC=%E2%98%83"),
    ],
)  # fmt: skip
async def test_only_what_a_request_line_cannot_have_is_encoded(written: str, sent: str) -> None:
    async with raw_peer(says(OK)) as peer:
        assert await send(peer.url + written) == Success()
    assert peer.targets == [sent]


@pytest.mark.parametrize(
    ("userinfo", "sent"),
    [
        ("me:pass", b"me:pass"),
        ("u:p%C3%A9", "u:pé".encode()),
        ("u:%E2%82%AC", "u:€".encode()),
        ("u:€", "u:€".encode()),
        ("u:%FF", b"u:\xff"),
        ("al%40example.com:p%3Aq@r", b"al@example.com:p:q@r"),
        ("token", b"token:"),
        (":secret", b":secret"),
    ],
)
async def test_user_and_password_are_sent_in_the_bytes_that_they_name(userinfo: str, sent: bytes) -> None:
    async with raw_peer(says(OK)) as peer:
        assert await send(peer.url.replace("//", f"//{userinfo}@") + "/a%3Bb") == Success()
    assert peer.header("authorization") == b"Basic " + base64.b64encode(sent)
    assert peer.targets == ["/a%3Bb"]


async def test_no_form_of_a_password_is_in_a_reason() -> None:
    forms = [b"p%C3%A9ss", "péss".encode(), base64.b64encode("u:péss".encode())]
    answer = b" ".join(forms)
    async with raw_peer(
        says(b"HTTP/1.1 400 %b\r\nContent-Length: %d\r\n\r\n%b" % (answer, len(answer), answer))
    ) as peer:
        outcome = await send(peer.url.replace("//", "//u:p%C3%A9ss@") + "/?token=1")
    assert outcome == Failure(f"POST {peer.url}/: 400 *** *** ***: *** *** ***")


async def test_expect_is_sent_as_written_and_the_body_does_not_wait() -> None:
    async with raw_peer(says(OK)) as peer:
        assert await send(peer.url, {"headers": {"Expect": "100-continue"}, "timeout": 5}) == Success()
    assert peer.header("expect") == b"100-continue"


async def test_a_peer_that_says_100_first_is_understood() -> None:
    async with raw_peer(says(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK)) as peer:
        assert await send(peer.url, {"headers": {"Expect": "100-continue"}}) == Success()


@pytest.mark.parametrize(
    "url",
    [
        "http://h:0/", "http://h:99999/", "http://h:080800/", "http://h:x/", " http://h/", "http://h/\n", "http://h/a\tb",
        "http://h/\x7f", "http:///x", "http://", "http://:80/", "http://h{}/", "http://h h/", "http://a..b/",
        "http://[::1", "http://[x]/", "http://a[::1]/", f"http://{'a' * 64}.x/", f"http://{'a.' * 127}x/", "http://h%2Fx/",
        "http://h\\x/", "ftp://h/", "h/", "http:/h/", f"http://h/{'a' * address.LONGEST}",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_a_failure_with_a_short_reason(url: str) -> None:
    outcome = await send(url)
    assert isinstance(outcome, Failure)
    assert "is not an HTTP address" in outcome.reason
    assert len(outcome.reason) < 500


def test_a_host_that_is_not_ascii_is_sent_as_dns_has_it() -> None:
    parsed = address.parse("http://bücher.example:8080/a")
    assert (parsed.where, parsed.url.raw_host) == ("http://xn--bcher-kva.example:8080/a", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    "host", ["LocalHost", "localhost.", "my_svc.invalid", "127.0.0.1", "[::1]", "a-b.c~d", "xn--bcher-kva"]
)
def test_a_host_is_as_written(host: str) -> None:
    assert address.parse(f"HTTPS://{host}:443").where == f"https://{host}:443"
