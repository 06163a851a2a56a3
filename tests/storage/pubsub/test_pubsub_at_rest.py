"""Nothing of an object is in a message of Pub/Sub, nor in the file beside it, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

from kubecdc.storage.pubsub.messages import size_of
from kubecdc.storage.pubsub.settings import MESSAGE_BYTES
from tests.storage.at_rest import fits_when_encrypted, is_stored_nowhere
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub


async def test_pubsub(harness: PubSubHarness, fake: FakePubSub, tmp_path: Path) -> None:
    async def raw() -> bytes:
        published = [one.content for topic in fake.history.values() for one in topic]
        messages = [content.data + str(content.attributes).encode() for content in published]
        files = [file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("checkpoint.db")]
        return b"\n".join(messages + files)

    await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")


async def test_sizes(harness: PubSubHarness, fake: FakePubSub, tmp_path: Path) -> None:
    def sizes() -> list[int]:
        return [size_of(one.content) for topic in fake.history.values() for one in topic]

    await fits_when_encrypted(await harness.open(), sizes, MESSAGE_BYTES, tmp_path / "secrets")
    assert len(sizes()) == 3
