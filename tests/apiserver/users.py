"""Who asks: bearer tokens, and the users they stand for."""

from __future__ import annotations

import msgspec

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


class User(msgspec.Struct, frozen=True):
    """A user and the groups it is in, besides ``system:authenticated`` (or, of ``ANONYMOUS``, instead)."""

    name: str
    groups: tuple[str, ...] = ()


UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
ADMINISTRATOR = User("admin", (MASTERS,))


def parse_user(text: str) -> tuple[str, User]:
    """``TOKEN=USER`` or ``TOKEN=USER=GROUP,GROUP`` -> the token and the user (names have colons)."""
    token, _, rest = text.partition("=")
    name, _, groups = rest.partition("=")
    if not (token and name):
        raise ValueError(f"{text!r} is not TOKEN=USER or TOKEN=USER=GROUP,GROUP")
    return token, User(name, tuple(g for g in groups.split(",") if g))
