"""What an operator may set on a bus in a Redis, whatever its kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import LeadTimes
from kubecdc.storage.redis_server.url import BadUrl, RedisUrl, parse

Password = Callable[[], Awaitable[str]]


@asynccontextmanager
async def no_certificates() -> AsyncIterator[Mapping[str, str]]:
    """Options for a connection that has the certificates of its URL, or none."""
    yield {}


@dataclass(frozen=True)
class Access:
    """What may be left out of the URL. What is given here takes precedence over it.

    Passwords and certificates are read anew for each connection: a Secret is rotated under a running process. They
    raise KubecdcError. ``tls`` has redis-py's options, for a URL that asks for TLS, and ``certificates`` those that
    name files, which are there as long as the context is.
    """

    username: str = ""
    password: Password | None = None
    sentinel_username: str = ""
    sentinel_password: Password | None = None
    tls: Mapping[str, str | bool | int] = field(default_factory=dict)
    certificates: Callable[[], AbstractAsyncContextManager[Mapping[str, str]]] = no_certificates


@dataclass(frozen=True)
class ServerSettings:
    """``url`` of the server, ``name`` of the bus there: several buses may share a Redis.

    ``ack_wait`` is how long a worker that is not heard of keeps what it has; ``max_pending`` is the backlog of a
    subscription at which commits are refused; ``lead`` is how long a lead lasts.
    """

    url: str
    name: str = "default"
    ack_wait: timedelta = timedelta(seconds=30)
    max_pending: int = 1_000_000
    lead: LeadTimes = field(default_factory=LeadTimes)
    access: Access = Access()

    @property
    def prefix(self) -> str:
        """Of every key. A hash tag, so that all are in one slot of a cluster and a script can reach them."""
        return f"{{kubecdc:{self.name}}}"

    @property
    def place(self) -> str:
        """Where it is, for people: the URL without user, password and options."""
        return self.server.place

    @cached_property
    def server(self) -> RedisUrl:
        """What the URL says, with what ``access`` says of it. Raises UsageError."""
        try:
            url = parse(self.url)
        except BadUrl as e:
            raise UsageError(f"the URL of the bus {e}", hint=e.hint) from None
        return replace(url, tls=url.tls if url.tls is None else {**url.tls, **self.access.tls})
