"""Redis' errors as kubecdc's: what the caller should do about them."""

from __future__ import annotations

from redis import exceptions

from kubecdc.errors import KubecdcError, Refused, Unavailable, UsageError
from kubecdc.storage.redis.url import EXAMPLES

PASSING = ("BUSY", "LOADING", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN", "UNBLOCKED")
FORBIDDEN = ("-NOPERM", "can't run this command", "ACL failure")
NOBODY = ("CONNECT CALL FAILED", "CONNECTION REFUSED")  # listens there: asyncio's words, and uvloop's
DOWN = "is it up, and the way to it open?"
ENCRYPTED = " If it speaks TLS there, write rediss instead of redis"
PLAIN = " If it asks for a certificate, name ours; if it does not speak TLS there, write redis instead of rediss"
ENCRYPTION = {  # what OpenSSL calls it, and what to do about it
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not one we trust: `tls.caCertSecret` or ssl_ca_certs= names the "
    "authorities, and the URL has to name it as the certificate does",
    "CERTIFICATE_REQUIRED": "it asks for a certificate: `tls.clientCertSecret` and `tls.clientKeySecret`, or "
    "ssl_certfile= and ssl_keyfile=, name ours",
    "WRONG_VERSION_NUMBER": "it does not speak TLS there: write redis instead of rediss, or its TLS port",
    "UNKNOWN_CA": "it does not trust our certificate: look at `tls.clientCertSecret` or ssl_certfile=",
}


class Full(Unavailable):
    """Its memory is: what settles events goes on, and what is settled can be forgotten to make room."""


def forbidden(place: str, prefix: str, what: str) -> UsageError:
    """The user lacks rights."""
    return UsageError(
        f"{place} forbids what a bus needs, on the keys {prefix}*: {what}",
        hint="docs/manifests.md has the ACL rule that suffices",
    )


def mapped(error: Exception, place: str, prefix: str) -> Exception:
    """The error to raise for one of Redis'. Any other is a bug of ours and comes back as it is.

    ``prefix`` is that of the keys of the bus.
    """
    if isinstance(error, exceptions.ConnectionError) and isinstance(error.__cause__, exceptions.RedisError):
        error = error.__cause__  # while connecting, redis-py wraps what the server said
    match error:
        case KubecdcError():
            return error
        case exceptions.AuthenticationError() if isinstance(error.__cause__, KubecdcError):
            return error.__cause__
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return UsageError(
                f"{place} does not let us in: {error}",
                hint="look at user and password in the `url` of the EventBus, or at its `username` and `password`",
            )
        case exceptions.NoPermissionError():
            return forbidden(place, prefix, str(error))
        case exceptions.MovedError():
            return UsageError(
                f"{place} is a node of a cluster, and another has the bus", hint=f"write {EXAMPLES['cluster']}"
            )
        case exceptions.AskError():
            return Unavailable(
                f"{place} is moving the slot of the bus to another node",
                hint="nothing to do: it goes on there once all of it has arrived",
            )
        case exceptions.OutOfMemoryError():
            return Full(
                f"{place} is full: its maxmemory is reached",
                hint="raise maxmemory, scale the workers or lower `retentionBytes`; nothing is lost, the bus waits",
            )
        case exceptions.ReadOnlyError():
            return Unavailable(f"{place} is a replica and takes no writes", hint="name the primary, or wait for it")
        case exceptions.ConnectionError() | exceptions.TimeoutError() | TimeoutError() | OSError():
            text = str(error).upper()
            hint = next((hint for name, hint in ENCRYPTION.items() if name in text), DOWN)
            if hint == DOWN and not any(words in text for words in NOBODY):
                hint += PLAIN if place.startswith("rediss") else ENCRYPTED
            return Unavailable(f"{place} does not answer: {str(error) or 'not in time'}", hint=hint)
        case exceptions.ClusterDownError() | exceptions.TryAgainError():
            return Unavailable(
                f"{place} cannot do it now: {error}", hint="`redis-cli --cluster check` says what is wrong"
            )
        case exceptions.ResponseError() if str(error).startswith("MISCONF"):
            return Unavailable(f"{place} cannot save to its disk: {error}", hint="look at its disk and its log")
        case exceptions.ResponseError() if str(error).startswith("OOM") or "OOM command" in str(error):
            return mapped(exceptions.OutOfMemoryError(str(error)), place, prefix)
        # What a script ran into: Redis 6.2 wraps it; from 7.2 on, and in Valkey, it begins with "ACL failure".
        case exceptions.ResponseError() if "-READONLY" in str(error):
            return mapped(exceptions.ReadOnlyError(str(error)), place, prefix)
        case exceptions.ResponseError() if any(words in str(error) for words in FORBIDDEN):
            return mapped(exceptions.NoPermissionError(str(error)), place, prefix)
        case exceptions.ResponseError() if str(error).startswith(PASSING):
            return Unavailable(f"{place} cannot do it now: {error}", hint="look at its log and its replicas")
        case exceptions.ResponseError() if "WRONGTYPE" in str(error):
            return Refused(f"{place} has keys of a bus that are not ours: {error}", hint="name another bus or database")
    return error
