"""Answers of any bytes: each event has an outcome of its own, and its reason can be shown."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.reasons import LONGEST_REASON
from kubecdc.workers.outcome import Outcome, Retry, Success
from kubecdc.workers.triggers.http.trigger import HttpTrigger
from tests.workers.raw_peer import Asked, raw_peer
from tests.workers.support import event, http_trigger, route

AWAY = b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"
WHOLE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: b\r\n\r\ndone",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 400 Ung\xfcltig\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    AWAY,
]
whole = st.sampled_from(WHOLE)
bent = st.one_of(
    st.binary(max_size=60),
    st.tuples(whole, st.integers(0, 100)).map(lambda cut: cut[0][: cut[1]]),
    st.tuples(whole, st.integers(0, 60), st.binary(min_size=1, max_size=3)).map(
        lambda at: at[0][: at[1]] + at[2] + at[0][at[1] + 1 :]
    ),
    st.tuples(whole, whole).map(b"".join),
)


async def outcomes(first: bytes, size: int, *, ended: bool) -> tuple[Outcome, Outcome]:
    """Of an event that is answered like that, in pieces of that size, and of the next, which gets 503."""
    answered = False

    async def talk(asked: Asked) -> None:
        nonlocal answered
        if answered:
            await asked.say(AWAY)
            return
        answered = True
        await asked.say(*(first[at : at + size] for at in range(0, len(first), size)))
        if ended:
            asked.writer.close()

    async with raw_peer(talk) as peer, asyncio.timeout(60):
        trigger = HttpTrigger()
        made = route(trigger, http_trigger(peer.url, {"timeout": 10}))
        try:
            return await trigger.execute(made.request(event(1))), await trigger.execute(made.request(event(2)))
        finally:
            await trigger.close()


def shown(outcome: Outcome) -> bool:
    if isinstance(outcome, Success):
        return True
    return 0 < len(outcome.reason) <= LONGEST_REASON and outcome.reason.isprintable()


@pytest.mark.timeout(240)
@settings(max_examples=150, deadline=None)
@given(bent, st.integers(1, 40))
def test_any_bytes_are_an_outcome_and_a_success_only_if_they_say_so(answer: bytes, size: int) -> None:
    outcome, then = asyncio.run(outcomes(answer, size, ended=True))
    assert shown(outcome)
    if isinstance(outcome, Success):
        assert re.search(rb"HTTP/\d\.\d 2\d\d", answer)
    assert isinstance(then, Retry)
    assert "503 Away" in then.reason


@pytest.mark.timeout(240)
@settings(max_examples=150, deadline=None)
@given(whole, bent, st.integers(1, 400))
def test_what_follows_an_answer_is_not_for_the_next_event(answer: bytes, surplus: bytes, size: int) -> None:
    outcome, then = asyncio.run(outcomes(answer + surplus, size, ended=False))
    assert isinstance(outcome, Success) is (b" 20" in answer)
    assert isinstance(then, Retry)
    assert "503 Away" in then.reason or "answer" in then.reason
