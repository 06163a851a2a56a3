"""Errors of the API server, and of the network or a proxy in between."""

from __future__ import annotations

from kubecdc.errors import KubecdcError, Unavailable


class ApiError(Unavailable):
    """The API server could not be reached (status 0) or refused a request.

    ``retry_after``: seconds that the server asks to wait, 0 if it does not.
    """

    def __init__(self, message: str, *, status: int = 0, hint: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class Expired(ApiError):
    """410: the API server no longer has the history, or the page of a list, that was asked for."""


class Malformed(KubecdcError):
    """The API server, or a proxy in between, sent data that cannot be used. None of it is used."""


def refusal(code: int, text: str, path: str, retry_after: float = 0.0) -> ApiError:
    """The error for a status code, from HTTP or from inside a watch stream, with a hint for the operator."""
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
        if "at the cluster scope" in text:
            hint += ", in all namespaces (ClusterRole); or list in the entry the `namespaces` that it may read"
        return ApiError(f"forbidden (403): {text}", status=code, hint=hint)
    if code == 404:
        return ApiError(
            f"the API server does not know {path} (404)",
            status=code,
            hint="install the CRD, or correct group, version and resource; the request is repeated until it succeeds",
        )
    return ApiError(f"the API server answered {code}: {text}", status=code, retry_after=retry_after)
