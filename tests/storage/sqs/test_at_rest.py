"""Nothing of an object is in a message of SQS, nor in the file beside it, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

from moto.sqs.models import sqs_backends

from tests.storage.at_rest import is_stored_nowhere
from tests.storage.sqs.conftest import SqsHarness

ACCOUNT = "123456789012"  # moto's


async def test_sqs(moto_fifo: SqsHarness, tmp_path: Path) -> None:
    async def raw() -> bytes:
        queues = sqs_backends[ACCOUNT][moto_fifo.settings.region].queues.values()
        messages = [str(vars(message)) for queue in queues for message in queue._messages]
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("store.db"))
        return "\n".join(messages).encode() + files

    await is_stored_nowhere(moto_fifo.open, raw, tmp_path / "secrets")
