"""Limits of one commit, so that no commit occupies a bus for long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from kubecdc.cluster.changes import Change

COMMIT_BYTES = 768 << 10  # of objects: some 3 ms in Redis, where no other command has its turn meanwhile


def chunks(changes: Sequence[Change], most: int) -> Iterator[tuple[Sequence[Change], int]]:
    """The changes in few chunks of about the same number, because a commit costs much the same at any number.

    None has more than ``most`` changes, or more than `COMMIT_BYTES` unless it is a single one. Each comes with its
    bytes.
    """
    if not changes:
        return
    count = math.ceil(len(changes) / math.ceil(len(changes) / most))
    for start in range(0, len(changes), count):
        some = changes[start : start + count]
        sizes = [len(change.body) for change in some]
        if (size := sum(sizes)) <= COMMIT_BYTES:
            yield some, size
        else:
            yield from _parted(some, sizes)


def _parted(changes: Sequence[Change], sizes: Sequence[int]) -> Iterator[tuple[Sequence[Change], int]]:
    """In parts that are not too large."""
    start = size = 0
    for at, added in enumerate(sizes):
        if at > start and size + added > COMMIT_BYTES:
            yield changes[start:at], size
            start, size = at, 0
        size += added
    yield changes[start:], size
