"""Why a list is made instead of resuming a watch: the mark `listing`, and the reason of the gap."""

from __future__ import annotations

LEFT = "no longer watched"
RETURNED = "watched again"  # before its end was announced completely
BACKWARDS = "versions ran backwards"  # a restored etcd: an equal version may hide other content
EXPIRED = "history expired"
SELECTION = "another selection"
CLOSED = "the API server closes each watch at once"
REFUSED = "the API server ends the watch with an error"
EXPIRIES = frozenset({EXPIRED, CLOSED, REFUSED})  # the position may not be resumed, and nothing else is wrong
DIFFERS = "the audit found differences"  # a restored etcd whose versions have grown past ours looks like that
STARTS_TIMELINE = frozenset({BACKWARDS, DIFFERS, SELECTION, RETURNED})  # it may announce again what it announced before
ASKED = "an audit asked for a repair"  # the mark of a process that does not lead


class RanBackwards(Exception):
    """The list, or an object in it, is older than what was seen before."""
