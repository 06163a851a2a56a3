"""An rq bus with manifests, a receiver, and workers of both kinds as processes."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import yaml
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.rq import ServerSettings, open_bus
from kubecdc.storage.rq.bus import RqBus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader
from tests.harness.processes import Process, Processes, until
from tests.harness.receiver import Behaviour, Line, lines

BIN = Path(sysconfig.get_path("scripts"))
SUBSCRIPTION = "orders/notify"
SPEC = SubscriptionSpec(SUBSCRIPTION, SOURCE, SUBJECT)
FAST = ("--job-monitoring-interval", "1", "--worker-ttl", "17")


def sensor(bus: str, url: str) -> dict[str, object]:
    """Its one trigger sends each event to the receiver."""
    return {
        "apiVersion": "kubecdc.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "orders"},
        "spec": {
            "eventBusName": bus,
            "dependencies": [{"name": "changed", "eventSourceName": SOURCE, "eventName": SUBJECT}],
            "triggers": [{"template": {"name": "notify", "http": {"url": url, "timeout": 60}}}],
        },
    }


def event_bus(settings: ServerSettings) -> dict[str, object]:
    return {
        "apiVersion": "kubecdc.io/v1alpha1",
        "kind": "EventBus",
        "metadata": {"name": settings.name},
        "spec": {
            "rq": {"url": settings.url},
            "redelivery": {
                "ackWait": f"{settings.ack_wait.total_seconds():g}s",
                "maxDeliveries": 20,
                "backoff": {"duration": "300ms", "factor": 1, "cap": "300ms", "jitter": 0},
            },
        },
    }


@dataclass
class Workshop:
    """``received`` is the file of the receiver, ``url`` its address."""

    settings: ServerSettings
    directory: Path
    processes: Processes
    bus: RqBus
    leader: Leader
    client: Redis
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)  # of workers, beside their manifests
    started: int = field(default=0, init=False)

    @property
    def manifests(self) -> Path:
        return self.directory / "manifests.yaml"

    @property
    def received(self) -> list[Line]:
        """The requests so far."""
        path = self.directory / "received"
        return [line for line in lines(path) if line.id] if path.exists() else []

    @property
    def accepted(self) -> list[str]:
        """The ids of the events that were answered with 200."""
        return [line.id for line in self.received if line.answer == 200]

    @property
    def queue(self) -> str:
        name = self.client.hget(f"{self.settings.prefix}:queues", SUBSCRIPTION)
        assert isinstance(name, bytes)
        return name.decode()

    async def behave(self, **behaviour: object) -> None:
        """Make the receiver misbehave."""
        body = msgspec.json.encode(msgspec.convert(behaviour, Behaviour))
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/_behave", data=body) as answer:
            assert answer.status == 200

    def rewrite(self, old: str, new: str) -> None:
        """Change the manifests for what is started from now on."""
        text = self.manifests.read_text()
        assert old in text
        self.manifests.write_text(text.replace(old, new))

    def work(self) -> Process:
        """`kubecdc work`."""
        return self._start([str(BIN / "kubecdc"), "work", "-f", str(self.manifests), "--log-format", "json"], "work")

    async def status(self) -> tuple[int, str]:
        """`kubecdc status`: its exit code, and what it prints."""
        process = self._start([str(BIN / "kubecdc"), "status", "-f", str(self.manifests)], "status")
        code = await process.wait(30)
        return code, process.output()

    def rq_worker(self, *options: str, manifests: str | None = None, **more: str) -> Process:
        """RQ's own `rq worker`. ``more`` are variables of its environment."""
        argv = [str(BIN / "rq"), "worker", self.queue, "--url", self.settings.url, "--serializer", "json", *options]
        variables = {"KUBECDC_MANIFESTS": str(self.manifests) if manifests is None else manifests}
        return self._start(argv, "rq", variables | more)

    def _start(self, argv: list[str], kind: str, env: dict[str, str] | None = None) -> Process:
        self.started += 1
        return self.processes.start(f"{kind}-{self.started}", argv, self.environment | (env or {}))

    async def until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Wait for a condition. Raises AssertionError with all logs."""
        try:
            await until(condition, timeout, what)
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.processes.tails()}") from e

    async def pending(self) -> int:
        (status,) = await self.bus.subscriptions()
        assert isinstance(status.pending, int)
        return status.pending

    async def empty(self, timeout: float = 30.0) -> None:
        """Wait until RQ has nothing to do and nothing at work."""
        keys = (f"rq:queue:{self.queue}", f"rq:wip:{self.queue}", f"{self.settings.prefix}:delayed:1")

        def nothing() -> bool:
            return not any(self.client.exists(key) for key in keys)

        await self.until(nothing, timeout, "an empty queue")

    def job(self, id_: str) -> Job:
        return Job.fetch(id_, connection=self.client, serializer=JSONSerializer)

    def horse(self, parent: Process) -> int:
        """The process that a worker of RQ forked for its job."""
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])


@asynccontextmanager
async def workshop(settings: ServerSettings, directory: Path) -> AsyncIterator[Workshop]:
    """A bus with the subscription, a leader that commits, and a receiver that answers 200."""
    bus = await open_bus(settings, holder="the test")
    try:
        await bus.register([SPEC])
        with Redis.from_url(settings.url) as client, Processes(directory) as processes:
            shop = Workshop(settings, directory, processes, bus, await Leader.take(bus), client)
            port = directory / "port"
            argv = ["-m", "tests.harness.receiver", "--out", str(directory / "received"), "--port-file", str(port)]
            receiver = processes.start("receiver", [sys.executable, *argv], {"PYTHONPATH": str(Path.cwd())})
            shop.url = f"http://127.0.0.1:{await receiver.wait_for_file(port)}"
            documents = [event_bus(settings), sensor(settings.name, f"{shop.url}/orders")]
            shop.manifests.write_text(yaml.safe_dump_all(documents))
            yield shop
    finally:
        await bus.close()


def kill(pid: int) -> None:
    """SIGKILL one process."""
    os.kill(pid, signal.SIGKILL)
