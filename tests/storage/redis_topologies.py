"""Redis as more than one server: a cluster, and a primary with replicas under Sentinels. All on free ports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from kubecdc.storage.redis_server.url import Address
from tests.ports import free_port
from tests.storage.redis_server import START, RedisServer

SLOTS = 16384
AT_ONCE = ("--repl-diskless-sync-delay", "0")  # a replica does not wait for others that might come
QUICK = "500"  # ms without an answer after which a server is taken for dead
PRIMARY = "events"


def call(server: RedisServer, *command: str | int) -> Any:
    """The answer of the server to one command."""
    with Redis(port=server.port, decode_responses=True, protocol=2) as client:
        return client.execute_command(*command)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Servers may not answer yet."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (RedisError, OSError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"not within {START:g} s")


def follows(replica: RedisServer) -> bool:
    """Whether a replica is in sync with its primary and follows it."""
    return bool(call(replica, "INFO", "replication").get("master_link_status") == "up")


def catch_up(replica: RedisServer, primary: RedisServer) -> None:
    """Wait until a replica has all that its primary has now."""
    there = call(primary, "INFO", "replication")["master_repl_offset"]
    eventually(lambda: call(replica, "INFO", "replication")["slave_repl_offset"] >= there)


class Startable(Protocol):
    """Processes that are started and killed together."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


Servers = TypeVar("Servers", bound=Startable)


@contextmanager
def running(servers: Servers) -> Iterator[Servers]:
    """Started for the block. If the start fails, no process is left behind."""
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


class RedisCluster:
    """Primaries that share the slots evenly, and replicas of the one that has a bus of the usual name.

    It begins as if its nodes had met before: nothing needs to be agreed upon first.
    """

    def __init__(self, folder: Path, *, primaries: int = 1, replicas: int = 0) -> None:
        self.primaries = primaries
        self.nodes = [self._node(folder / str(number)) for number in range(primaries + replicas)]

    @staticmethod
    def _node(folder: Path) -> RedisServer:
        folder.mkdir()
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", QUICK)
        return RedisServer(folder, *options, "--cluster-replica-validity-factor", "0", *AT_ONCE)

    @property
    def url(self) -> str:
        return self.through(self.nodes)

    @staticmethod
    def through(nodes: Sequence[RedisServer]) -> str:
        """The URL that names just these nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    def start(self) -> None:
        for number, node in enumerate(self.nodes):
            lines = [self._line(other, of=number) for other in range(len(self.nodes))]
            text = "\n".join([*lines, f"vars currentEpoch {self.primaries} lastVoteEpoch 0", ""])
            (node.folder / "nodes.conf").write_text(text)
            node.start()
        for node in self.nodes:
            eventually(partial(self.works, node))
        for node in self.nodes[self.primaries :]:
            eventually(partial(follows, node))

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def works(self, node: RedisServer) -> bool:
        """Whether a node accepts commands."""
        return "cluster_state:ok" in str(call(node, "CLUSTER", "INFO"))

    def owner(self, tag: str) -> RedisServer:
        """The primary that has the slot of a hash tag, according to the nodes that answer."""
        slot = key_slot(tag.encode())
        for node in self.nodes:
            try:
                slots = call(node, "CLUSTER", "SLOTS")
            except (RedisError, OSError):
                continue
            port = next(primary[1] for first, last, primary, *_ in slots if first <= slot <= last)
            return next(node for node in self.nodes if node.port == port)
        raise AssertionError("no node answers")

    def id(self, node: RedisServer) -> str:
        """The id of a node in the cluster."""
        return f"{self.nodes.index(node) + 1:040x}"

    def _line(self, number: int, *, of: int) -> str:
        node = self.nodes[number]
        usual = key_slot(b"kubecdc:default") * self.primaries // SLOTS
        flags, master, slots, epoch = "slave", self.id(self.nodes[usual]), "", 0
        if number < self.primaries:
            first, last = (SLOTS * n // self.primaries for n in (number, number + 1))
            flags, master, slots, epoch = "master", "-", f" {first}-{last - 1}", number + 1
        flags = f"myself,{flags}" if number == of else flags
        address = f"127.0.0.1:{node.port}@{node.options[3]}"
        return f"{self.id(node)} {address} {flags} {master} 0 0 {epoch} connected{slots}"


class Sentinel(RedisServer):
    """A single Sentinel that watches one primary."""

    def __init__(self, folder: Path, primary: Address, *options: str) -> None:
        super().__init__(folder)
        folder.mkdir()
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {PRIMARY} {primary.host} {primary.port} 1",
            f"sentinel down-after-milliseconds {PRIMARY} {QUICK}",
            f"sentinel failover-timeout {PRIMARY} 3000",
            *options,
        ]
        self._file = folder / "sentinel.conf"
        self._file.write_text("\n".join(lines) + "\n")

    @property
    def argv(self) -> list[str]:
        return ["redis-server", str(self._file), "--sentinel"]


class RedisWithSentinel:
    """A primary, its replica, and the Sentinels that promote it. ``announced`` is the address of the primary for
    Sentinels and clients.
    """

    def __init__(self, folder: Path, *, announced: Address | None = None, sentinel: Sequence[str] = ()) -> None:
        for name in ("primary", "replica"):
            (folder / name).mkdir()
        self.primary = RedisServer(folder / "primary", *AT_ONCE)
        self.replica = RedisServer(folder / "replica", *AT_ONCE, "--replicaof", "127.0.0.1", str(self.primary.port))
        self._folder = folder
        self._announced = announced or Address("127.0.0.1", self.primary.port)
        self._options = sentinel
        self._servers = [self.primary, self.replica]
        self.sentinel: Sentinel

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{PRIMARY}/0"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        eventually(partial(follows, self.replica))
        self.sentinel = Sentinel(self._folder / "sentinel", self._announced, *self._options)
        self._servers.append(self.sentinel)
        self.sentinel.start()
        call(self.sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 200)  # ms, else it takes 10 s
        # Once it knows the replica it can put it in the primary's place.
        eventually(self._replaceable)

    def kill(self) -> None:
        for server in self._servers:
            server.kill()

    def named(self) -> int:
        """The port of the primary that the Sentinel names now."""
        return int(call(self.sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)[1])

    def _replaceable(self) -> bool:
        ((*fields,),) = call(self.sentinel, "SENTINEL", "REPLICAS", PRIMARY) or [["flags", ""]]
        known = dict(zip(fields[::2], fields[1::2], strict=True))
        return bool(known["flags"] == "slave" and known["master-link-status"] == "ok")
