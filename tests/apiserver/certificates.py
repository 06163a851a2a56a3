"""A throw-away certificate authority, for a server and its users."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """Writes ``ca.crt`` and what it issues as PEM files into a directory; goes on with a ``ca.key`` that is there.

    ``old``: as the tools of older clusters made them, without key identifiers and keyUsage.
    """

    def __init__(self, directory: Path, *, old: bool = False) -> None:
        self.directory = directory
        self._old = old
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        kept = directory / "ca.key"
        if kept.exists():
            key = load_pem_private_key(kept.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._write_key("ca", self._key)
        builder = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        if not old:
            builder = builder.add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            ).add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self._write("ca.crt", builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    def _write(self, name: str, content: bytes) -> None:
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(0o600)

    def issue(self, name: str, user: str, *groups: str) -> None:
        """``name``.crt and ``name``.key for 127.0.0.1; Kubernetes takes user and groups from CN and O."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(
            x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False
        )
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if not self._old:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(issuer, critical=False)
        self._write(f"{name}.crt", builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        self._write_key(name, key)

    def key_pair(self, name: str) -> None:
        """``name``.key and ``name``.pub, for signing service account tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write_key(name, key)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._write(f"{name}.pub", public)

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        raw = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self._write(f"{name}.key", raw)


def server_context(directory: Path) -> ssl.SSLContext:
    """TLS for a server on 127.0.0.1, whose clients trust ``directory``/ca.crt."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "server.crt").exists():
        Authority(directory).issue("server", "kube-apiserver")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context
