"""Errors, sorted by what the caller should do. Each may carry a hint: what the operator does about it.

Library errors are mapped to these at the edge where they arise, with ``raise ... from``.
"""

from __future__ import annotations


class KubecdcError(Exception):
    """Base of everything kubecdc raises on purpose; ``hint`` tells the operator the way out."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def first(error: BaseException) -> BaseException:
    """The error to show of a group: one of ours if there is one; any other error as it is."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [first(e) for e in error.exceptions]
    return next((e for e in leaves if isinstance(e, KubecdcError)), leaves[0])


class UsageError(KubecdcError):
    """The command line or a manifest is wrong: exit code 2, nothing was done."""


class Refused(KubecdcError):
    """Going on would lose or corrupt something, and only an operator can decide: exit code 1."""


class Unavailable(KubecdcError):
    """A peer or store did not do it now. Retry the same call: it either happened or it did not."""
