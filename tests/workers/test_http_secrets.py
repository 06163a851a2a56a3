"""Secrets in the http trigger: mounted files, read anew for each request, and shown to nobody."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from aiohttp import web

from kubecdc.cli.logs import lines
from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.http.message import BadUrl
from tests.workers.peer import saying, serving
from tests.workers.pod import LOGIN, SECRET, TOKEN, Pod, ref, secret_header
from tests.workers.support import MemorySubscription, event, settings, until


def test_without_options_files_are_where_argo_mounts_them() -> None:
    assert (str(Mounts().secrets), str(Mounts().configs)) == ("/argo-events/secrets", "/argo-events/config")


async def test_secure_headers_come_from_secrets_and_config_maps_without_the_last_line_end(pod: Pod) -> None:
    pod.mount("api", token=f"{SECRET}\n")
    pod.mount_config("settings", tenant_id="tenant é")
    config = {"name": "X-Tenant", "valueFrom": {"configMapKeyRef": ref("settings", "tenant.id")}}
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, {"secureHeaders": [*TOKEN["secureHeaders"], config]}) == Success()
    headers = peer.received[0].headers
    assert headers["x-token"] == SECRET
    assert headers["x-tenant"] == "tenant é"


async def test_parameters_choose_the_key_and_cannot_leave_the_folder(pod: Pod) -> None:
    pod.mount("api", ADD=SECRET)
    (pod.mounts.secrets / "other").write_text("no")
    dest = "secureHeaders.0.valueFrom.secretKeyRef.key"

    def chosen(**src: str) -> dict[str, Any]:
        return {**TOKEN, "parameters": [{"src": {"dependencyName": "dep", **src}, "dest": dest}]}

    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, chosen(dataKey="type")) == Success()
        with pytest.raises(ParameterError, match="not a key"):
            await pod.send(peer.url, chosen(value="../other"))
    assert [r.headers["x-token"] for r in peer.received] == [SECRET]


async def test_a_missing_secret_is_retried_with_its_name_key_file_and_the_fix(pod: Pod) -> None:
    async with serving(saying(200)) as peer:
        outcome = await pod.send(peer.url, TOKEN)
        folder = pod.mounts.secrets / "api"
        assert outcome == Retry(
            f"key `token` of Secret `api` is not mounted: there is no file {folder}/token, "
            "and the cluster cannot be asked: no cluster is configured; "
            f"mount it at {folder}, or give its place with --secrets-dir"
        )
        folder.mkdir(parents=True)
        outcome = await pod.send(peer.url, TOKEN)
        assert outcome == Retry(
            f"key `token` of Secret `api` is not mounted: there is no file {folder}/token, "
            "and the cluster cannot be asked: no cluster is configured; add the key"
        )
    assert peer.received == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"two\nlines", "has characters that header `X-Token` cannot carry"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
async def test_a_secret_that_cannot_be_sent_is_retried_and_not_shown(pod: Pod, content: bytes, reason: str) -> None:
    pod.mount("api", token=content)
    outcome = await pod.send("http://127.0.0.1:1/", TOKEN)
    assert isinstance(outcome, Retry)
    assert reason in outcome.reason
    assert "lines" not in outcome.reason


async def test_a_rotated_secret_is_used_from_the_next_request_on(pod: Pod) -> None:
    pod.mount("api", token="one")
    async with serving(saying(200)) as peer, pod.route(peer.url, TOKEN) as route:
        await route.trigger.execute(route.request(event()))
        pod.mount("api", token="two")
        await route.trigger.execute(route.request(event()))
    assert [r.headers["x-token"] for r in peer.received] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 503])
async def test_what_the_peer_repeats_of_the_secrets_is_hidden(pod: Pod, status: int) -> None:
    pod.mount("api", token=SECRET)
    pod.mount("login", user="me-myself", password="pass-word")

    async def echo(request: web.Request) -> web.Response:
        told = f"{request.headers['Authorization']} {request.headers['X-Token']} me-myself pass-word url-password"
        return web.Response(status=status, text=told, reason=f"No {SECRET}")

    async with serving(echo) as peer:
        outcome = await pod.send(peer.url.replace("//", "//u:url-password@"), {**TOKEN, **LOGIN})
    assert isinstance(outcome, Retry | Failure)
    assert outcome.reason == f"POST {peer.url}: {status} No ***: Basic *** *** *** *** ***"


BEARER = {"secureHeaders": [secret_header("Authorization", "api", "token")]}
QUOTED = 'pa"ss\\w/örd é+?&'
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"it": text})),
    "JSON, not escaped": lambda text: json.dumps({"it": text}, ensure_ascii=False),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "Python": repr,
    "HTML": html.escape,
    "a url": lambda text: quote(text, safe=""),
    "a url in lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text)),
    "a form": lambda text: urlencode({"it": text}),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 of more": lambda text: base64.b64encode(f"X-Token: {text}\r\n".encode()).decode(),
    "base64 of more, shifted": lambda text: base64.b64encode(f"{{{text!s}}}".encode()).decode(),
}


def left_of(secret: str, text: str) -> set[str]:
    """The spellings of a secret that stand in a text, or long pieces of them."""
    spelled = {name: spell(secret).strip("\"'{}=") for name, spell in SPELLINGS.items() if "more" not in name}
    return {name for name, piece in spelled.items() if piece[:-2] in text}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", [SECRET, QUOTED, "Bearer eyJhbGciOi.SECRET.sig/+", "Basic bWU6cGFzcy13b3Jk"])
async def test_no_spelling_of_a_secret_is_told(
    pod: Pod, secret: str, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod.mount("api", token=secret)
    alone = {"Basic bWU6cGFzcy13b3Jk": "pass-word"}.get(secret, secret.removeprefix("Bearer "))

    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"no: {SPELLINGS[spelling](alone)}!")

    async with serving(echo) as peer:
        outcome = await pod.send(peer.url, BEARER)
    assert isinstance(outcome, Failure)
    assert "no: " in outcome.reason
    assert "***" in outcome.reason
    assert left_of(alone, outcome.reason) == set()


@pytest.mark.parametrize(
    ("userinfo", "query", "told"),
    [
        ("u:hunter22@", "", lambda request: request.headers["Authorization"]),
        ("ghp_TOKEN@", "", lambda request: base64.b64decode(request.headers["Authorization"].split()[1]).decode()),
        ("ghp_TOKEN@", "", lambda request: request.headers["Authorization"]),
        ("", "?token=hunter22", lambda request: request.raw_path),
        ("", "?a=b&token=hunt%65r22", lambda request: request.query["token"]),
        ("", "?hunter22", lambda request: str(request.rel_url)),
    ],
)
async def test_what_is_secret_in_an_address_is_not_told(
    pod: Pod, userinfo: str, query: str, told: Callable[[web.Request], str]
) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=403, text=f"no: {told(request)}")

    async with serving(echo) as peer:
        outcome = await pod.send(peer.url.replace("//", f"//{userinfo}") + f"/hook{query}", {})
    assert isinstance(outcome, Failure)
    assert "no: " in outcome.reason
    for secret in ("hunter22", "hunt%65r22", "ghp_TOKEN", "dTpodW50ZXIyMg", "Z2hwX1RPS0VO"):
        assert secret not in outcome.reason


async def test_the_traceback_of_an_unexpected_error_has_no_secrets(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise LookupError(f"{args} {more}")

    pod.mount("api", token=SECRET)
    monkeypatch.setattr("aiohttp.ClientSession.request", broken)
    with pytest.raises(RuntimeError) as e:
        await pod.send("http://h/", TOKEN)
    shown = told(lines("json", sys.stderr), e) + told(lines("console", sys.stderr), e)
    assert "LookupError" in shown
    assert "in _send" in shown
    assert SECRET not in shown


def told(processors: list[Any], error: pytest.ExceptionInfo[BaseException]) -> str:
    """The line of a log with the traceback of an error."""
    line: Any = {"event": "x", "exc_info": error.value}
    for process in processors:
        line = process(None, "error", line)
    return str(line)


@pytest.mark.parametrize("url", ["htp://me:secret@host/?secret", "me:secret@host", "http://me:secret@host:port/"])
async def test_an_address_that_is_not_valid_is_told_without_its_password(pod: Pod, url: str) -> None:
    outcome = await pod.send(url, {})
    assert isinstance(outcome, Failure)
    assert "secret" not in outcome.reason


async def test_a_preview_shows_the_request_without_secrets_and_reads_none(pod: Pod) -> None:
    payload = [{"src": {"dependencyName": "dep", "dataKey": "body.n", "useRawData": True}, "dest": "n"}]
    async with pod.route("https://u:pw@host/p?q=1", {**TOKEN, **LOGIN, "payload": payload, "host": "h"}) as route:
        shown = route.trigger.preview(route.request(event()))
        headers = shown["headers"]
        assert isinstance(headers, dict)
        assert (headers["X-Token"], headers["Authorization"], headers["Host"]) == ("***", "Basic ***", "h")
        assert (shown["method"], shown["url"], bytes(shown["body"])) == ("POST", "https://host/p?q=***", b'{"n":100}')  # type: ignore[call-overload]
    async with pod.route("https://u:pw@host/", {"method": "GET"}) as route:
        shown = route.trigger.preview(route.request(event()))
        assert (shown["url"], shown["body"]) == ("https://u:***@host/", None)
    async with pod.route("https://token@host/?key=abc&x", {"method": "GET"}) as route:
        assert route.trigger.preview(route.request(event()))["url"] == "https://***@host/?key=***&***"
    async with pod.route("nonsense", {}) as route:
        with pytest.raises(BadUrl):
            route.trigger.preview(route.request(event()))


async def test_what_fails_for_all_events_in_the_same_way_is_said_once(
    pod: Pod, capsys: pytest.CaptureFixture[str]
) -> None:
    subscription, stop = MemorySubscription(), asyncio.Event()
    async with serving(saying(200)) as peer, pod.route(peer.url, TOKEN) as route:
        failing = [subscription.give(event(n, key=str(n))) for n in range(4)]  # one less than opens the breaker
        task = asyncio.create_task(consume(subscription, route, settings(), stop=stop))
        await until(lambda: all(d.settled.is_set() for d in failing))
        pod.mount("api", token=SECRET)
        done = subscription.give(event(6))
        await until(done.settled.is_set)
        stop.set()
        await task
    assert [d.last for d in failing] == ["nack"] * 4
    assert done.last == "ack"
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "is not mounted" in warnings[0]
