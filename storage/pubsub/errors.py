"""Maps errors of the client library to those of kubecdc."""

from __future__ import annotations

from collections.abc import Mapping

from google.api_core import exceptions as api
from google.auth import exceptions as auth

from kubecdc.errors import KubecdcError, Refused, Unavailable, UsageError

EXACTLY_ONCE = "EXACTLY_ONCE_ACKID_FAILURE"  # why acknowledgments fail one by one


class Missing(Unavailable):
    """There is no such topic or subscription."""


class Exists(KubecdcError):
    """There is such a topic or subscription already."""


class Waited(Unavailable):
    """The call's time is over."""


class NotSettled(KubecdcError):
    """Some messages of a call could not be settled. ``reasons`` has Pub/Sub's word for each, by ack id."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("some messages could not be settled")
        self.reasons = reasons


def map_error(error: Exception, what: str) -> KubecdcError:
    """``what`` names the call and what it was made on."""
    if isinstance(error, TimeoutError):
        return Waited(f"Pub/Sub did not answer in time ({what})")
    if isinstance(error, auth.GoogleAuthError):
        if getattr(error, "retryable", False):
            return Unavailable(f"cannot get credentials for Pub/Sub: {error}")
        return no_credentials(error)
    if not isinstance(error, api.GoogleAPICallError):
        return Unavailable(f"cannot reach Pub/Sub ({what}): {error}")
    text = f"{error.message} ({what})"
    reasons = {key: str(value) for key, value in (error.metadata or {}).items()} if error.reason else {}
    match error:
        case _ if error.reason == EXACTLY_ONCE and reasons:
            return NotSettled(reasons)
        case api.DeadlineExceeded():
            return Waited(f"Pub/Sub did not answer in time ({what})")
        case api.PermissionDenied():
            return UsageError(
                f"Pub/Sub refuses {what}: {error.message}",
                hint="docs/pubsub.md lists the permissions; `kubecdc bus ensure` makes what must be there",
            )
        case api.Unauthenticated():
            return no_credentials(error)
        case api.NotFound():
            return Missing(text, hint="`kubecdc bus ensure` makes what is missing")
        case api.AlreadyExists():
            return Exists(text)
        case api.ResourceExhausted():
            return Unavailable(
                f"Pub/Sub: {text}", hint="a quota of the project is used up, see the Google Cloud console"
            )
        case api.InvalidArgument() | api.FailedPrecondition() | api.OutOfRange():
            return Refused(f"Pub/Sub refuses the request: {text}")
        case _:
            return Unavailable(f"Pub/Sub is not available: {text}")


def no_credentials(error: Exception) -> UsageError:
    """Nothing that proves who we are, or something that Google does not accept."""
    return UsageError(
        f"there are no valid credentials for Pub/Sub: {error}",
        hint="use Workload Identity, set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default "
        "login`; for an emulator, set PUBSUB_EMULATOR_HOST",
    )
