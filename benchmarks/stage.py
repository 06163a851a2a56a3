"""What one run is made on: a folder, an API server of prebuilt bytes, a Redis of its own, kubecdc as users start it."""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.objects import BASE, KINDS
from benchmarks.program import Program, Programs
from kubecdc.storage.contracts import Bus
from tests.apiserver.client import write_kubeconfig
from tests.storage.redis_server import RedisServer

KUBECDC = str(Path(sysconfig.get_path("scripts")) / "kubecdc")
KEY = "bench/changed"
PENDING = "{kubecdc:default}:subscription:1"  # the record of the only subscription, in Redis
# A rewrite of the file, which Redis does in a fork when it likes, would be measured with one side and not the other.
EVERYSEC = ("--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")


@dataclass
class Stage:
    """One run."""

    folder: Path
    programs: Programs
    redis: RedisServer | None = None
    _named: list[str] = field(default_factory=list)

    async def apiserver(self, kind: str, changes: int, **settings: float) -> str:
        """Start one and return its URL. The kubeconfig leads to the one that was started last."""
        options = [f"--{name}={value:g}" for name, value in settings.items()]
        port = await self.served("benchmarks.apiserver", f"--kind={kind}", f"--changes={changes}", *options)
        url = f"http://127.0.0.1:{port}"
        write_kubeconfig(self.folder / "kubeconfig", url)
        return url

    async def peer(self) -> str:
        """Start the HTTP peer that answers in 50 ms, and return its URL."""
        return f"http://127.0.0.1:{await self.served('benchmarks.peer')}"

    async def network(self, server: int, *, delay: float) -> int:
        """Start a network of so many milliseconds each way in front of a server, and return its port."""
        return await self.served("benchmarks.network", f"--server={server}", f"--delay={delay}")

    async def served(self, module: str, *options: str) -> int:
        """Start a module that is a server, and return its port."""
        self._named.append(module)
        port = self.folder / f"{len(self._named)}.port"
        argv = [sys.executable, "-m", module, "--port-file", str(port), *options]
        program = self.programs.start(module.rpartition(".")[2], argv)
        return int(await program.wrote(port))

    def manifests(
        self,
        kind_name: str,
        trigger: Mapping[str, object] | None = None,
        *,
        sqlite: bool = False,
        bus: Mapping[str, object] | None = None,
        **entry: object,
    ) -> None:
        """Every change of the kind to one trigger, ``log`` if none is given. ``bus`` has fields of the EventBus."""
        kind = KINDS[kind_name]
        resource = {"group": kind.group, "version": kind.version, "resource": kind.plural, **entry}
        resource["eventTypes"] = ["ADD", "UPDATE", "DELETE"]
        place = {"sqlite": {"path": str(self.bus_file)}} if sqlite else {"redis": {"url": self.redis_url}}
        specs = {
            "EventBus": ("default", {**place, **(bus or {})}),
            "EventSource": ("bench", {"resource": {"changed": resource}}),
            "Sensor": (
                "bench",
                {
                    "dependencies": [{"name": "change", "eventSourceName": "bench", "eventName": "changed"}],
                    "triggers": [{"template": {"name": "act", **(trigger or {"log": {}})}}],
                },
            ),
        }
        documents = [
            {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            for kind, (name, spec) in specs.items()
        ]
        (self.folder / "manifests.yaml").write_text(yaml.safe_dump_all(documents))

    def watch(self, *options: str) -> Program:
        """`kubecdc watch`, elected by the bus alone: there are no Leases here."""
        return self._kubecdc("watch", "--kubeconfig", "kubeconfig", "--no-leader-election", *options)

    def work(self, *options: str, piped: bool = False) -> Program:
        """`kubecdc work`."""
        return self._kubecdc("work", *options, piped=piped)

    def _kubecdc(self, command: str, *options: str, piped: bool = False) -> Program:
        argv = [KUBECDC, command, "-f", "manifests.yaml", "--log-format", "json", *options]
        return self.programs.start(command, argv, piped=piped)

    def bare(self, loop: str, *args: object, piped: bool = True) -> Program:
        """One of the bare loops."""
        argv = [sys.executable, "-m", f"benchmarks.bare.{loop}", *map(str, args)]
        return self.programs.start(f"bare-{loop}", argv, piped=piped)

    async def printed(self, loop: str, *args: object) -> dict[str, float]:
        """What a bare loop measured."""
        return await self.bare(loop, *args).decoded()

    def secret(self, name: str, key: str, text: str) -> None:
        """Have a Secret mounted, for processes with `--secrets-dir secrets`."""
        folder = self.folder / "secrets" / name
        folder.mkdir(parents=True)
        (folder / key).write_text(text)

    @property
    def bus_file(self) -> Path:
        return self.folder / "bus.db"

    @property
    def redis_url(self) -> str:
        assert self.redis
        return self.redis.url

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        """The bus of the manifests, opened beside the processes that work on it."""
        if self.redis:
            from kubecdc.storage.redis import RedisSettings
            from kubecdc.storage.redis import open_bus as open_redis

            bus: Bus = await open_redis(RedisSettings(self.redis_url), holder="the benchmark")
        else:
            from kubecdc.storage.sqlite import SqliteSettings
            from kubecdc.storage.sqlite import open_bus as open_sqlite

            bus = await open_sqlite(SqliteSettings(self.bus_file), holder="the benchmark")
        try:
            yield bus
        finally:
            await bus.close()


@contextmanager
def staged(*, redis: bool) -> Iterator[Stage]:
    """A fresh stage; with ``redis`` a fresh server too. All is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="kubecdc-bench-") as name, Programs(Path(name)) as programs:
        stage = Stage(Path(name), programs)
        if redis:
            stage.redis = RedisServer(stage.folder, *EVERYSEC)
            stage.redis.start()
        try:
            yield stage
        finally:
            if stage.redis:
                stage.redis.kill()


async def committed(bus: Bus) -> int:
    """How many changes the checkpoint has passed."""
    found = await bus.checkpoints.checkpoint(KEY)
    return int(found.state.position) - BASE if found and found.state and found.state.position else 0
