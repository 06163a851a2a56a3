"""Errors of the API server, and of the network or a proxy in between."""

from __future__ import annotations

from kubecdc.errors import KubecdcError, Unavailable

MOST_RETRY_AFTER = 60.0
"""Seconds. No API server asks for more, but the maintenance page of a gateway may ask for hours."""


class ApiError(Unavailable):
    """The API server could not be reached (status 0) or refused a request.

    ``retry_after``: seconds that the server asks to wait, 0 if it does not, never more than `MOST_RETRY_AFTER`.
    ``reason`` and ``text`` are what the server says in its Status: a word such as `AlreadyExists`, and a sentence.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        hint: str = "",
        retry_after: float = 0.0,
        reason: str = "",
        text: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason
        self.text = text or message
        # Compared in this order, so that NaN becomes 0.
        self.retry_after = float(min(retry_after, MOST_RETRY_AFTER)) if retry_after > 0 else 0.0


class Cut(ApiError):
    """The network, or a load balancer, has cut a watch off. Nothing is known to be wrong with the API server."""


class NotResumable(ApiError):
    """The API server ended a watch with an error that need not pass. A list leads past it."""


class Expired(NotResumable):
    """410: the API server no longer has the history, or the page of a list, that was asked for."""


class TooLarge(ApiError):
    """A response is larger than the caller can hold. It was not read to its end."""


class Malformed(KubecdcError):
    """The API server, or a proxy in between, sent data that cannot be used. None of it is used."""


def refusal(code: int, text: str, path: str, retry_after: float = 0.0) -> ApiError:
    """The error for a status code of HTTP, with a hint for the operator."""
    if code == 410:
        return Expired(text, status=code)
    if code == 401:
        return ApiError(
            "the API server does not accept the credentials (401)",
            status=code,
            hint="the token or certificate has expired or is wrong: renew it in the kubeconfig; it is read again",
        )
    if code == 403:
        hint = "grant this user get, list and watch on it by RBAC"
        if "cannot impersonate" in text:
            hint = "grant the verb impersonate on that user, group, uid or extra (kubectl create clusterrole)"
        elif "at the cluster scope" in text:
            hint += ", in all namespaces (ClusterRole); or list in the entry the `namespaces` that it may read"
        return ApiError(f"forbidden (403): {text}", status=code, hint=hint)
    if code == 404:
        return ApiError(
            f"the API server does not know {path} (404)",
            status=code,
            hint="install the CRD, or correct group, version and resource; the request is repeated until it succeeds",
        )
    return ApiError(f"the API server answered {code}: {text}", status=code, retry_after=retry_after)


def stream_error(code: int, reason: str, text: str, retry_after: float = 0.0) -> ApiError:
    """The error for an ERROR line of a watch, told apart as by client-go's reflector (tools/cache/reflector.go).

    Only 429 means that the watch may go on from the same position. Servers before 1.18 say Gone for Expired, and a
    proxy may lose the code, so the reason counts too.
    """
    text = text or reason or "no reason given"
    if code == 410 or reason in {"Expired", "Gone"}:
        return Expired(text, status=410)
    if code == 429 or reason == "TooManyRequests":
        return ApiError(f"the API server ended the watch: {text}", status=429, retry_after=retry_after)
    return NotResumable(
        f"the API server ended the watch with error {code}: {text}", status=code, retry_after=retry_after
    )
