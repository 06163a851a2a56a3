"""Opening the buses that manifests name; a back end is loaded by name, when it is needed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kubecdc.cli import options
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.errors import UsageError
from kubecdc.manifest.mounts import Mounts
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.redis import url
from kubecdc.storage.redis.manifest import Redis

if TYPE_CHECKING:
    from kubecdc.storage.redis import Access
    from kubecdc.watcher.election.settings import LeaseSettings

T = TypeVar("T")


def holder() -> str:
    """This process, for people: ``<host>/<pid>``."""
    return f"{socket.gethostname()}/{os.getpid()}"


def place(manifest: EventBus) -> str:
    """Where the bus is, for people: the absolute path of its file, or the URL of its server without the secrets."""
    if manifest.spec.redis is not None:
        return url.parse(manifest.spec.redis.url).place
    assert manifest.spec.sqlite is not None  # the manifest's models refuse the others
    return str(Path(manifest.spec.sqlite.path).absolute())


@asynccontextmanager
async def opened(
    manifest: EventBus, *, create: bool = True, lease: LeaseSettings | None = None, mounts: Mounts
) -> AsyncIterator[Bus]:
    """The bus of a manifest, closed at the end. Without `create`, a bus that does not exist is a UsageError.

    The durations of a `lease` are those of the bus's own elector too, where it has any. Its passwords and certificates
    are in ``mounts``.
    """
    bus = await (_redis(manifest, create, lease, mounts) if manifest.spec.redis else _sqlite(manifest, create))
    try:
        yield bus
    finally:
        await bus.close()


async def _sqlite(manifest: EventBus, create: bool) -> Bus:
    from kubecdc.storage.sqlite import SqliteSettings, open_bus

    spec = manifest.spec
    settings = SqliteSettings(
        path=Path(place(manifest)),
        ack_wait=spec.redelivery.ack_wait,
        retention=spec.retention,
        retention_bytes=spec.retention_bytes,
        max_pending=spec.max_pending,
    )
    if not create and not settings.path.exists():
        raise UsageError(f"there is no bus at {settings.path} yet", hint="start `kubecdc run`, `watch` or `work` first")
    return await open_bus(settings, holder=holder())


async def _redis(manifest: EventBus, create: bool, lease: LeaseSettings | None, mounts: Mounts) -> Bus:
    from kubecdc.storage.redis import LeadSettings, RedisSettings, open_bus

    spec = manifest.spec
    assert spec.redis is not None
    settings = RedisSettings(
        url=spec.redis.url,
        name=manifest.name,
        partitions=spec.redis.partitions,
        ack_wait=spec.redelivery.ack_wait,
        retention=spec.retention,
        retention_bytes=spec.retention_bytes,
        max_pending=spec.max_pending,
        access=_access(spec.redis, mounts),
        lead=LeadSettings(lease.duration, lease.renew_deadline, lease.retry_period) if lease else LeadSettings(),
    )
    return await open_bus(settings, holder=holder(), create=create)


def _access(manifest: Redis, mounts: Mounts) -> Access:
    """What the manifest says beside the URL."""
    from kubecdc.storage.redis import Access

    def secret(ref: KeyRef | None) -> Callable[[], str] | None:
        return partial(mounts.secret, ref) if ref else None

    said: dict[str, str | bool | int] = {}
    if tls := manifest.tls:
        files = (tls.ca_cert_secret, tls.client_cert_secret, tls.client_key_secret)
        for name, ref in zip(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), files, strict=True):
            if ref:
                said[name] = str(mounts.secret_path(ref))
        if tls.insecure_skip_verify:
            said |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return Access(
        manifest.username,
        secret(manifest.password),
        manifest.sentinel_username,
        secret(manifest.sentinel_password),
        said,
    )


def owed(manifests: Manifests, bus: EventBus) -> list[SubscriptionSpec]:
    """Every subscription that the manifests name on a bus: the Sensors' triggers and the bus's own."""
    from kubecdc.workers.worker import subscriptions

    own = [SubscriptionSpec(s.name, s.event_source_name, s.event_name) for s in bus.spec.subscriptions]
    return subscriptions(s for s in manifests.sensors.values() if s.spec.event_bus_name == bus.name) + own


def used(manifests: Manifests, names: Iterable[str]) -> list[EventBus]:
    """The buses of these names, each once, in the order of the manifests."""
    wanted = set(names)
    return [bus for name, bus in manifests.buses.items() if name in wanted]


def require(capable: bool, manifest: EventBus, what: str) -> None:
    """Raise UsageError if the bus cannot do what a command asks of it."""
    if not capable:
        raise UsageError(f"the bus {manifest.name} cannot {what}: its type has no means for it")


def on_each(
    manifests: Manifests,
    do: Callable[[Bus, EventBus], Awaitable[list[T]]],
    *,
    only: str | None = None,
    lease: LeaseSettings | None = None,
) -> list[T]:
    """Open every bus that is there already, or `only` one, and gather what `do` finds on it."""
    mounts = options.mounted()

    async def each() -> list[T]:
        found: list[T] = []
        for manifest in _chosen(manifests, only):
            async with opened(manifest, create=False, lease=lease, mounts=mounts) as bus:
                found += await do(bus, manifest)
        return found

    return asyncio.run(each())


def on_one(manifests: Manifests, name: str | None, do: Callable[[Bus, EventBus], Awaitable[T]]) -> T:
    """Open the bus of that name, or the only one there is, and return what `do` does. Raises UsageError."""
    chosen = _chosen(manifests, name)
    if len(chosen) > 1:
        names = ", ".join(manifest.name for manifest in chosen)
        raise UsageError(f"there are several buses: {names}", hint="name one with --bus")

    mounts = options.mounted()

    async def one() -> T:
        async with opened(chosen[0], create=False, mounts=mounts) as bus:
            return await do(bus, chosen[0])

    return asyncio.run(one())


def _chosen(manifests: Manifests, name: str | None) -> list[EventBus]:
    if name is None:
        return list(manifests.buses.values())
    if name not in manifests.buses:
        raise UsageError(f"there is no EventBus {name!r}", hint=f"there is {', '.join(manifests.buses)}")
    return [manifests.buses[name]]
