"""Why a program has no result, as reported by the process that runs it."""

from __future__ import annotations


class Failed(Exception):
    """The program cannot be compiled, or failed, or its result is not what it has to be.

    ``is_limit``: it is not to blame.
    """

    is_limit = False


class Unreadable(Failed):
    """The event has something that the language cannot represent."""

    is_limit = True
