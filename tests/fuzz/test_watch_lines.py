"""A watcher that is fed garbage at random places between good lines ends with exactly the good ones."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubecdc.backoff import Backoff
from kubecdc.cluster import watch_lines
from kubecdc.cluster.changes import LeftOut, decode_line, decode_page
from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import decode_object, decode_status
from kubecdc.watcher import recovery
from tests.apiserver import LocalSimulator
from tests.fuzz.scripted import Garbage, Good, Script, scripted
from tests.watcher.rig import SPEC, Rig, event_source

LONGEST = 64 << 10  # bytes a line may have here
SECONDS = 10.0

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "namespace": scalars,
        "uid": scalars,
        "resourceVersion": st.none() | st.floats() | st.just(""),
    },
)
shaped = st.fixed_dictionaries(
    {"type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "SYNC", ""]) | documents},
    optional={"object": st.fixed_dictionaries({"metadata": metadata | documents}) | documents},
)
statuses = st.fixed_dictionaries(
    {}, optional={"code": st.sampled_from([0, 200, 429, 500, 504, "x", None, 1.5]), "message": documents}
)


def _line(document: object) -> bytes:
    import json

    return json.dumps(document).encode() + b"\n"


def _cut(parts: tuple[int, int]) -> bytes:
    n, length = parts
    return Good(n).line[:length]


lines = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda data: data + b"\n"),
    documents.map(_line),
    shaped.map(_line),
    statuses.map(lambda status: _line({"type": "ERROR", "object": status})),
    st.tuples(st.integers(0, 5), st.integers(1, 60)).map(_cut),
    st.tuples(st.integers(0, 5), st.integers(1, 60)).map(lambda parts: _cut(parts) + b"\n"),
    st.integers(1, 3).map(lambda times: b"x" * (times * LONGEST)),
    st.integers(1, 3).map(lambda times: b'{"type":"ADDED","object":' + b"[" * (times * 1000) + b"\n"),
    st.sampled_from([b"\n", b"\n\n\n", b"\x00\n", b"\xff\xfe\n", b"\xef\xbb\xbf", b"HTTP/1.1 500 oops\r\n\r\n"]),
)
garbage = st.builds(Garbage, lines, st.sampled_from(["go on", "close", "cut"]))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Good lines in order, with garbage before, between and behind them."""
    script: list[Good | Garbage] = []
    for n in range(draw(st.integers(1, 6))):
        script += draw(st.lists(garbage, max_size=2))
        script.append(Good(n))
    return script + draw(st.lists(garbage, max_size=1))


async def captured(script: Script, seed: int) -> list[str]:
    """The ids of all events that a watcher makes of the script, in order."""
    good = [item for item in script if isinstance(item, Good)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with scripted(script, folder, seed) as kubeconfig:
            rig = Rig(cast(LocalSimulator, None), folder / "bus.db", kubeconfig)
            await rig.start(event_source(auditInterval=0))
            bus = await rig.open()
            found: list[str] = []
            try:
                async with asyncio.timeout(SECONDS):
                    async for delivery in bus.subscription(SPEC.name, prefetch=1).deliveries():
                        found.append(delivery.event.id)
                        await delivery.ack()
                        if delivery.event.id.startswith(f"changed.{_uid(good[-1])}."):
                            break
                assert [s.pending for s in await bus.subscriptions()] == [0]
                assert rig.task and not rig.task.done()
            finally:
                await rig.kill()
    return found


def _uid(good: Good) -> str:
    return f"u{good.n}"


@pytest.mark.long
@settings(max_examples=120)
@given(scripts(), st.integers(0, 9))
@example([Garbage(b'{"type":"ERROR","object":{"code":500}}\n', "go on"), Good(0)], 0)
@example([Good(0), Garbage(Good(1).line[:-1], "cut"), Good(1)], 0)
@example([Garbage(Good(0).line[:30], "close"), Good(0), Garbage(b"[" * 100_000 + b"\n"), Good(1)], 1)
def test_garbage_between_good_lines_loses_and_invents_nothing(script: Script, seed: int) -> None:
    backoff = Backoff(duration=0.001, factor=1.5, cap=0.01, jitter=0.1)
    with patch.object(recovery, "BACKOFF", backoff), patch.object(watch_lines, "MAX_LINE_BYTES", LONGEST):
        found = asyncio.run(captured(script, seed))
    good = [item for item in script if isinstance(item, Good)]
    assert found == [f"changed.{_uid(item)}.{item.version}.ADD" for item in good]


@settings(max_examples=300)
@given(st.binary(max_size=200) | documents.map(_line) | shaped.map(_line))
def test_what_cannot_be_read_is_malformed_or_left_out_and_nothing_else(data: bytes) -> None:
    for decode in (decode_line, decode_page, decode_object):
        try:
            decode(data)
        except (Malformed, LeftOut) as e:
            assert len(str(e)) < 500, "a line of the log, not the whole garbage"
    decode_status(data)
