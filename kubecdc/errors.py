"""Errors, sorted by what the caller should do. Each may have a hint for the operator.

Errors of libraries are mapped to these where they occur, with ``raise ... from``.
"""

from __future__ import annotations


class KubecdcError(Exception):
    """Base of all errors of kubecdc. ``hint`` tells the operator what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def first(error: BaseException) -> BaseException:
    """The error of a group to show: a KubecdcError if there is one. An error that is no group is returned unchanged."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [first(e) for e in error.exceptions]
    return next((e for e in leaves if isinstance(e, KubecdcError)), leaves[0])


class UsageError(KubecdcError):
    """The command line or a manifest is wrong. Nothing was done. Exit code 2."""


class Refused(KubecdcError):
    """Going on would lose or corrupt data, and only an operator can decide. Exit code 1."""


class Unavailable(KubecdcError):
    """A server or store did not answer or refused for now. Retry the same call; it may have been done already."""
