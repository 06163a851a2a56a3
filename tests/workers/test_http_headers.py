"""Headers of the http trigger that come from elsewhere, and which of one name is sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from kubecdc.workers.outcome import Success
from kubecdc.workers.sensor.parameters import ParameterError
from tests.workers.peer import saying, serving
from tests.workers.pod import LOGIN, SECRET, TOKEN, Pod, ref, secret_header
from tests.workers.support import event


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (LOGIN["basicAuth"], "me:pass:wörd"),
        ({"username": ref("login", "user")}, "me:"),
        ({"password": ref("login", "password")}, ":pass:wörd"),
    ],
)
async def test_basic_auth_goes_before_every_other_authorization(
    pod: Pod, auth: Mapping[str, Any], expected: str
) -> None:
    pod.mount("login", user="me\n", password="pass:wörd\n", token="no")
    http = {
        "basicAuth": auth,
        "headers": {"authorization": "no"},
        "secureHeaders": [secret_header("AUTHORIZATION", "login", "token")],
    }
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url.replace("//", "//also:no@"), http) == Success()
    assert peer.received[0].headers["authorization"] == "Basic " + base64.b64encode(expected.encode()).decode()


async def test_of_headers_with_one_name_the_secure_one_wins_then_the_dynamic_one(pod: Pod) -> None:
    pod.mount("api", token=SECRET)
    dynamic = [
        {"src": {"dependencyName": "dep", "dataKey": "type"}, "dest": "x-token"},
        {"src": {"dependencyName": "dep", "dataKey": "body.n", "useRawData": True}, "dest": "x-n"},
        {"src": {"dependencyName": "dep", "dataKey": "none", "value": "default"}, "dest": "X-Default"},
        {"src": {"dependencyName": "dep", "value": "x"}, "dest": "Idempotency-Key"},
    ]
    http = {"headers": {"X-TOKEN": "no", "X-N": "no"}, "dynamicHeaders": dynamic, **TOKEN}
    async with serving(saying(200)) as peer:
        await pod.send(peer.url, http)
    headers = peer.received[0].headers
    assert (headers["x-token"], headers["x-n"], headers["x-default"]) == (SECRET, "100", "default")
    assert headers["idempotency-key"] != "x"


@pytest.mark.parametrize("src", [{"dataKey": "missing"}, {"value": "two\nlines"}])
async def test_a_dynamic_header_that_cannot_be_had_is_never_sent(pod: Pod, src: Mapping[str, str]) -> None:
    dynamic = [{"src": {"dependencyName": "dep", **src}, "dest": "X-A"}]
    async with pod.route("http://x", {"dynamicHeaders": dynamic}) as route:
        with pytest.raises(ParameterError, match=r"missing|`X-A`"):
            route.request(event())


@pytest.mark.parametrize("value", ["a\tb", "Zoë", "👩\u200d💻", "\x85", "", " a "])
async def test_a_header_carries_all_but_controls(pod: Pod, value: str) -> None:
    dynamic = [{"src": {"dependencyName": "dep", "dataKey": "v"}, "dest": "X-A"}]
    async with serving(saying(200)) as peer, pod.route(peer.url, {"dynamicHeaders": dynamic}) as route:
        assert await route.trigger.execute(route.request(event(data={"v": value}))) == Success()
    assert peer.received[0].headers["x-a"] == value.strip(" ")


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "\x1b[31m", "\x7f"])
async def test_a_header_carries_no_control(pod: Pod, value: str) -> None:
    dynamic = [{"src": {"dependencyName": "dep", "dataKey": "v"}, "dest": "X-A"}]
    async with pod.route("http://x", {"dynamicHeaders": dynamic}) as route:
        with pytest.raises(ParameterError, match="`X-A`"):
            route.request(event(data={"v": value}))


async def test_host_is_the_host_header_and_not_the_address(pod: Pod) -> None:
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, {"host": "example.com:81", "headers": {"host": "no"}}) == Success()
    assert peer.received[0].headers["host"] == "example.com:81"
