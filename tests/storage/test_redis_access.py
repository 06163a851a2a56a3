"""Access to Redis: TLS, ACL users, unix sockets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server import client
from kubecdc.storage.redis_server.settings import Access
from kubecdc.storage.redis_server.url import Address
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.apiserver.certificates import Authority
from tests.ports import free_port
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import PRIMARY, RedisCluster, Sentinel, call, running

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "storage/redis_server", ROOT / "storage/redis"]
RULES = re.findall(r"^ACL SETUSER kubecdc on >PASSWORD (.*)$", (ROOT / "docs/manifests.md").read_text(), re.MULTILINE)
SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


@asynccontextmanager
async def opened(url: str, access: Access | None = None) -> AsyncIterator[RedisBus]:
    bus = await open_bus(RedisSettings(url, partitions=2, access=access or Access()), holder="one")
    try:
        yield bus
    finally:
        await bus.close()


async def use(bus: RedisBus) -> None:
    """A commit, and its delivery."""
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(leader.number))
    async with Receiver.of(bus, SUB.name) as receiver:
        assert await receiver.acked(1) == [event(leader.number - 1).id]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    authority.issue("server", "redis")
    authority.issue("client", "kubecdc")
    return folder


def tls(certificates: Path, port: int) -> tuple[str, ...]:
    """Options of a server that speaks TLS on that port and requires a certificate."""
    names = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}
    files = [part for name, file in names.items() for part in (f"--tls-{name}-file", str(certificates / file))]
    return ("--tls-port", str(port), "--tls-auth-clients", "yes", *files)


class TlsServer(RedisServer):
    """A server that also speaks TLS, on another port."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.tls_port = free_port()
        super().__init__(folder, *tls(certificates, self.tls_port))


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[TlsServer]:
    redis_server.require()
    with running(TlsServer(tmp_path_factory.mktemp("tls"), certificates)) as server:
        yield server


def ours(certificates: Path) -> str:
    """The options of a URL that name the authority and our certificate."""
    files = {"ca_certs": "ca.crt", "certfile": "client.crt", "keyfile": "client.key"}
    return "&".join(f"ssl_{name}={certificates / file}" for name, file in files.items())


async def test_tls_with_an_authority_and_a_certificate_of_our_own(tls_server: TlsServer, certificates: Path) -> None:
    for host in ("127.0.0.1", "localhost"):
        async with opened(f"rediss://{host}:{tls_server.tls_port}/0?{ours(certificates)}") as bus:
            await use(bus)


async def test_tls_to_sentinels_and_the_primary_they_name(tmp_path: Path, certificates: Path) -> None:
    redis_server.require()
    server = TlsServer(tmp_path, certificates)
    port = free_port()
    options = " ".join(tls(certificates, port)).replace("--", "\n").strip().splitlines()
    sentinel = Sentinel(tmp_path / "sentinel", Address("127.0.0.1", server.tls_port), *options, "tls-replication yes")
    try:
        server.start()
        sentinel.start()
        async with opened(f"rediss+sentinel://127.0.0.1:{port}/{PRIMARY}?{ours(certificates)}") as bus:
            await use(bus)
    finally:
        sentinel.kill()
        server.kill()


async def test_tls_to_a_cluster(tmp_path: Path, certificates: Path) -> None:
    redis_server.require()
    cluster = RedisCluster(tmp_path)
    (node,) = cluster.nodes
    port = free_port()
    node.options = (*node.options, "--tls-cluster", "yes", *tls(certificates, port))
    try:
        cluster.start()
        async with opened(f"rediss+cluster://127.0.0.1:{port}?{ours(certificates)}") as bus:
            await use(bus)
    finally:
        cluster.kill()


BROKEN = [
    ("{rediss}", "CERTIFICATE_VERIFY_FAILED", "tls.caCertSecret"),
    ("{rediss}?ssl_ca_certs={folder}/ca.crt", "does not answer", "certificate"),  # which it may not get to say
    ("{rediss}?ssl_ca_certs={folder}/none.crt", "none.crt", "cannot be read"),
    ("rediss://127.0.0.1:{plain}", "does not answer", "redis instead of rediss"),
    ("redis://127.0.0.1:{port}", "does not answer", "rediss instead of redis"),
]


async def test_where_nobody_listens_nothing_is_said_of_tls() -> None:
    with pytest.raises(Unavailable) as error:
        async with opened(f"redis://127.0.0.1:{free_port()}/0"):
            pass
    assert error.value.hint == "is it up, and can this machine reach it?"


@pytest.mark.parametrize(("url", "message", "hint"), BROKEN)
async def test_tls_that_fails_says_why_and_what_to_do(
    tls_server: TlsServer, certificates: Path, url: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_DEADLINE", 1.0)  # seconds: a server without TLS waits for more
    rediss = f"rediss://127.0.0.1:{tls_server.tls_port}"
    filled = url.format(rediss=rediss, folder=certificates, plain=tls_server.port, port=tls_server.tls_port)
    with pytest.raises((Unavailable, UsageError), match=message) as refused:
        async with opened(filled):
            pass
    assert hint in f"{refused.value} {refused.value.hint}"


async def test_a_host_that_the_certificate_does_not_name_is_refused(tls_server: TlsServer, certificates: Path) -> None:
    url = f"rediss://127.0.0.2:{tls_server.tls_port}/0?{ours(certificates)}"
    call(tls_server, "CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2")
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        async with opened(url):
            pass
    async with opened(f"{url}&ssl_check_hostname=false"):
        pass


async def test_a_unix_socket(tmp_path: Path) -> None:
    redis_server.require()
    path = tmp_path / "redis.sock"
    server = RedisServer(tmp_path, "--unixsocket", str(path), "--requirepass", "geheim")
    try:
        server.start()
        for url in (f"unix://{path}?db=3&password=geheim", f"unix://:geheim@{path}"):
            async with opened(url) as bus:
                await use(bus)
        with pytest.raises(UsageError, match="refuses the login"):
            async with opened(f"unix://{path}"):
                pass
    finally:
        server.kill()
    with pytest.raises(Unavailable, match="does not answer"):
        async with opened(f"unix://{path}"):
            pass


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with a user that has the rights which the manual names, and no more."""
    redis_server.require()
    with running(RedisServer(tmp_path)) as server:
        call(server, "ACL", "SETUSER", "kubecdc", "on", ">geheim", *RULES[0].split())
        yield server


async def test_the_rights_in_the_manual_suffice_and_each_is_needed(guarded: RedisServer) -> None:
    url = f"redis://kubecdc:geheim@127.0.0.1:{guarded.port}/1"
    async with opened(url) as bus:
        await use(bus)
    for right in (right for right in RULES[0].split() if right.startswith("+")):
        if right in ("+role", "+cluster|slots"):  # for Sentinel and Cluster
            continue
        call(guarded, "ACL", "SETUSER", "kubecdc", right.replace("+", "-"))
        call(guarded, "SCRIPT", "FLUSH")  # or it would not be sent
        with pytest.raises(UsageError, match="forbids what a bus needs") as refused:
            async with opened(url):
                pass
        assert right[1:].partition("|")[0] in str(refused.value).lower()
        call(guarded, "ACL", "SETUSER", "kubecdc", right)


async def test_another_bus_is_closed_to_the_user(guarded: RedisServer) -> None:
    with pytest.raises(UsageError, match="forbids") as refused:
        await open_bus(RedisSettings(f"redis://kubecdc:geheim@127.0.0.1:{guarded.port}", name="other"), holder="one")
    assert "{kubecdc:other}*" in str(refused.value)


async def test_a_right_that_is_taken_away_at_work_loses_nothing(guarded: RedisServer) -> None:
    async with opened(f"redis://kubecdc:geheim@127.0.0.1:{guarded.port}") as bus:
        await bus.register([SUB])
        leader = await Leader.take(bus)
        batch = leader.batch([event(0)])
        call(guarded, "ACL", "SETUSER", "kubecdc", "-xadd")
        with pytest.raises(UsageError, match="forbids"):
            await leader.send(batch)
        call(guarded, "ACL", "SETUSER", "kubecdc", "+xadd")
        await leader.send(batch)
        async with Receiver.of(bus, SUB.name) as receiver:
            assert await receiver.acked(1) == [event(0).id]


async def test_a_password_is_read_anew_for_each_connection(guarded: RedisServer) -> None:
    words = ["geheim"]

    async def word() -> str:
        return words[-1]

    access = Access(username="kubecdc", password=word)
    async with opened(f"redis://127.0.0.1:{guarded.port}", access) as bus:
        call(guarded, "ACL", "SETUSER", "kubecdc", "<geheim", ">rotated")
        words.append("rotated")
        call(guarded, "CLIENT", "KILL", "USER", "kubecdc")
        with suppress(Unavailable):  # where the connection breaks under it
            await bus.subscriptions()
        await use(bus)


async def test_users_of_sentinels_are_their_own(guarded: RedisServer, tmp_path: Path) -> None:
    async def word() -> str:
        return "secret"

    sentinel = Sentinel(tmp_path / "sentinel", Address("127.0.0.1", guarded.port))
    try:
        sentinel.start()
        call(sentinel, "ACL", "SETUSER", "finder", "on", ">secret", *RULES[1].split())
        call(sentinel, "ACL", "SETUSER", "default", "off")
        url = f"redis+sentinel://kubecdc:geheim@127.0.0.1:{sentinel.port}/{PRIMARY}"
        async with opened(f"{url}?sentinel_username=finder&sentinel_password=secret") as bus:
            await use(bus)
        async with opened(url, Access(sentinel_username="finder", sentinel_password=word)):
            pass
        with pytest.raises(UsageError, match=r"Sentinel .* refuses the login") as refused:
            async with opened(url):
                pass
        assert "sentinelPassword" in refused.value.hint
    finally:
        sentinel.kill()


def test_the_rights_are_those_of_every_command_that_is_sent() -> None:
    scripts = {path: path.read_text() for folder in FOLDERS for path in folder.rglob("*.lua")}
    used = {name for text in scripts.values() for name in re.findall(r"redis\.p?call\('([A-Z]+)'", text)}
    used |= {name for text in scripts.values() for name in re.findall(r"apply\('([A-Z]+)'", text)}
    for path in (path for folder in FOLDERS for path in folder.rglob("*.py")):
        used |= set(re.findall(r"""keyed\(\s*"([A-Z]+)\"""", path.read_text()))
    tried = set(re.findall(r"\{'([A-Z]+)'", scripts[FOLDERS[-1] / "lua/administration/rights.lua"]))
    assert used - tried == {"INFO"}  # which the check sends itself
    allowed = {right[1:].upper() for right in RULES[0].split() if right.startswith("+")}
    beside = {"EVAL", "EVALSHA", "INFO", "ROLE", "SELECT", "CLIENT|SETNAME", "CLUSTER|SLOTS"}
    assert allowed == tried | beside


async def test_a_full_redis_can_be_opened_and_worked_on(guarded: RedisServer) -> None:
    url = f"redis://kubecdc:geheim@127.0.0.1:{guarded.port}"
    async with opened(url) as bus:
        await bus.register([SUB])
        await (await Leader.take(bus)).commit(event(0))
        call(guarded, "CONFIG", "SET", "maxmemory", "1")
    async with opened(url) as bus:
        await bus.register([SUB])
        async with Receiver.of(bus, SUB.name) as receiver:
            assert await receiver.acked(1) == [event(0).id]
