"""Reasons: one printable line of bounded length, whatever a trigger gives."""

from __future__ import annotations

import pytest

from kubecdc.reasons import LONGEST_REASON
from kubecdc.workers.outcome import Failure, Retry
from kubecdc.workers.settlement import DeadLetter


@pytest.mark.parametrize("make", [Retry, Failure, DeadLetter])
def test_a_reason_is_one_printable_line_of_bounded_length(
    make: type[Retry] | type[Failure] | type[DeadLetter],
) -> None:
    assert make("as it is: wörk").reason == "as it is: wörk"
    assert make("a\r\nb\x00\x1b[31mc").reason == "a  b  [31mc"
    assert make("x" * LONGEST_REASON).reason == "x" * LONGEST_REASON
    assert make("Ung\udcfcltig").reason == "Ung ltig"  # a byte that is not UTF-8, as aiohttp decodes it
    long = make("x" * 10_000).reason
    assert (len(long), long[-1]) == (LONGEST_REASON, "…")


def test_a_retry_keeps_what_the_peer_asked_for() -> None:
    match Retry("a\nb", 3.0):
        case Retry(reason, after):
            assert (reason, after) == ("a b", 3.0)
