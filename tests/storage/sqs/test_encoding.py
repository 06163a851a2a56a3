"""Events as text that SQS accepts, and the same bytes back."""

from __future__ import annotations

import base64
import json
import os
import re

import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqs import encoding
from kubecdc.storage.sqs.encoding import ESCAPED, RESERVE, ZSTD
from kubecdc.storage.sqs.publisher import message
from kubecdc.storage.sqs.settings import SqsSettings
from kubecdc.storage.testing.actors import event

ACCEPTED = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\x1f\ufffe\uffff\\u"))


@given(st.binary() | TEXTS.map(str.encode), st.integers(0, 50))
@example(b"", 0)
@example('"\ufffe"'.encode(), 100)
@example('"\ufffe \\ufffe"'.encode(), 100)
@example(b"\xff\xfe", 100)
@example(b'"\\u0001"', 100)
@example(b'"\x01 \\U0001"', 100)
def test_the_bytes_come_back(body: bytes, above: int) -> None:
    sent = encoding.encoded(body, compress_above=above, attributes={})
    assert ACCEPTED.fullmatch(sent.text)
    assert sent.text
    assert encoding.decoded(sent.text, sent.attributes) == body


def test_an_event_is_sent_as_its_json() -> None:
    body = event(1).encode()
    sent = encoding.encoded(body, compress_above=1000, attributes={"order": "1", "none": ""})
    assert (sent.text.encode(), sent.attributes) == (body, {"order": "1"})


def test_escaped_text_is_the_same_json() -> None:
    value = {"text": "a\ufffe\uffffb"}
    sent = encoding.encoded(json.dumps(value, ensure_ascii=False).encode(), compress_above=1000, attributes={})
    assert sent.attributes == {"encoding": ESCAPED}
    assert json.loads(sent.text) == value


def test_what_is_long_is_compressed_and_what_does_not_get_shorter_is_not() -> None:
    long = event(1, padding=10_000).encode()
    sent = encoding.encoded(long, compress_above=1000, attributes={})
    assert sent.attributes == {"encoding": ZSTD}
    assert len(sent.text) < 1000
    dense = base64.b64encode(os.urandom(5000))
    assert encoding.encoded(dense, compress_above=1000, attributes={}).attributes == {}


def test_the_size_counts_attributes_with_their_types() -> None:
    sent = encoding.encoded("é".encode(), compress_above=10, attributes={"order": "7"})
    assert sent.size == 2 + len("order") + len("String") + len("7")


def test_what_cannot_be_decoded_is_left_as_it_is() -> None:
    for text in ("no base64!", base64.b64encode(b"no zstd").decode(), bomb()):
        assert encoding.decoded(text, {"encoding": ZSTD}) == text.encode()


def bomb() -> str:
    """A gigabyte, in a few kilobytes."""
    packer = zstandard.ZstdCompressor().compressobj(size=1 << 30)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    return base64.b64encode(packed).decode()


def test_a_message_with_its_attributes_and_those_of_a_dead_letter_stays_within_the_limit() -> None:
    settings = SqsSettings(message_bytes=64 << 10, compress_above=1 << 20)
    for padding in (60_000, 61_500, 64_000, 70_000):
        one: Event = event(1, padding=padding)
        sent = message(settings, one.encode(), "k" * 600, order="1" * 30, id_="id")
        assert sent.encoded.size <= settings.message_bytes - RESERVE


def test_the_group_of_a_message() -> None:
    fifo, standard, fair = SqsSettings(), SqsSettings(fifo=False), SqsSettings(fifo=False, fair=True)
    body = event(1).encode()
    assert (message(fifo, body, "key", id_="id").group, message(fifo, body, "key", id_="id").id) == ("key", "id")
    assert message(fifo, body, "key").encoded.attributes == {}
    long = message(fifo, body, "k" * 200, id_="id")
    assert long.group.startswith("sha256:")
    assert long.encoded.attributes == {"partitionkey": "k" * 200}
    assert (message(standard, body, "key", id_="id").group, message(standard, body, "key", id_="id").id) == ("", "")
    assert message(standard, body, "key").encoded.attributes == {"partitionkey": "key"}
    assert (message(fair, body, "key", id_="id").group, message(fair, body, "key", id_="id").id) == ("key", "")
    odd = message(standard, body, "k\x01")
    assert ACCEPTED.fullmatch(odd.encoded.attributes["partitionkey"])
