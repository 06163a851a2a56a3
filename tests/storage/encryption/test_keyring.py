"""Keys that are replaced in their Secret, that are no keys, and that are away for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kubecdc import facts
from kubecdc.cluster.keys import Keys
from kubecdc.errors import Unavailable
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.contracts.errors import Locked
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption import keyring
from kubecdc.storage.encryption.codec import CLEAR, require_clear
from kubecdc.storage.encryption.keyring import KeyRing
from kubecdc.storage.encryption.sealing import read_key
from kubecdc.storage.testing.actors import event
from tests.storage.keys import NEW, OLD, KeyFolder, key_text, refs

NAME = "encryption of default"


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "secrets").write(NEW, OLD)


def id_of(name: str) -> str:
    return read_key(key_text(name).encode()).id


async def ring(folder: KeyFolder, *names: str) -> KeyRing:
    made = folder.ring(*names)
    await made.refresh()
    return made


async def test_the_first_key_seals_and_each_opens(folder: KeyFolder) -> None:
    old, rotated = await ring(folder, OLD), await ring(folder, NEW, OLD)
    assert rotated.seal(event(1)).encryptionkey == id_of(NEW)
    assert (
        rotated.open(old.seal(event(1))) == rotated.open(rotated.seal(event(1))) == rotated.open(event(1)) == event(1)
    )
    with pytest.raises(Locked, match=rf"the encryption key {id_of(NEW)} is not here: {id_of(OLD)} is the key") as e:
        old.open(rotated.seal(event(1)))
    assert "`encryption.keys`" in e.value.hint
    assert rotated.open_body(old.seal_body(b"{}", "key", "uid"), "key", "uid") == b"{}"
    assert rotated.open_body(b"{}", "key", "uid") == b"{}"


async def test_nothing_is_sealed_with_a_later_key_while_the_first_is_away(folder: KeyFolder) -> None:
    made = await ring(folder, "missing", OLD)
    assert not made.usable
    with pytest.raises(
        Unavailable, match="nothing can be encrypted: key `missing` of Secret `bus-keys` is not mounted"
    ):
        made.seal(event(1))
    folder.put("missing", "c2hvcnQ=")
    await made.refresh()
    with pytest.raises(Unavailable, match="key `missing` of Secret `bus-keys` has 5 bytes, and a key has 32") as e:
        made.seal_body(b"{}", "key", "uid")
    assert e.value.hint == "`openssl rand -base64 32` makes a key"
    folder.put("missing", key_text("missing"))
    await made.refresh()
    assert made.seal(event(1)).encryptionkey == id_of("missing")


async def test_a_key_that_is_away_is_told_once_and_until_it_is_back(folder: KeyFolder) -> None:
    folder.write(NEW)
    with capture_logs() as lines:
        async with folder.kept(NEW, OLD):
            trouble = facts.troubles.now()[NAME]
            assert trouble.reason.startswith("key `old` of Secret `bus-keys` is not mounted")
            await asyncio.sleep(0.2)
            folder.write(NEW, OLD)
            async with asyncio.timeout(20):
                while NAME in facts.troubles.now():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
    assert [(line["code"], line["bus"]) for line in lines] == [
        ("encryption-key-unusable", "default"),
        ("recovered", "default"),
    ]
    assert NAME not in facts.troubles.now()
    assert key_text(OLD).strip() not in str(lines)


async def test_a_value_that_is_replaced_is_another_key(folder: KeyFolder) -> None:
    made = await ring(folder, NEW)
    before = made.seal(event(1))
    folder.put(NEW, key_text("newer"))
    await made.refresh()
    assert made.seal(event(1)).encryptionkey == id_of("newer")
    with pytest.raises(Locked):
        made.open(before)


async def test_what_cannot_be_opened_has_the_keys_read_again_soon(folder: KeyFolder) -> None:
    sealed = (await ring(folder, OLD)).seal(event(1))
    folder.write(NEW)
    made = folder.ring(NEW, OLD, pause=3600, doubted=0.01)
    async with made.kept():
        with pytest.raises(Locked):
            made.open(sealed)
        folder.write(NEW, OLD)
        async with asyncio.timeout(20):
            while await opened(made, sealed) is None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


async def opened(ring: KeyRing, sealed: Event) -> Event | None:
    try:
        return ring.open(sealed)
    except Locked:
        return None


async def test_without_encryption_what_is_sealed_is_not_taken_for_an_event(folder: KeyFolder) -> None:
    made = await ring(folder, NEW)
    assert CLEAR.open(event(1)) == CLEAR.seal(event(1)) == event(1)
    require_clear(b"{}")
    with pytest.raises(Locked, match=f"the encryption key {id_of(NEW)} is not here: the EventBus has no"):
        CLEAR.open(made.seal(event(1)))
    with pytest.raises(Locked):
        require_clear(made.seal_body(b"{}", "key", "uid"))


class Hanging(Keys):
    """A cluster that does not answer at first. ``asked`` counts how often a key was read."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.asked = 0

    async def content(self, ref: KeyRef) -> bytes:
        self.asked += 1
        await self.answers.wait()
        return key_text(ref.key).encode()


async def test_a_cluster_that_does_not_answer_holds_up_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "PATIENCE", 0.01)
    keys = Hanging()
    made = KeyRing("default", refs(NEW), keys)
    async with made.kept():
        with pytest.raises(Unavailable, match="nothing can be encrypted: the keys are not read yet"):
            made.seal(event(1))
        keys.answers.set()
        async with asyncio.timeout(20):
            while not made.usable:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        assert made.seal(event(1)).encryptionkey == id_of(NEW)


async def test_a_key_that_stays_away_is_asked_for_less_and_less_often(folder: KeyFolder) -> None:
    sealed, keys = (await ring(folder, OLD)).seal(event(1)), Hanging()
    keys.answers.set()
    made = KeyRing("default", refs(NEW), keys, pause=3600, doubted=0.001)
    now = asyncio.get_running_loop().time
    begun = now()
    async with made.kept(), asyncio.timeout(20):
        while keys.asked < 9:
            assert await opened(made, sealed) is None
            await asyncio.sleep(0.001)
    assert now() - begun > 0.12, "the last pauses were of 32, 64 and 128 ms, and none can be shorter"
