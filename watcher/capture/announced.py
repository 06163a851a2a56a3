"""The objects that an interrupted list has announced, for entries without an inventory: the next attempt skips them.

A list comes in the order of names. So an attempt that ended early has announced every object up to some name, as it was
at the version of the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.cluster.changes import Change
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.versions import older, well_formed


class Announced:
    """The attempts at one list. A process that dies forgets them, and announces what they had announced again."""

    def __init__(self) -> None:
        self._attempts: list[tuple[str, str, int]] = []  # up to which name, at which version, on which timeline
        self._last = ""
        self._in_order = True

    def begin(self) -> None:
        """Another attempt."""
        self._last, self._in_order = "", True

    def add(self, changes: Sequence[Change], version: str, timeline: int) -> None:
        """The next objects of a list of that version have been announced."""
        names = [_name(change.meta) for change in changes]
        if not names:
            return
        # A server with another order, or with versions that cannot be compared, may get repetitions.
        self._in_order = (
            self._in_order and well_formed(version) and [self._last, *names] == sorted({self._last, *names})
        )
        if not self._in_order:
            return
        if self._last:
            self._attempts.pop()
        self._last = names[-1]
        self._attempts.append((self._last, version, timeline))

    def has(self, meta: Meta, timeline: int) -> bool:
        """Whether an attempt before this one has announced the object in its present state."""
        return well_formed(meta.resource_version) and any(
            _name(meta) <= name and on == timeline and not older(version, meta.resource_version)
            for name, version, on in self._attempts
        )

    def clear(self) -> None:
        """The list is complete."""
        self._attempts.clear()


def _name(meta: Meta) -> str:
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
