"""Calls to SQS: once each, with a deadline, with credentials and a region."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.sqs import client as module
from kubecdc.storage.sqs import open_queue
from kubecdc.storage.sqs.client import SECONDS, Client
from kubecdc.storage.sqs.settings import SqsSettings
from tests.ports import free_port


class Server:
    """Counts the requests, and answers to none or with the same answer to each."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.requests = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                if self.answer:
                    writer.write(self.answer)
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = await Client.connect(SqsSettings(region="eu-west-1", endpoint_url=url))
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"429 Too Many Requests", b"500 Internal Server Error"])
async def test_a_call_is_not_repeated(status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    async with Server(answer).running() as server, connected(server.url) as client:
        with pytest.raises(Unavailable, match="ListQueues"):
            await client.call("list_queues")
        assert server.requests == 1


async def test_a_call_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ", 0.2)
    begin = asyncio.get_running_loop().time()
    async with Server().running() as server, connected(server.url) as client:
        with pytest.raises(Unavailable, match="ListQueues"):
            await client.call("list_queues")
        assert server.requests == 1
    assert asyncio.get_running_loop().time() - begin < SECONDS


async def test_a_call_that_has_waited_for_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server().running() as server, connected(server.url) as client:
        monkeypatch.setattr(module, "_LEAVE", -1.0)  # as if the threads, or the credentials, had taken longer
        with pytest.raises(Unavailable, match="was not sent"):
            await client.call("send_message_batch", QueueUrl=f"{server.url}/1/q", Entries=[])
        assert server.requests == 0


async def test_nobody_answers() -> None:
    async with connected(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(Unavailable, match="did not answer to ListQueues"):
            await client.call("list_queues")


async def test_after_the_end_nothing_is_sent() -> None:
    async with connected("http://127.0.0.1:1") as client:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await client.call("list_queues")


async def test_credentials_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SqsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UsageError, match="no AWS credentials") as e:
        await open_queue(settings, holder="x")
    assert "IAM role" in e.value.hint
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match="no AWS credentials"):
        await open_queue(settings, holder="x")


async def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SqsSettings(endpoint_url="http://127.0.0.1:1")
    with pytest.raises(UsageError, match="no AWS region") as e:
        await open_queue(settings, holder="x")
    assert "sqs.region" in e.value.hint
    with pytest.raises(UsageError, match="mars is"):
        await open_queue(replace(settings, region="mars is"), holder="x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(Unavailable):
        await open_queue(settings, holder="x")
