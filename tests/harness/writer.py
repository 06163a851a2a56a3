"""Writes that are known: each ends with the certainty of what the API server committed.

A connection that breaks during a write leaves it open whether it was done. Every write carries an annotation of its
own, and an object has one writer only, so reading the object back decides. A write that was not done is repeated
under the same annotation: had the first one been done late after all, the repeat changes nothing.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from kubecdc.storage.contracts.event import Action, partition_key
from tests.harness.api import MERGE_PATCH, Api, Resource
from tests.harness.history import Change, History, Restore

TAG = "kubecdc.io/write"
PAUSE = 0.1  # seconds before a write that failed is tried again
PATIENCE = 240.0  # seconds for one write: a restart of the API server may take it several starts


class WriteFailedError(AssertionError):
    """The API server said no, or nothing at all for too long."""


@dataclass(frozen=True)
class Copy:
    """A copy of etcd, and what was there when it was made."""

    snapshot: Any
    kept: int
    live: Mapping[tuple[str, str], dict[str, Any]]
    aside: Callable[[], None]  # puts back what else belongs to it


@dataclass
class Writer:
    """Writes objects of one resource and appends each committed change to `changes`, in the order of completion.

    ``aside`` keeps what else belongs to a copy of etcd, and returns what puts it back.
    """

    api: Api
    resource: Resource
    changes: list[Change] = field(default_factory=list)
    restores: list[Restore] = field(default_factory=list)
    doubtful: int = 0  # writes whose outcome had to be read back
    aside: Callable[[], Callable[[], None]] = lambda: lambda: None
    _live: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _written: int = 0
    _writing: int = 0
    _still: bool = False
    _turns: asyncio.Condition = field(default_factory=asyncio.Condition)

    def live(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object as last committed, None if it is not there."""
        return self._live.get((namespace, name))

    def bodies(self, namespace: str) -> list[Mapping[str, Any]]:
        """The objects of a namespace as last committed."""
        return [body for (place, _), body in self._live.items() if place == namespace]

    @property
    def version(self) -> int:
        """The highest version known to be committed and not undone."""
        standing = History(self.changes, self.restores).standing if self.restores else range(len(self.changes))
        return max((self.changes[place].version or 0 for place in standing), default=0)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around a look at what is live and the write that follows from it: no copy and no restore comes between."""
        async with self._turns:
            await self._turns.wait_for(lambda: not self._still)
            self._writing += 1
        try:
            yield
        finally:
            async with self._turns:
                self._writing -= 1
                self._turns.notify_all()

    @asynccontextmanager
    async def stillness(self) -> AsyncIterator[None]:
        """No write is under way meanwhile."""
        async with self._turns:
            await self._turns.wait_for(lambda: not self._still)
            self._still = True
            await self._turns.wait_for(lambda: not self._writing)
        try:
            yield
        finally:
            async with self._turns:
                self._still = False
                self._turns.notify_all()

    async def copy(self, server: Any) -> Copy:
        """A copy of etcd between two writes."""
        async with self.stillness():
            return Copy(await server.snapshot(), len(self.changes), copy.deepcopy(self._live), self.aside())

    async def put_back(self, server: Any, kept: Copy) -> None:
        """Restore the copy: what was written since is undone. Raises AssertionError if the server has other objects."""
        async with self.stillness():
            await server.restore(kept.snapshot)
            self.restores.append(Restore(kept=kept.kept, at=len(self.changes)))
            self._live = dict(copy.deepcopy(kept.live))
            kept.aside()
            there = {_identity(item) for item in (await self._list())}
            assert there == {_identity(body) for body in self._live.values()}, "the copy has other objects than it had"

    async def _list(self) -> list[dict[str, Any]]:
        started = time.monotonic()
        while True:
            status, answer = await self._ask("GET", self.resource.path())
            if status == 200:
                items: list[dict[str, Any]] = answer["items"]
                return items
            self._doubt(status, answer, "list", started)
            await asyncio.sleep(PAUSE)

    async def create(self, namespace: str, name: str, body: Mapping[str, Any]) -> Change:
        """Create an object; ``body`` needs neither kind nor name."""
        whole = copy.deepcopy(dict(body))
        metadata = whole.setdefault("metadata", {})
        metadata.update(name=name, namespace=namespace)
        whole["kind"] = self.resource.kind
        group = self.resource.group
        whole["apiVersion"] = f"{group}/{self.resource.version}" if group else self.resource.version
        return await self._put("ADD", "POST", self.resource.path(namespace), namespace, name, whole)

    async def patch(self, namespace: str, name: str, patch: Mapping[str, Any]) -> Change:
        """Merge-patch an object."""
        path = self.resource.path(namespace, name)
        return await self._put("UPDATE", "PATCH", path, namespace, name, copy.deepcopy(dict(patch)))

    async def delete(self, namespace: str, name: str) -> Change:
        """Delete an object."""
        path = self.resource.path(namespace, name)
        last = self._live[namespace, name]
        started = time.monotonic()
        while True:
            status, answer = await self._ask("DELETE", path)
            if status == 200 or (status == 404 and isinstance(answer, dict)):
                break
            self._doubt(status, answer, f"delete {name}", started)
            if await self._read(path, started) is None:
                break
        del self._live[namespace, name]
        return self._commit("DELETE", namespace, name, last, None, started)

    async def _put(
        self, action: Action, method: str, path: str, namespace: str, name: str, body: dict[str, Any]
    ) -> Change:
        self._written += 1
        tag = str(self._written)
        body.setdefault("metadata", {}).setdefault("annotations", {})[TAG] = tag
        started = time.monotonic()
        while True:
            status, answer = await self._ask(method, path, body)
            if status in {200, 201}:
                found = answer
                break
            self._doubt(status, answer, f"{method} {name}", started)
            found = await self._read(self.resource.path(namespace, name), started)
            if found is not None and found["metadata"].get("annotations", {}).get(TAG) == tag:
                break
        self._live[namespace, name] = found
        return self._commit(action, namespace, name, found, int(found["metadata"]["resourceVersion"]), started)

    def _commit(
        self, action: Action, namespace: str, name: str, body: dict[str, Any], version: int | None, started: float
    ) -> Change:
        change = Change(
            action=action,
            uid=body["metadata"]["uid"],
            version=version,
            partitionkey=partition_key(self.resource.plural, self.resource.group, namespace, name),
            started=started,
            finished=time.monotonic(),
            body=body,
            tag=body["metadata"].get("annotations", {}).get(TAG, ""),
        )
        self.changes.append(change)
        return change

    def _doubt(self, status: int, answer: object, what: str, started: float) -> None:
        """Go on only where the outcome is open, or "not now": 409 may be our own write, done before its answer."""
        self.doubtful += 1
        if status not in {0, 409, 429, 500, 502, 503, 504}:
            raise WriteFailedError(f"{what}: {status} {answer}")
        if time.monotonic() - started > PATIENCE:
            raise WriteFailedError(f"{what}: not done in {PATIENCE:g} s, last answer {status} {answer}")

    async def _read(self, path: str, started: float) -> dict[str, Any] | None:
        while True:
            await asyncio.sleep(PAUSE)
            status, answer = await self._ask("GET", path)
            if status == 200:
                found: dict[str, Any] = answer
                return found
            # Right after its start a server answers 404 in plain text, before it knows the resource.
            if status == 404 and isinstance(answer, dict):
                return None
            if time.monotonic() - started > PATIENCE:
                raise WriteFailedError(f"{path}: not readable in {PATIENCE:g} s, last answer {status} {answer}")

    async def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        try:
            content_type = MERGE_PATCH if method == "PATCH" else ""
            return await self.api.request(method, path, body, content_type)
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            return 0, repr(e)


def _identity(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["uid"], body["metadata"]["resourceVersion"]
