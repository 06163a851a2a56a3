"""The brokers that kubecdc and the bare clients are measured on, each a server of its own on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from benchmarks.stage import EVERYSEC, Stage, staged
from tests.storage.redis_server import RedisServer


class Missing(Exception):
    """This machine lacks what a figure needs; the text says what."""


@dataclass(frozen=True)
class Broker:
    """A kind of broker.

    ``name`` is that of its field in an EventBus and that of its bare loop, ``package`` the client library. ``started``
    runs a server on a stage and gives its port. Of the server behind a port, ``bus`` is the field of an EventBus, and
    ``environment`` leads clients to it. ``events`` take it some seconds.
    """

    name: str
    package: str
    started: Callable[[Stage], AbstractAsyncContextManager[int]]
    bus: Callable[[int], Mapping[str, object]]
    environment: Callable[[int], dict[str, str]]
    events: int
    holds_checkpoint: bool = False

    @asynccontextmanager
    async def served(self) -> AsyncIterator[tuple[Stage, int]]:
        """A fresh server, on a stage of its own. Raises Missing."""
        if find_spec(self.package) is None:
            raise Missing(f"the Python package `{self.package}` is not installed")
        with staged(redis=False) as stage:
            try:
                async with self.started(stage) as port:
                    yield stage, port
            except pytest.skip.Exception as e:  # the servers are those of the tests
                raise Missing(str(e)) from e


@asynccontextmanager
async def _elasticmq(stage: Stage) -> AsyncIterator[int]:
    from tests.storage.sqs import elasticmq

    elasticmq.JARS.require()
    server = elasticmq.ElasticMq(stage.folder)
    try:
        server.start()
        yield server.port
    finally:
        server.kill()


@asynccontextmanager
async def _pubsub(stage: Stage) -> AsyncIterator[int]:
    yield await stage.served("benchmarks.pubsub")


@asynccontextmanager
async def redis_server(stage: Stage) -> AsyncIterator[int]:
    """A redis-server on the stage."""
    server = RedisServer(stage.folder, *EVERYSEC)
    server.start()
    try:
        yield server.port
    finally:
        server.kill()


def redis_url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


SQS = Broker(
    "sqs",
    "boto3",
    _elasticmq,
    lambda port: {
        "region": "eu-west-1",
        "endpointUrl": f"http://127.0.0.1:{port}",
        "maxMessageBytes": "256Ki",  # the limit of ElasticMQ
    },
    lambda port: {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{port}",
    },
    events=1000,
)
PUBSUB = Broker(
    "pubsub",
    "google.pubsub_v1",
    _pubsub,
    lambda port: {"projectID": "the-bench"},
    lambda port: {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{port}"},
    events=5000,
)
RQ = Broker(
    "rq",
    "rq",
    redis_server,
    lambda port: {"url": redis_url(port)},
    lambda port: {"BARE_REDIS_URL": redis_url(port)},
    events=4000,
    holds_checkpoint=True,
)
BROKERS = (SQS, PUBSUB, RQ)
