"""How a command reaches a Redis, and what it says when it may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis

from tests.apiserver.certificates import Authority
from tests.cli.rig import Desk
from tests.ports import free_port
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import RedisCluster, RedisWithSentinel, call
from tests.storage.test_redis_access import RULES

pytestmark = pytest.mark.long

BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec: {{redis: {{partitions: 2, {redis}}}}}
"""
WORD = "geheim"


def bus(desk: Desk, redis: str) -> None:
    desk.write("bus.yaml", BUS.format(redis=redis))


def secret(desk: Desk, name: str, key: str, content: str | bytes) -> None:
    """A key of a Secret as a pod has it mounted."""
    folder = desk.folder / "secrets" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / key).write_bytes(content.encode() if isinstance(content, str) else content)


@asynccontextmanager
async def guarded(folder: Path, *options: str) -> AsyncIterator[RedisServer]:
    """A server that lets in a user with the rights in the manual, and nobody else."""
    redis_server.require()
    server = RedisServer(folder, *options)
    try:
        await asyncio.to_thread(server.start)
        call(server, "ACL", "SETUSER", "kubecdc", "on", f">{WORD}", *RULES[0].split())
        call(server, "ACL", "SETUSER", "admin", "on", f">{WORD}", "+@all")
        call(server, "ACL", "SETUSER", "default", "off")
        yield server
    finally:
        server.kill()


async def test_watch_work_and_operator_with_secrets_tls_and_the_rights_in_the_manual(
    desk: Desk, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", "redis")
    authority.issue("client", "kubecdc")
    for key in ("ca.crt", "client.crt", "client.key"):
        secret(desk, "certificates", key, (tmp_path / key).read_bytes())
    secret(desk, "redis", "password", f"{WORD}\n")
    port = free_port()
    files = ("--tls-cert-file", "server.crt", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.crt")
    options = [str(tmp_path / option) if "." in option else option for option in files]
    async with guarded(tmp_path, "--tls-port", str(port), *options):
        refs = ", ".join(
            f"{field}: {{name: certificates, key: {key}}}"
            for field, key in {
                "caCertSecret": "ca.crt",
                "clientCertSecret": "client.crt",
                "clientKeySecret": "client.key",
            }.items()
        )
        bus(
            desk,
            f"url: 'rediss://127.0.0.1:{port}', username: kubecdc, password: {{name: redis, key: password}}, "
            f"tls: {{{refs}}}",
        )
        mounted = ("--secrets-dir", str(desk.folder / "secrets"))
        async with desk.running("watch", *mounted) as watch, desk.running("work", *mounted) as work:
            await watch.until('"leading"')
            await desk.create("flow")
            await work.until('"flow"', out=True)
            for command in (["bus", "show"], ["checkpoint", "show"], ["dlq", "list"]):
                done = await desk.call(*command, *mounted)
                assert done.code == 0, done.err
            replay = await desk.call("replay", "--subscription", "print/line", "--yes", *mounted)
            assert replay.code == 0, replay.err
        pruned = await desk.call("bus", "prune", "--yes", *mounted)
        assert pruned.code == 0, pruned.err
        assert WORD not in watch.out + watch.err + work.out + work.err
        bus(desk, f"url: 'rediss://127.0.0.1:{port}', username: kubecdc, password: {{name: redis, key: password}}")
        stranger = await desk.call("bus", "show", *mounted)
        assert stranger.code == 1
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.err
        assert "caCertSecret" in stranger.err
        async with desk.running("work", *mounted) as waiting:  # the server's certificate may be the one to change
            await waiting.until("waiting for the bus.*CERTIFICATE_VERIFY_FAILED.*caCertSecret|caCertSecret.*waiting")
        bus(desk, f"url: 'rediss://127.0.0.1:{port}', tls: {{{refs}}}")
        without = await desk.call("bus", "show")
        assert (without.code, without.out) == (1, ""), "the certificates are files of the Secret too"
        assert "key `ca.crt` of Secret `certificates` is not mounted: there is no file " in without.err


@pytest.fixture
def server(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """Where the user of these tests may find nothing."""
    call(shared_redis, "ACL", "SETUSER", "barred", "on", f">{WORD}", "~*", "+info", "+client|setname")
    yield shared_redis
    call(shared_redis, "ACL", "DELUSER", "barred")


REFUSED = [
    (f"url: 'redis://user:{WORD}@127.0.0.1:{{port}}'", 2, "redis://127.0.0.1:{port}/0 refuses the login: ", "user"),
    (f"url: 'redis://barred:{WORD}@127.0.0.1:{{port}}'", 2, "forbids what a bus needs", "ACL rule"),
    ("url: 'redis+cluster://127.0.0.1:{port}'", 2, "127.0.0.1:{port} is not in a cluster", "redis://localhost"),
    ("url: 'redis+sentinel://127.0.0.1:{port}/main'", 2, "127.0.0.1:{port} is no Sentinel", "redis://localhost"),
    (f"url: 'redis+sentinel://u:{WORD}@127.0.0.1:1/main'", 1, "no Sentinel answers: 127.0.0.1:1", "are they up"),
    (f"url: 'redis+cluster://u:{WORD}@127.0.0.1:1'", 1, "no node answers: 127.0.0.1:1", "are they up"),
    ("url: 'redis://127.0.0.1:{port}', password: {{name: redis, key: password}}", 1, "/redis/password", "mount it"),
    (f"url: 'redis://u:{WORD}/@127.0.0.1'", 2, "spec.redis.url: cannot be read", "%2F"),
    (
        f"url: 'redis://127.0.0.1', password: {WORD}",
        2,
        "spec.redis.password: must name an object and a key",
        "{{name: NAME, key: KEY}}",
    ),
    (f"url: 'redis://:{WORD}@h', password: {{{{name: a, key: b}}}}", 2, "says the password twice", "leave it out"),
    ("url: 'redis://h', password: 5678", 2, "spec.redis.password: must name an object and a key", ""),
    ("url: 'redis://h', tls: {{insecureSkipVerify: true}}", 2, "does not ask for TLS", "rediss"),
    ("url: 'redis://h', sentinelUsername: s", 2, "names no Sentinels", "redis+sentinel://"),
]


@pytest.mark.parametrize(("redis", "code", "message", "hint"), REFUSED)
async def test_what_is_wrong_is_one_clear_line(
    desk: Desk, server: RedisServer, redis: str, code: int, message: str, hint: str
) -> None:
    bus(desk, redis.format(port=server.port))
    done = await desk.call("bus", "show")
    assert done.code == code, done.err
    assert message.format(port=server.port) in done.err
    assert hint.format() in done.err
    assert WORD not in done.out + done.err


async def test_servers_that_know_better_are_heard(desk: Desk, tmp_path: Path) -> None:
    redis_server.require()
    servers = RedisWithSentinel(tmp_path)
    try:
        await asyncio.to_thread(servers.start)
        bus(desk, f"url: '{servers.url.replace('events', 'other')}'")
        done = await desk.call("work")
        assert done.code == 2
        assert "the Sentinels know no primary 'other'" in done.err
        assert "SENTINEL MASTERS" in done.err
        bus(desk, f"url: 'redis://127.0.0.1:{servers.sentinel.port}'")
        done = await desk.call("bus", "show")
        assert done.code == 2
        assert "is a Sentinel" in done.err
    finally:
        servers.kill()


async def test_a_cluster_that_is_down_says_so(desk: Desk, tmp_path: Path) -> None:
    redis_server.require()
    cluster = RedisCluster(tmp_path, primaries=2)
    try:
        await asyncio.to_thread(cluster.start)
        other = next(node for node in cluster.nodes if node is not cluster.owner("kubecdc:default"))
        bus(desk, f"url: 'redis://127.0.0.1:{other.port}'")
        done = await desk.call("bus", "show")
        assert done.code == 2
        assert "is a node of a cluster, and another has the bus" in done.err
        call(cluster.owner("kubecdc:default"), "CLUSTER", "FLUSHSLOTS")
        bus(desk, f"url: '{cluster.url}'")
        done = await desk.call("bus", "show")
        assert done.code == 1
        assert "slot" in done.err
        assert "redis-cli --cluster check" in done.err
    finally:
        cluster.kill()


async def test_a_redis_that_is_too_old_is_refused(desk: Desk) -> None:
    """It answers INFO as Redis 6.0 does, and nothing else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            info = b"# Server\r\nredis_version:6.0.16\r\nredis_mode:standalone\r\n"
            writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as old:
        bus(desk, f"url: 'redis://127.0.0.1:{old.sockets[0].getsockname()[1]}'")
        done = await desk.call("work")
    assert done.code == 1
    assert "is Redis 6.0.16, a bus needs 6.2 or newer" in done.err
    assert "upgrade it" in done.err


async def test_a_user_that_is_barred_at_work_ends_the_process_with_one_line(desk: Desk, tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        bus(desk, f"url: 'redis://kubecdc:{WORD}@127.0.0.1:{server.port}'")
        async with desk.running("watch") as watch, desk.running("work") as work:
            await watch.until('"leading"')
            await desk.create("flow")
            await work.until('"flow"', out=True)
            with Redis.from_url(f"redis://admin:{WORD}@127.0.0.1:{server.port}") as client:
                client.execute_command("ACL", "SETUSER", "kubecdc", "-evalsha", "-eval")
            for process in (watch, work):
                async with asyncio.timeout(60):
                    assert await process.process.wait() == 2
        for process in (watch, work):
            assert "forbids what a bus needs" in process.err
            assert "Traceback" not in process.err
            assert "redis.credentials" not in process.err, "the library has nothing to say of each connection"
            assert WORD not in process.out + process.err
