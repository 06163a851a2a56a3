"""Errors, classified by how the caller should react. Each may have a hint for the operator.

Errors of libraries are mapped to these where they occur, with ``raise ... from``.
"""

from __future__ import annotations


class KubecdcError(Exception):
    """Base of all errors of kubecdc. ``hint`` tells the operator what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def most_relevant(error: BaseException) -> BaseException:
    """The error of an exception group to report: the first KubecdcError, or else the first error.

    An error that is not a group is returned unchanged.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [most_relevant(e) for e in error.exceptions]
    return next((e for e in leaves if isinstance(e, KubecdcError)), leaves[0])


class UsageError(KubecdcError):
    """The command line or a manifest is invalid. Nothing was changed. Exit code 2."""


class Refused(KubecdcError):
    """Continuing would lose or corrupt data. An operator has to decide. Exit code 1."""


class Unavailable(KubecdcError):
    """A server or store did not answer, or refused temporarily. Retry the call; it may already have taken effect."""
