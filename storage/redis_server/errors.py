"""Error mapping: errors of Redis as those of kubecdc, which say what the caller should do."""

from __future__ import annotations

from redis import exceptions

from kubecdc.errors import KubecdcError, Refused, Unavailable, UsageError
from kubecdc.storage.redis_server.url import EXAMPLES

TRANSIENT = ("BUSY", "LOADING", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN", "UNBLOCKED")
FORBIDDEN = ("-NOPERM", "can't run this command", "ACL failure")
NO_LISTENER = ("CONNECT CALL FAILED", "CONNECTION REFUSED")  # in the words of asyncio and of uvloop
DOWN = "is it up, and can this machine reach it?"
ENCRYPTED = " If it speaks TLS there, write rediss instead of redis"
PLAIN = " If it requires a certificate, name ours; if it does not speak TLS there, write redis instead of rediss"
ENCRYPTION = {  # error names of OpenSSL, and what to do
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted: name the authorities in `tls.caCertSecret` or "
    "ssl_ca_certs=, and use the host name of the certificate in the URL",
    "CERTIFICATE_REQUIRED": "it requires a certificate: name ours in `tls.clientCertSecret` and "
    "`tls.clientKeySecret`, or in ssl_certfile= and ssl_keyfile=",
    "WRONG_VERSION_NUMBER": "it does not speak TLS there: write redis instead of rediss, or its TLS port",
    "UNKNOWN_CA": "it does not trust our certificate: check `tls.clientCertSecret` or ssl_certfile=",
}


class Full(Unavailable):
    """Its memory is full. Events can still be settled, and deleting settled events makes room."""


def forbidden(place: str, prefix: str, what: str) -> UsageError:
    """The user may not run a command that a bus needs."""
    return UsageError(
        f"{place} forbids what a bus needs, on the keys {prefix}*: {what}",
        hint="docs/manifests.md has the ACL rule that is sufficient",
    )


def map_error(error: Exception, place: str, prefix: str) -> Exception:
    """The error to raise for an error of redis-py. Any other error is a bug in kubecdc, and is returned as it is.

    ``prefix`` is the prefix of the keys of the bus.
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
                f"{place} refuses the login: {error}",
                hint="check user and password in the `url` of the EventBus, or its `username` and `password`",
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
                hint="nothing to do: the bus works again once the slot has moved",
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
            if hint == DOWN and not any(words in text for words in NO_LISTENER):
                hint += PLAIN if place.startswith("rediss") else ENCRYPTED
            return Unavailable(f"{place} does not answer: {str(error) or 'not in time'}", hint=hint)
        case exceptions.ClusterDownError() | exceptions.TryAgainError():
            return Unavailable(
                f"{place} cannot do it now: {error}", hint="`redis-cli --cluster check` shows what is wrong"
            )
        case exceptions.ResponseError() if str(error).startswith("MISCONF"):
            return Unavailable(f"{place} cannot save to its disk: {error}", hint="check its disk and its log")
        case exceptions.ResponseError() if str(error).startswith("OOM") or "OOM command" in str(error):
            return map_error(exceptions.OutOfMemoryError(str(error)), place, prefix)
        # An error inside a script: Redis 6.2 wraps it; from 7.2 on, and in Valkey, it begins with "ACL failure".
        case exceptions.ResponseError() if "-READONLY" in str(error):
            return map_error(exceptions.ReadOnlyError(str(error)), place, prefix)
        case exceptions.ResponseError() if any(words in str(error) for words in FORBIDDEN):
            return map_error(exceptions.NoPermissionError(str(error)), place, prefix)
        case exceptions.ResponseError() if str(error).startswith(TRANSIENT):
            return Unavailable(f"{place} cannot do it now: {error}", hint="check its log and its replicas")
        case exceptions.ResponseError() if "NOGROUP" in str(error):
            return Unavailable(
                f"{place} has lost a consumer group: {error}", hint="it is made again when there is room"
            )
        case exceptions.ResponseError() if "WRONGTYPE" in str(error):
            return Refused(f"{place} has keys of a bus that are not ours: {error}", hint="name another bus or database")
    return error
