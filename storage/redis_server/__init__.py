"""What the buses in a Redis have in common: the way to the server, checkpoints, election, state and registrations."""

from __future__ import annotations

from kubecdc.errors import UsageError


def require_library(kind: str) -> None:
    """Raise UsageError where redis-py is not installed. ``kind`` is of the bus, and the name of its extra.

    It is imported when a bus is opened, not before: a manifest can be checked without it.
    """
    try:
        import hiredis  # noqa: F401
        import redis  # noqa: F401
    except ImportError as e:
        hint = f"pip install 'kubecdc[{kind}]'"
        raise UsageError(f"a bus of type {kind} needs the Python library of Redis: {e}", hint=hint) from e
