"""Redis' errors as kubecdc's: what the caller should do about them."""

from __future__ import annotations

from redis import exceptions

from storage.errors import Refused, Unavailable, UsageError

PASSING = ("BUSY", "LOADING", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED")


class Full(Unavailable):
    """Its memory is: what settles events goes on, and what is settled can be forgotten to make room."""


def mapped(error: Exception, place: str) -> Exception:
    """The error to raise for one of Redis'. Any other is a bug of ours and comes back as it is."""
    match error:
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return UsageError(
                f"{place} does not let us in: {error}", hint="look at user and password in the `url` of the EventBus"
            )
        case exceptions.NoPermissionError():
            return UsageError(
                f"{place} forbids what a bus needs: {error}",
                hint="the user needs ~{kubecdc:* +@read +@write +@scripting +@connection +info",
            )
        case exceptions.OutOfMemoryError():
            return Full(
                f"{place} is full: its maxmemory is reached",
                hint="raise maxmemory, scale the workers or lower `retentionBytes`; nothing is lost, the bus waits",
            )
        case exceptions.ReadOnlyError():
            return Unavailable(f"{place} is a replica and takes no writes", hint="name the primary, or wait for it")
        case exceptions.ConnectionError() | exceptions.TimeoutError() | TimeoutError() | OSError():
            return Unavailable(
                f"{place} does not answer: {error or type(error).__name__}", hint="is it up, and the way to it open?"
            )
        case exceptions.ResponseError() if str(error).startswith("MISCONF"):
            return Unavailable(f"{place} cannot save to its disk: {error}", hint="look at its disk and its log")
        case exceptions.ResponseError() if str(error).startswith("OOM") or "OOM command" in str(error):
            return mapped(exceptions.OutOfMemoryError(str(error)), place)
        case exceptions.ResponseError() if str(error).startswith(PASSING):
            return Unavailable(f"{place} cannot do it now: {error}", hint="look at its log and its replicas")
        case exceptions.ResponseError() if "WRONGTYPE" in str(error):
            return Refused(f"{place} has keys of a bus that are not ours: {error}", hint="name another bus or database")
    return error
