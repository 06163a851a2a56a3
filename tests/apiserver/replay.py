"""Replay of recorded transcripts: the same requests again, and a comparison of what comes back."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.apiserver.comparison import Comparison, Difference, brief_event, brief_list

TRANSCRIPTS = Path(__file__).parents[1] / "data" / "transcripts"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/default/workflows"


class Replay:
    """One case, replayed step by step. ``scale`` shortens the times that requests name, as the server does."""

    def __init__(
        self,
        case: str,
        url: str,
        *,
        scale: float = 1,
        token: str | None = None,
        context: ssl.SSLContext | None = None,
        anonymous: ssl.SSLContext | None = None,
    ) -> None:
        recording = json.loads((TRANSCRIPTS / f"{case}.json").read_text())
        self.case = case
        self.scale = scale
        self.steps: list[dict[str, Any]] = recording["steps"]
        self.done = 0
        self._url = url
        self._token = token
        self._ssl: ssl.SSLContext | bool = context or True
        self._anonymous: ssl.SSLContext | bool = anonymous or True
        self._comparison = Comparison()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Replay:
        self._session = aiohttp.ClientSession(skip_auto_headers=["User-Agent", "Accept-Encoding", "Content-Type"])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    # -- requests that were not recorded

    async def quiet(self, method: str, path: str, body: Any = None, *, type_: str = "application/json") -> Any:
        """A request that only changes or reads the state."""
        _, _, answer = await self._send(method, path, body, {"Content-Type": type_} if body is not None else {})
        return answer

    async def make(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Any:
        return await self.quiet("POST", WORKFLOWS, workflow(name, labels, **spec))

    async def patch(self, name: str, patch: Any) -> Any:
        return await self.quiet("PATCH", f"{WORKFLOWS}/{name}", patch, type_="application/merge-patch+json")

    async def delete(self, name: str) -> Any:
        return await self.quiet("DELETE", f"{WORKFLOWS}/{name}")

    async def version(self) -> str:
        """The version of now."""
        page = await self.quiet("GET", f"{WORKFLOWS}?limit=1")
        return str(page["metadata"]["resourceVersion"])

    async def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], *, anonymous: bool = False
    ) -> tuple[int, Mapping[str, str], Any]:
        assert self._session is not None
        sent = {"Accept": "application/json", **headers}
        if self._token and not anonymous:
            sent["Authorization"] = f"Bearer {self._token}"
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        request = self._session.request(
            method,
            URL(self._url + path, encoded=True),
            data=None if data is None else io.BytesIO(data.encode()),
            headers=sent,
            ssl=self._anonymous if anonymous else self._ssl,
        )
        async with request as response:
            text = await response.text()
            try:
                answer = json.loads(text)
            except ValueError:
                answer = text
            return response.status, {k.lower(): v for k, v in response.headers.items()}, answer

    # -- recorded steps

    def _next(self, method: str, path: str) -> tuple[dict[str, Any], str]:
        at, step = self.done, self.steps[self.done]
        where = f"{self.case} step {at} ({step.get('note') or path})"
        self.done += 1
        if step["request"]["method"] != method:
            raise Difference(f"{where}: the recording has {step['request']['method']} here, not {method}")
        self._comparison.compare(step["request"]["path"], path, f"{where}: path")
        return step, where

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        type_: str = "application/json",
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
        brief: bool = False,
        of_it: Callable[[Any], Any] = lambda body: body,
    ) -> Any:
        """The next step: the same request, the same answer (or the same ``of_it``, of the recorded answer and
        of this one). The decoded answer."""
        step, where = self._next(method, path)
        recorded = step["request"]["body"]
        if not (isinstance(recorded, str) and recorded.startswith("<")):
            self._comparison.compare(recorded, body, f"{where}: request")
        content = {"Content-Type": type_} if body is not None else {}
        status, found, answer = await self._send(
            method, path, body, {**content, **(headers or {})}, anonymous=anonymous
        )
        response = step["response"]
        self._comparison.head(response, status, found, where)
        self._comparison.compare(of_it(response["body"]), of_it(brief_list(answer) if brief else answer), where)
        return answer

    async def watch(
        self, path: str, *, seconds: float, during: Callable[[], Awaitable[Any]] | None = None
    ) -> list[Any]:
        """The next step, a watch: the same lines in the same order, and the same end. ``seconds`` is how long it was
        watched if the server did not end it; the replay leaves soon after the last line."""
        assert self._session is not None
        step, where = self._next("GET", path)
        response = {**step["response"], "lines": _without_repeated_bookmarks(step["response"]["lines"])}
        ends = response["end"].startswith("closed by the server")
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        loop = asyncio.get_running_loop()
        lines: list[Any] = []
        wanted = [line["event"] for line in response["lines"]]
        url = URL(self._url + path, encoded=True)
        worker: asyncio.Task[Any] | None = None
        async with self._session.get(url, headers=headers, ssl=self._ssl) as stream:
            start = loop.time()
            self._comparison.head(response, stream.status, {k.lower(): v for k, v in stream.headers.items()}, where)
            if during:
                worker = asyncio.ensure_future(during())
            ended = False
            try:
                while not ended:
                    # After the last expected line a little more time, in which nothing may come.
                    rest = start + (seconds + 30) * self.scale + 5 - loop.time()
                    limit = rest if ends or len(lines) < len(wanted) else 0.15
                    line = await asyncio.wait_for(stream.content.readline(), limit)
                    ended = not line
                    if line:
                        event = json.loads(line)
                        if lines and event == lines[-1] and event["type"] == "BOOKMARK":
                            continue
                        lines.append(brief_event(event) if "type" in event else event)
                        self._check_time(response["lines"], len(lines), loop.time() - start, where)
            except TimeoutError:
                pass
            finally:
                if worker:
                    await worker
        self._comparison.compare(wanted, lines, where)
        if ended is not ends:
            raise Difference(f"{where}: recorded {response['end']!r}, now the server {'ended' if ended else 'went on'}")
        return lines

    def _check_time(self, recorded: list[dict[str, Any]], count: int, now: float, where: str) -> None:
        """A line that was long in coming must not come much earlier."""
        if count <= len(recorded) and now < (recorded[count - 1]["second"] - 1) * self.scale:
            raise Difference(
                f"{where}: line {count} came after {now:.2f} s, recorded at {recorded[count - 1]['second']}"
            )


def _without_repeated_bookmarks(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often a server tells the same version before the end is a matter of luck."""
    kept: list[dict[str, Any]] = []
    for line in lines:
        if not kept or line["event"] != kept[-1]["event"] or line["event"].get("type") != "BOOKMARK":
            kept.append(line)
    return kept


def workflow(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A Workflow as the recorder made them."""
    metadata: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec or {"n": 1}}
