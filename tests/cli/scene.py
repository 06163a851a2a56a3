"""One process that is going to hang: its bus, what that owes, and a second trigger whose receiver answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.storage import redis, sqlite
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.contracts.publishing import Publication
from tests.cli.rig import SOURCE
from tests.cli.silent import Silent, silent_server
from tests.cli.started import Started
from tests.harness.processes import until
from tests.workers.peer import Peer
from tests.workers.support import event

OWED = 5  # events of each subscription
PARTITIONS = 4
# Names with `slow` in them take a minute. It tells of the first such look-up by making a file.
SLOW_NAMES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
  static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
  if (n && strstr(n, "slow")) { close(creat(getenv("ASKED"), 0600)); sleep(60); return EAI_AGAIN; }
  return real(n, s, h, r);
}
"""


def slow_names(folder: Path) -> Path:
    """A library to preload; skips the test without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, made = folder / "slow_names.c", folder / "slow_names.so"
    source.write_text(SLOW_NAMES)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@dataclass
class Scene:
    """``redis`` is the url of the bus, "" for one in a file. ``receiver`` answers; ``slow_names`` can be preloaded."""

    name: str
    folder: Path
    loop: str
    redis: str
    receiver: Peer
    slow_names: Path
    stack: AsyncExitStack
    prefix: Sequence[str] = ()  # the command that runs it
    triggers: dict[str, Any] = field(default_factory=dict)  # by name, as manifests have them
    started: Started = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.triggers["healthy"] = {"http": {"url": f"{self.receiver.url}/{self.name}"}}

    @property
    def file(self) -> Path:
        return self.folder / "bus.db"

    async def silent(self, greeting: bytes = b"") -> Silent:
        """A server that lasts as long as the test."""
        return await self.stack.enter_async_context(silent_server(greeting))

    async def owe(self, events: int = OWED) -> None:
        """Make the bus, with so many events for each trigger."""
        bus: Bus
        if self.redis:
            settings = redis.RedisSettings(url=self.redis, name=self.name, partitions=PARTITIONS)
            bus = await redis.open_bus(settings, holder="test")
        else:
            given = {"retention": timedelta(hours=1), "retention_bytes": 1 << 30, "max_pending": 1000}
            bus = await sqlite.open_bus(sqlite.SqliteSettings(path=self.file, **given), holder="test")  # type: ignore[arg-type]
        try:
            await bus.register(SubscriptionSpec(f"s/{name}", "workflows", "changed") for name in self.triggers)
            await bus.publisher.publish(Publication([event(number, key=f"k{number}") for number in range(events)]))
        finally:
            await bus.close()

    def start(
        self, command: str, *args: str, url: str = "", env: Mapping[str, str] | None = None, **streams: Any
    ) -> None:
        """Start it, on its own bus; ``url`` is that of the bus in Redis as the process shall have it."""
        documents = [*self._bus(url), self._sensor()]
        if command != "work":
            documents.append(_on(yaml.safe_load(SOURCE), self.name))
        manifests = self.folder / "manifests.yaml"
        manifests.write_text(yaml.safe_dump_all(documents))
        given = ["-f", str(manifests), "--log-format", "json", *args]
        self.started = Started(
            self.folder / "process", command, *given, loop=self.loop, env=env, prefix=self.prefix, **streams
        )
        self.stack.callback(self.started.kill)

    def start_with_cluster(self, server: str, user: Mapping[str, Any], **more: Any) -> None:
        """Start `kubecdc run` with a kubeconfig."""
        cluster = {"server": server, **more.pop("cluster", {})}
        document = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": dict(user)}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document))
        self.start("run", "--kubeconfig", str(kubeconfig), *more.pop("args", ()), **more)

    @property
    def preloaded(self) -> dict[str, str]:
        """The environment in which slow names are slow."""
        return {"LD_PRELOAD": str(self.slow_names), "ASKED": str(self.folder / "asked")}

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that the running process brings about."""

        def met() -> object:
            self.require_running()
            return condition()

        await until(met, 60, f"{self.name}: {what}")

    async def asked(self) -> None:
        """Wait until a slow name is being looked up."""
        await self.until((self.folder / "asked").exists, "a look-up")

    async def healthy(self, events: int = OWED) -> None:
        """Wait until the trigger whose receiver answers has run for so many events."""
        path = f"/{self.name}"
        await self.until(
            lambda: sum(request.path == path for request in self.receiver.received) > events - 1, "the other trigger"
        )

    def require_running(self) -> None:
        assert self.started.process.poll() is None, f"{self.name} ended by itself: {self.started.err}"

    def _bus(self, url: str) -> Sequence[dict[str, Any]]:
        kind = {"sqlite": {"path": str(self.file)}}
        if self.redis:
            kind = {"redis": {"url": url or self.redis, "partitions": PARTITIONS}}  # type: ignore[dict-item]
        spec = {**kind, "redelivery": {"ackWait": "60s"}}
        return [{**_KIND, "kind": "EventBus", "metadata": {"name": self.name}, "spec": spec}]

    def _sensor(self) -> dict[str, Any]:
        dependency = {"name": "d", "eventSourceName": "workflows", "eventName": "changed"}
        triggers = []
        for name, trigger in self.triggers.items():
            more = {key: value for key, value in trigger.items() if key == "retryStrategy"}
            template = {key: value for key, value in trigger.items() if key not in more}
            triggers.append({"template": {"name": name, **template}, **more})
        spec = {"dependencies": [dependency], "triggers": triggers}
        return _on({**_KIND, "kind": "Sensor", "metadata": {"name": "s"}, "spec": spec}, self.name)


_KIND = {"apiVersion": "argoproj.io/v1alpha1"}


def _on(manifest: dict[str, Any], bus: str) -> dict[str, Any]:
    manifest["spec"]["eventBusName"] = bus
    return manifest


def full_pipe(stack: AsyncExitStack) -> int:
    """The writing end of a pipe that is full, and that nobody reads."""
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(write, True)
    return write
