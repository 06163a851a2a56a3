"""What authenticates a request: kinds of credentials that need no other program or server."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.tls import KeyPair
from kubecdc.errors import UsageError

TOKEN_FILE_SECONDS = 50.0  # client-go reads it again 10 s before a minute has passed
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Credential:
    """The value of the Authorization header ("" for none) and the client certificate.

    ``doubt`` is why the API server may refuse it, if that is known.
    """

    authorization: str = field(default="", repr=False)
    pair: KeyPair | None = None
    doubt: str = ""


class CredentialSource(Protocol):
    """Where credentials come from."""

    @property
    def waiting_for(self) -> str:
        """Who has been asked for the credential and has not answered yet; "" if nobody."""
        ...

    async def get(self) -> Credential:
        """The credential to send. Raises ApiError (401) if there is none."""
        ...

    def reject(self, credential: Credential) -> None:
        """The API server refused the credential: `get` another one next time."""
        ...

    async def close(self) -> None:
        """Stop what is running."""
        ...


class Given:
    """A credential that does not change."""

    waiting_for = ""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def get(self) -> Credential:
        return self._credential

    def reject(self, credential: Credential) -> None:
        pass

    async def close(self) -> None:
        pass


class TokenFile:
    """A token that another program renews in a file. The last one that could be read counts, as in client-go.

    ``fallback`` is sent if the file could never be read.
    """

    waiting_for = ""

    def __init__(self, path: str, fallback: str = "", *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._now = now
        self._credential = bearer(fallback) if fallback else None
        self._read: float | None = None  # when
        self._reading = asyncio.Lock()

    def read(self) -> None:
        """Read the file now. Raises UsageError."""
        try:
            token = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"the token file {self._path} cannot be read: {e}", hint="check `tokenFile`") from e
        self._credential = bearer(token, f"the token in {self._path}")
        self._read = self._now()

    async def get(self) -> Credential:
        async with self._reading:
            if self._read is None or self._now() - self._read >= TOKEN_FILE_SECONDS:
                try:
                    await asyncio.to_thread(self.read)
                except UsageError as e:
                    if self._credential is None:
                        raise ApiError(str(e), status=401, hint=e.hint) from e
        assert self._credential is not None
        return self._credential

    def reject(self, credential: Credential) -> None:
        self._read = None

    async def close(self) -> None:
        pass


def bearer(token: str, what: str = "the token") -> Credential:
    """A token to send as it is, without white space around it. Raises UsageError if no header can hold it."""
    token = token.strip()
    if not token:
        raise UsageError(f"{what} is empty", hint="get a token, for example with `kubectl create token`")
    return Credential(f"Bearer {header_value(token, what)}")


def basic(username: str, password: str) -> Credential:
    """A user name and a password."""
    return Credential("Basic " + b64encode(f"{username}:{password}".encode()).decode())


def header_value(text: str, what: str) -> str:
    """The text, if a header can hold it. Raises UsageError."""
    if _CONTROL.search(text):
        raise UsageError(f"{what} contains a line end or another control character", hint="remove it")
    return text
