"""Encryption of what objects contain, before a bus of any type stores it: `EventBus.spec.encryption`."""

from __future__ import annotations

from kubecdc.errors import UsageError


def require_library() -> None:
    """Raise UsageError where the package `cryptography` is not installed. Only a bus that encrypts imports it."""
    try:
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401
    except ImportError as e:
        hint = "pip install 'kubecdc[encryption]'"
        raise UsageError(f"`encryption` of an EventBus needs the package cryptography: {e}", hint=hint) from e
