"""TLS with the API server: which certificates are trusted, and which one is presented."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field

from kubecdc.cluster.pem_file import as_file
from kubecdc.errors import UsageError

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class KeyPair:
    """A client certificate with its chain, and its private key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Trust:
    """How the server is checked: against the authorities ``ca`` (PEM; b"" for those of the system), or not at all."""

    ca: bytes = b""
    insecure: bool = False


def tls_context(trust: Trust, pair: KeyPair | None = None) -> ssl.SSLContext:
    """What to connect with. Raises UsageError."""
    try:
        context = ssl.create_default_context(cadata=_certificates(trust.ca) if trust.ca else None)
    except ssl.SSLError as e:
        raise UsageError(f"certificate-authority is not a PEM certificate: {e}", hint="renew it") from e
    # Like Go, accept certificates without Authority Key Identifier or keyUsage, which older clusters made; an
    # intermediate authority may be trusted. By default, Python 3.13 refuses the former, earlier versions the latter.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pair:
        _present(context, pair)
    return context


def check(pair: KeyPair) -> None:
    """Raises UsageError if the certificate cannot be used."""
    _present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pair)


def _certificates(pem: bytes) -> str:
    """The certificates among PEM blocks and comments."""
    blocks = _CERTIFICATE.findall(pem)
    if not blocks:
        raise UsageError("certificate-authority has no PEM certificate", hint="check it in the kubeconfig")
    return b"\n".join(blocks).decode("ascii", "replace")


def _present(context: ssl.SSLContext, pair: KeyPair) -> None:
    def refuse_passphrase() -> str:
        raise UsageError("client-key is encrypted", hint="decrypt it with `openssl pkey`; kubectl needs that too")

    try:
        with as_file(pair.certificate) as certificate, as_file(pair.key) as key:
            context.load_cert_chain(certificate, key, password=refuse_passphrase)
    except (OSError, ValueError) as e:
        raise UsageError(f"client-certificate and client-key cannot be used: {e}", hint="renew them") from e
