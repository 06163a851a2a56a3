"""Nothing of an object is in a message of SQS, nor in the file beside it, where the bus encrypts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.sqs.models import sqs_backends

from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.encoding import Encoded
from tests.storage.at_rest import fits_when_encrypted, is_stored_nowhere
from tests.storage.sqs.conftest import SqsHarness

ACCOUNT = "123456789012"  # moto's


@pytest.fixture
def messages(moto_fifo: SqsHarness) -> Callable[[], list[str]]:
    """All that moto has."""

    def found() -> list[str]:
        queues = sqs_backends[ACCOUNT][moto_fifo.settings.region].queues.values()
        return [str(vars(message)) for queue in queues for message in queue._messages]

    return found


async def test_sqs(moto_fifo: SqsHarness, messages: Callable[[], list[str]], tmp_path: Path) -> None:
    async def raw() -> bytes:
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("store.db"))
        return "\n".join(messages()).encode() + files

    await is_stored_nowhere(moto_fifo.open, raw, tmp_path / "secrets")


async def test_sizes(moto_fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, sent, call = 256 << 10, [0], Client.call

    async def measured(self: Client, operation: str, **given: Any) -> Any:
        """With the bytes that SQS counts."""
        for entry in given.get("Entries", []) if operation == "send_message_batch" else []:
            attributes = {name: one["StringValue"] for name, one in entry["MessageAttributes"].items()}
            sent.append(Encoded(entry["MessageBody"], attributes).size)
        return await call(self, operation, **given)

    monkeypatch.setattr(Client, "call", measured)
    moto_fifo.settings = replace(moto_fifo.settings, message_bytes=limit)
    await fits_when_encrypted(await moto_fifo.open(), lambda: sent, limit, tmp_path / "secrets")
    assert len(sent) == 4
