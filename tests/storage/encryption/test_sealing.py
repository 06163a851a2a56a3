"""What is sealed opens with its key and at its place only, and is as long as was promised."""

from __future__ import annotations

import base64
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.storage.contracts.event import Event, redelivered
from kubecdc.storage.encryption.sealing import (
    Key,
    key_of_body,
    open_body,
    open_event,
    read_key,
    seal_body,
    seal_event,
)
from kubecdc.storage.testing.actors import event
from tests.storage.keys import key_text

KEY, OTHER = (read_key(key_text(name).encode()) for name in ("one", "other"))
ALTERED = "was altered, or belongs to another event or object"


@pytest.mark.parametrize("smaller", [False, True])
def test_a_sealed_event_is_an_event_of_which_only_the_data_is_hidden(smaller: bool) -> None:
    plain = event(1)
    stored = Event.decode(seal_event(plain, KEY, smaller=smaller).encode())
    assert stored == msgspec.structs.replace(plain, encryptionkey=KEY.id, data=stored.data)
    assert b"as it was" not in base64.b64decode(bytes(stored.data).strip(b'"'))
    assert open_event(stored, KEY).encode() == plain.encode()
    again = Event.decode(redelivered(stored.encode(), "redrive"))
    assert open_event(again, KEY) == msgspec.structs.replace(plain, redelivery="redrive")


def test_no_two_are_alike() -> None:
    assert bytes(seal_event(event(1), KEY).data) != bytes(seal_event(event(1), KEY).data)


@pytest.mark.parametrize("change", [{"id": "changed.uid-b.1.ADD"}, {"source": "others"}])
def test_data_that_was_moved_to_another_event_is_not_opened(change: dict[str, str]) -> None:
    with pytest.raises(Undecodable, match=ALTERED):
        open_event(msgspec.structs.replace(seal_event(event(1), KEY), **change), KEY)


def test_what_another_key_has_sealed_is_not_opened() -> None:
    with pytest.raises(Undecodable, match=ALTERED):
        open_event(seal_event(event(1), KEY), OTHER)


def test_whoever_changes_the_stored_data_is_noticed() -> None:
    sealed = seal_event(event(1), KEY)
    data = bytearray(base64.b64decode(bytes(sealed.data).strip(b'"')))
    for at in range(len(data)):
        changed = bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :])
        with pytest.raises(Undecodable, match=ALTERED):
            open_event(msgspec.structs.replace(sealed, data=msgspec.Raw(msgspec.json.encode(changed))), KEY)


@pytest.mark.parametrize("data", [b"{}", b'"!"', b'""', b'"AAAA"', b"null"])
def test_data_that_was_never_sealed_is_no_event(data: bytes) -> None:
    with pytest.raises(Undecodable):
        open_event(msgspec.structs.replace(event(1), encryptionkey=KEY.id, data=msgspec.Raw(data)), KEY)


@given(st.binary(), st.text(), st.text())
def test_any_body_is_kept_for_its_object_only(body: bytes, checkpoint: str, uid: str) -> None:
    stored = seal_body(body, KEY, checkpoint, uid)
    assert key_of_body(stored) == KEY.id
    assert open_body(stored, KEY, checkpoint, uid) == body
    with pytest.raises(Undecodable):
        open_body(stored, KEY, checkpoint, f"{uid}.")


def test_a_body_in_the_clear_names_no_key() -> None:
    assert key_of_body(b'{"kind":"Secret"}') == ""


def test_data_grows_by_a_third_and_compressed_by_less() -> None:
    padded = event(1, padding=100_000)
    assert len(seal_event(padded, KEY).encode()) < 100_000 * 4 / 3 + 1000
    assert len(seal_event(padded, KEY, smaller=True).encode()) < 2000
    noise = random.Random(1).randbytes(100_000).hex().encode()
    random_one = msgspec.structs.replace(event(1), data=msgspec.Raw(b'"%s"' % noise))
    assert len(seal_event(random_one, KEY, smaller=True).encode()) < len(random_one.encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 bytes, and a key has 32"),
        (base64.b64encode(b"x" * 16), "has 16 bytes, and a key has 32"),
        (b"not base64!", "is not base64"),
        (b"x" * 32, "has 24 bytes"),
    ],
)
def test_what_is_no_key(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_key(content)


def test_the_name_of_a_key_is_made_of_its_value_and_tells_nothing_of_it() -> None:
    secret = b"k" * 32
    assert Key(secret).id == Key(secret).id == read_key(base64.b64encode(secret) + b"\n").id
    assert len(Key(secret).id) == 16
    assert Key(b"l" * 32).id != Key(secret).id
