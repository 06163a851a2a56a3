"""Kubernetes Events about this process: for who looks with `kubectl describe deployment` and not into the log.

An Event is written on what the pod of this process belongs to, its Deployment; outside of a pod, on the manifest that
it is about. Each is marked as our own object, so that an entry on `events` does not capture it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import structlog
import tenacity

from kubecdc.backoff import Backoff
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.own_objects import marked
from kubecdc.cluster.resource import Resource
from kubecdc.errors import KubecdcError

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

log = structlog.get_logger()
BURST = 5  # Events of one reason about one manifest, and then one in each `PERIOD`
PERIOD = 300.0  # seconds; both as client-go's EventSourceObjectSpamFilter has them, with a burst of 25
RETRY = Backoff(duration=1.0, cap=30.0)
TRIES = 8  # over about two minutes: a lead is lost when the API server is away
PASSING = frozenset({0, 429, 500, 502, 503, 504})
WAITING = 20  # Events that may wait for the API server; more are dropped
API = "argoproj.io/v1alpha1"  # of the manifests

Reason = Literal["GapRepaired", "LeadLost", "BreakerOpened"]


def rules(namespace: str) -> list[AccessRule]:
    """The rights that the Events need. Without them, the log and the metrics tell the same."""
    return [
        AccessRule(Resource("", "v1", "events", namespace), ("create",)),
        AccessRule(Resource("", "v1", "pods", namespace), ("get",)),
        AccessRule(Resource("apps", "v1", "replicasets", namespace), ("get",)),
    ]


def own_pod(in_cluster: bool) -> str:
    """The name of the pod of this process: $POD_NAME, or the host name, which is the same unless the pod chose one."""
    return os.environ.get("POD_NAME") or (socket.gethostname() if in_cluster else "")


class _Owner(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    owner_references: list[_Owner] = []


class _Object(msgspec.Struct):
    metadata: _Meta


@dataclass
class _Allowance:
    """What is left of the burst of one reason about one manifest."""

    left: float
    at: float
    unsaid: int = 0


@dataclass
class Recorder:
    """Writes Events in the background: whoever `record`s one never waits. `run` has to run.

    ``namespace`` is that of this process, ``pod`` its pod, "" outside of one. ``now`` is a monotonic clock. `connect`
    raises UsageError if no cluster is configured.
    """

    connect: Callable[[], Awaitable[Cluster]]
    namespace: str
    pod: str = ""
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _queue: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(WAITING))
    _allowances: dict[tuple[str, str, str], _Allowance] = field(default_factory=dict)
    _regarding: dict[str, str] | None = None
    _told: bool = False

    def record(self, reason: Reason, message: str, *, kind: str, name: str) -> None:
        """Write a warning. ``kind`` and ``name`` are those of the manifest that it is about.

        Of one reason and manifest, `BURST` are written, then one in each `PERIOD`, with the number of those left out.
        """
        allowance = self._allowances.setdefault((reason, kind, name), _Allowance(BURST, self.now()))
        now = self.now()
        allowance.left = min(BURST, allowance.left + (now - allowance.at) / PERIOD)
        allowance.at = now
        if allowance.left < 1 or self._queue.full():
            allowance.unsaid += 1
            return
        if allowance.unsaid:
            message = f"{message} ({allowance.unsaid} more since the last Event)"
        allowance.left, allowance.unsaid = allowance.left - 1, 0
        about = {"apiVersion": API, "kind": kind, "name": name, "namespace": self.namespace}
        name = f"kubecdc.{secrets.token_hex(8)}"
        self._queue.put_nowait({"reason": reason, "message": message[:1024], "about": about, "name": name})

    async def run(self) -> None:
        """Write what is recorded, one after the other, until cancelled. What cannot be written is dropped."""
        trying = tenacity.AsyncRetrying(
            sleep=self.sleep,
            wait=lambda state: RETRY.delay(state.attempt_number),
            stop=tenacity.stop_after_attempt(TRIES),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        while True:
            given = await self._queue.get()
            try:
                await trying(self._write, **given)
            except KubecdcError as e:
                if not _may_pass(e):
                    self._tell(e)
            self._queue.task_done()

    async def _write(self, reason: str, message: str, about: dict[str, str], name: str) -> None:
        """Raises ApiError; UsageError if no cluster is configured."""
        cluster = await self.connect()
        event = self._event(reason, message, await self._workload(cluster) or about, name)
        try:
            await cluster.post(Resource("", "v1", "events", self.namespace).path, event)
        except ApiError as e:
            if e.status != 409:  # else the answer to the last try was lost
                raise

    def _tell(self, error: KubecdcError) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "no Kubernetes Events are written",
                code="kubernetes-events-refused",
                reason=str(error),
                hint=f"grant create on events in the namespace {self.namespace}, or leave it",
            )

    async def _workload(self, cluster: Cluster) -> dict[str, str]:
        """What the pod belongs to, or the pod; empty outside of a pod, or if it cannot be looked up."""
        if self._regarding is None:
            try:
                self._regarding = await self._found(cluster) if self.pod else {}
            except KubecdcError:
                return {}  # it is looked up again for the next one
        return self._regarding

    async def _found(self, cluster: Cluster) -> dict[str, str]:
        version, kind, meta = "v1", "Pod", await _meta(cluster, Resource("", "v1", "pods", self.namespace), self.pod)
        uid, name = meta.uid, meta.name
        if owner := _controller(meta):
            version, kind, name, uid = owner.api_version, owner.kind, owner.name, owner.uid
            if kind == "ReplicaSet":
                above = _controller(await _meta(cluster, Resource("apps", "v1", "replicasets", self.namespace), name))
                if above:
                    version, kind, name, uid = above.api_version, above.kind, above.name, above.uid
        return {"apiVersion": version, "kind": kind, "name": name, "namespace": self.namespace, "uid": uid}

    def _event(self, reason: str, message: str, regarding: dict[str, str], name: str) -> dict[str, Any]:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": marked({"name": name, "namespace": self.namespace}),
            "involvedObject": regarding,
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "kubecdc", "host": self.pod or socket.gethostname()},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.status in PASSING


async def _meta(cluster: Cluster, resource: Resource, name: str) -> _Meta:
    """Raises ApiError, Malformed."""
    text = await cluster.get(resource.path_of(name))
    try:
        return msgspec.json.decode(text, type=_Object).metadata
    except UNREADABLE as e:
        raise Malformed(f"the API server's answer for {resource.resource}/{name} cannot be read") from e


def _controller(meta: _Meta) -> _Owner | None:
    return next((owner for owner in meta.owner_references if owner.controller), None)
