"""TLS as a manifest describes it, and messages for its errors."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import nullcontext

import aiohttp

from kubecdc.cluster.keys import Keys
from kubecdc.cluster.pem_file import as_file
from kubecdc.manifest.mounts import Unreadable
from kubecdc.manifest.secrets import KeyRef, Tls


class TlsContext:
    """The context of a trigger, which is made again when one of its certificates has changed.

    A connection belongs to the context that it was opened with, so the next request uses the new files.
    """

    def __init__(self, manifest: Tls | None, keys: Keys) -> None:
        self._manifest = manifest
        self._keys = keys
        self._given: dict[KeyRef, bytes] = {}
        self._context: ssl.SSLContext | None = None

    async def get(self) -> ssl.SSLContext | bool:
        """The context to connect with. True is the library's own, with the system's authorities. Raises Unreadable."""
        tls = self._manifest
        if tls is None:
            return True
        authority = None if tls.insecure_skip_verify else tls.ca_cert_secret
        refs = [ref for ref in (authority, tls.client_cert_secret, tls.client_key_secret) if ref]
        given = {ref: await self._keys.content(ref) for ref in refs}
        if self._context is None or given != self._given:
            self._context = None  # half rotated files do not load; then they are read again
            self._context, self._given = self._make(tls, authority, given), given
        return self._context

    def _make(self, tls: Tls, authority: KeyRef | None, given: Mapping[KeyRef, bytes]) -> ssl.SSLContext:
        try:
            with as_file(given[authority]) if authority else nullcontext() as path:
                context = ssl.create_default_context(cafile=path)
        except (ssl.SSLError, OSError) as e:
            raise _unusable(authority, "a certificate in PEM", e) from e
        if authority:
            # Python 3.13 requires extensions that many private authorities leave out, and that Go does not require.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.client_cert_secret and tls.client_key_secret:
            try:  # without a password, OpenSSL asks for one on the terminal
                with as_file(given[tls.client_cert_secret]) as chain, as_file(given[tls.client_key_secret]) as key:
                    context.load_cert_chain(chain, key, lambda: "")
            except (ssl.SSLError, OSError, ValueError) as e:
                fit = f"a certificate in PEM that fits key `{tls.client_key_secret.key}`"
                raise _unusable(tls.client_cert_secret, fit, e) from e
        return context


def _unusable(ref: KeyRef | None, wanted: str, error: Exception) -> Unreadable:
    what = f"key `{ref.key}` of Secret `{ref.name}`" if ref else "the system's certificate store"
    return Unreadable(f"{what} is not {wanted}: {_words(error)}")


def failure(error: BaseException) -> str:
    """The message for an error of TLS; "" for any other error."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not accepted: {error.verify_message}; "
            "name its authority with `tls.caCertSecret`, or correct the address"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {_words(error)}"
    return ""


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).replace("_", " ").lower()
